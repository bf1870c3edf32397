"""Figures of lesson 09 show what they are given: guesses, vectors, runs, what sampling keeps."""

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


def test_each_token_of_two_sentences_has_its_segment_below():
    tokens = "[CLS] What time is it ? [SEP] Tell me the time . [SEP]".split()
    fig = figures.two_segments(tokens, [0] * 7 + [1] * 6)
    words = words_on(fig)
    assert words[::2] == tokens and words[1::2] == ["0"] * 7 + ["1"] * 6
    assert_words_stand_apart(fig)
    assert min(contrasts(fig).values()) > 4.5


def test_vectors_that_differ_in_one_direction_lie_on_a_line():
    one, other = torch.randn(5, 1) @ torch.ones(1, 6), torch.randn(4, 1) @ torch.ones(1, 6) + 2
    fig = figures.in_the_plane_of_spread({"like": (one, other)})
    shown = [line.get_xydata() for line in fig.axes[0].lines]
    assert [len(points) for points in shown] == [5, 4] and fig.axes[0].get_title() == "like"
    assert all(abs(points[:, 1]).max() < 1e-5 for points in shown)
    distance = abs(shown[0][0, 0] - shown[1][0, 0])
    assert distance == pytest.approx((one[0] - other[0]).norm().item(), rel=1e-4)


def test_every_run_is_a_point_and_lines_go_through_the_means():
    runs = {"GPT": {100: [0.5, 0.7], 1000: [0.8, 0.9]}, "counted": {100: [0.4], 1000: [0.6]}}
    fig = figures.runs_by_amount(runs, "labels", "right", chance=0.5)
    ax = fig.axes[0]
    points = sorted(y for line in ax.lines if line.get_marker() != "None" for y in line.get_ydata())
    assert points == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    means = {line.get_label(): list(line.get_ydata()) for line in ax.lines if line.get_label()[0] != "_"}
    assert means["GPT"] == pytest.approx([0.6, 0.85]) and means["counted"] == [0.4, 0.6]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["100", "1,000"]
