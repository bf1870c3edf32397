"""Figures of lesson 09 show what they are given: a hidden word and its guesses, what sampling keeps."""

import pytest
import torch
from helpers.drawn import assert_words_stand_apart, contrasts, words_on

from utils import figures

pytestmark = pytest.mark.usefixtures("drawing_style")
TOKENS = ["▁I", "▁want", "▁to", "▁drink", "▁water", "."]


@pytest.mark.parametrize("hidden", [0, 4, 5])
def test_a_hidden_word_is_not_in_the_sentence_and_a_right_guess_is_marked(hidden: int):
    guesses, chances = ["▁you", "▁water", "▁it", "▁me", "▁milk"], torch.tensor([0.6, 0.2, 0.1, 0.05, 0.01])
    fig = figures.hidden_word(TOKENS, hidden, guesses, chances, choice=0)
    words = words_on(fig)
    shown = TOKENS[hidden].removeprefix("▁")
    assert "?" in words and f"stood there: {shown}" in words and words.count(shown) == (shown == "water")
    assert {"60%", "5%", "1%"} <= set(words) and ("20% ✓" in words) == (hidden == 4)
    assert len(fig.axes[0].containers) == 5
    assert_words_stand_apart(fig)
    assert min(contrasts(fig).values()) > 4.5


def test_what_is_dropped_has_no_bar_and_a_gray_name():
    before, after = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.6, 0.4, 0.0])
    fig = figures.kept_and_dropped(["▁go", "▁be", "<eos>"], before, after)
    bars = [[bar.get_height() for bar in container] for container in fig.axes[0].containers]
    assert bars == [pytest.approx(before.tolist()), pytest.approx(after.tolist())]
    names = fig.axes[0].get_xticklabels()
    assert [name.get_text() for name in names] == ["go", "be", "end"]
    assert names[2].get_color() != names[1].get_color()
