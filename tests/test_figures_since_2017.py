"""Figures of lesson 10 show what they are given: a change in both layers, bytes, differences run by run."""

import pytest
from helpers.drawn import assert_words_stand_apart, contrasts, words_on

from utils import figures

pytestmark = pytest.mark.usefixtures("drawing_style")


@pytest.mark.slow
@pytest.mark.parametrize("lit", ["", *figures.CHANGES])
def test_two_layers_can_be_read_whatever_is_lit(lit: str):
    fig = figures.two_layers(lit)
    words = words_on(fig)
    assert words.count("layer norm") == 2 == words.count("RMSNorm") and words.count("+") == 4
    assert_words_stand_apart(fig)
    assert min(contrasts(fig).values()) > 4.5


def test_two_layers_know_their_changes():
    with pytest.raises(ValueError, match="none of"):
        figures.two_layers("RMS norm")


def test_dots_stand_at_the_gigabytes_beside_them():
    fig = figures.read_in_a_step({"weights": 13.4e9, "caches": 1.25e12}, limit=1.3e12)
    assert words_on(fig) == ["13.4", "1,250.0"]
    dots = [line.get_xdata()[0] for line in fig.axes[0].lines]
    assert dots == pytest.approx([13.4, 1250.0]) and not fig.axes[0].patches, "a bar on this axis would mislead"


def test_differences_are_paired_by_seed_and_hollow_where_none_is_shown():
    """An arm that is better with each seed is shown, though the seeds differ by more; one or two pairs never are."""
    arms = {
        "the course's": {0: 30.0, 1: 32.0, 2: 31.0},
        "better": {2: 30.5, 0: 29.0, 1: 31.5},
        "alike": {0: 31.0, 1: 31.0, 2: 31.0},
        "two": {0: 20.0, 1: 20.0},
        "not yet": {},
    }
    fig = figures.against_the_first({"GPT": arms}, {"GPT": "perplexity more"})
    ax = fig.axes[0]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [sorted(line.get_xdata()) for line in dots] == [
        pytest.approx([-1.0, -0.5, -0.5]),
        pytest.approx([-1.0, 0.0, 1.0]),
        pytest.approx([-12.0, -10.0]),
    ]
    assert [line.get_markerfacecolor() == "white" for line in dots] == [False, True, True]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["better", "alike", "two", "not yet"]
