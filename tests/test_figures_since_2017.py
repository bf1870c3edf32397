"""Figures of lesson 10 show what they are given: a change in both layers, bytes, differences run by run."""

import pytest
from helpers.drawn import assert_words_stand_apart, contrasts, words_on

from utils import figures

pytestmark = pytest.mark.usefixtures("drawing_style")


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


def test_bars_are_as_long_as_the_gigabytes_that_stand_beside_them():
    fig = figures.read_in_a_step({"weights": 13.4e9, "caches": 1.25e12}, limit=1.3e12)
    assert words_on(fig) == ["13.4", "1,250.0"]
    assert [bar.get_width() for bar in fig.axes[0].patches] == pytest.approx([13.4, 1250.0])


def test_differences_are_paired_and_the_band_is_the_first_arms_own_spread():
    arms = {"the course's": [30.0, 32.0, 31.0], "better": [29.0, 31.5, 30.5], "alike": [31.0, 31.0, 31.0]}
    fig = figures.against_the_first({"GPT": arms}, {"GPT": "perplexity more"})
    ax = fig.axes[0]
    dots = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert dots == [pytest.approx([-1.0, -0.5, -0.5]), pytest.approx([1.0, -1.0, 0.0])]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["better", "alike"]
    low, high = ax.patches[0].get_x(), ax.patches[0].get_x() + ax.patches[0].get_width()
    assert (low, high) == pytest.approx((-2.0, 2.0))
