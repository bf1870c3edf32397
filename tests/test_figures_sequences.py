"""Lesson 01's figures: chains of states run one way, filters stand where they should, cones follow the tables."""

import matplotlib
import numpy as np
import pytest
import torch
from helpers.drawn import assert_words_stand_apart, lines_on, words_on
from matplotlib.patches import Polygon

from utils import figures

pytestmark = pytest.mark.usefixtures("drawing_style")

WORDS = ["我", "keys", "to", "the", "cabinet"]


def numbers_on(fig) -> list[str]:
    return sorted(word for word in words_on(fig) if word.lstrip("-").replace(".", "", 1).isdigit())


def written(*tensors) -> list[str]:
    return sorted(figures.number(x) for tensor in tensors for x in tensor.flatten().tolist())


@pytest.fixture
def states():
    torch.manual_seed(0)
    return torch.randn(5, 2), torch.randn(5, 2), torch.randn(5, 2)


def direction(line) -> float:
    """How far a line goes to the right."""
    (x0, _), (x1, _) = line._posA_posB
    return x1 - x0


def test_recurrence_is_one_chain_from_left_to_right(states):
    a, forward, _ = states
    fig = figures.recurrence(WORDS, a, forward)
    assert numbers_on(fig) == written(a, forward)
    chain = lines_on(fig, figures.BLUE)
    assert len(chain) == 4 and all(direction(line) > 0 for line in chain)
    assert len(lines_on(fig, figures.GRAY)) == 5  # one input per state
    assert_words_stand_apart(fig)


def test_recurrence_in_both_directions_joins_two_chains(states):
    a, forward, backward = states
    outputs = torch.cat([forward, backward], dim=1)
    fig = figures.recurrence(WORDS, a, forward, backward, outputs)
    assert numbers_on(fig) == written(a, forward, backward, outputs)
    flat = {color: [x for x in lines_on(fig, color) if x._posA_posB[0][1] == x._posA_posB[1][1]]
            for color in (figures.BLUE, figures.ORANGE)}  # fmt: skip
    assert [direction(x) > 0 for x in flat[figures.BLUE]] == [True] * 4
    assert [direction(x) < 0 for x in flat[figures.ORANGE]] == [True] * 4
    assert len(lines_on(fig)) == 2 * (5 + 4 + 5)  # from inputs, along the chains, into outputs
    assert_words_stand_apart(fig)


@pytest.mark.parametrize("width", [2, 3])
def test_filter_steps_show_the_window_and_the_numbers_so_far(states, width):
    a, weights = states[0], torch.arange(2.0 * width).reshape(width, 2)
    numbers = torch.stack([(weights * a[i : i + width]).sum() for i in range(6 - width)])
    fig = figures.filter_steps(WORDS, a, weights, numbers, steps=(1, 3))
    parts = [(weights * a[i : i + width]).sum(1) for i in (0, 2)]  # what each word contributes
    assert numbers_on(fig) == sorted(written(a, a, weights, weights, *parts, numbers[:1], numbers[:3]))
    triangles = [patch for patch in fig.axes[0].patches if isinstance(patch, Polygon)]
    columns = sorted({t.get_position()[0] for t in fig.axes[0].texts if t.get_text() in WORDS})
    for triangle, first in zip(triangles, (0, 2), strict=True):
        left, right = triangle.get_xy()[0][0], triangle.get_xy()[1][0]
        assert [left < x < right for x in columns] == [first <= i < first + width for i in range(5)]
    assert_words_stand_apart(fig)


def filled(fig) -> int:
    orange = matplotlib.colors.to_rgba(figures.ORANGE)
    dots = [line for line in fig.axes[0].lines if line.get_marker() == "o"]
    dots = [line for line in dots if matplotlib.colors.to_rgba(line.get_markerfacecolor()) == orange]
    return sum(len(line.get_xdata()) for line in dots)


def connections(fig, color) -> int:
    """How many lines of this color are drawn; those of one kind are one line with gaps."""
    lines = [line for line in fig.axes[0].lines if line.get_marker() == "None" and line.get_color() == color]
    return sum(int(np.isnan(line.get_xdata()).sum()) for line in lines)


def test_cones_draw_every_connection_and_paint_those_of_one_output():
    torch.manual_seed(0)
    tables = [torch.rand(5, 5) < 0.4, torch.rand(5, 5) < 0.4]
    fig = figures.cones({"two layers": tables}, output=2, words=WORDS)
    everything = sum(int(table.sum()) for table in tables)
    assert connections(fig, figures.ORANGE) + connections(fig, figures.PALE) == everything
    middle = tables[1][2]  # what the output sees in the layer below
    inputs = tables[0][middle].any(dim=0)
    assert connections(fig, figures.ORANGE) == int(middle.sum() + tables[0][middle].sum())
    assert filled(fig) == 1 + int(middle.sum()) + int(inputs.sum())
    assert_words_stand_apart(fig)


def test_cones_stand_two_in_a_row():
    band = torch.ones(9, 9).tril(1).triu(-1)
    fig = figures.cones({"one": [band], "two": [band] * 2, "three": [band] * 3}, output=4)
    assert words_on(fig) == ["one", "two", "three"]
    assert filled(fig) == (1 + 3) + (1 + 3 + 5) + (1 + 3 + 5 + 7)
    heights = [t.get_position()[1] for t in fig.axes[0].texts]
    assert heights[2] < min(heights[:2]) and fig.get_size_inches()[0] <= 7
    assert np.isclose(fig.axes[0].texts[2].get_position()[0], fig.axes[0].texts[0].get_position()[0])


def test_waiting_shows_what_is_ready_what_is_computed_and_what_waits():
    word, none, left = np.eye(5), np.zeros((5, 5)), np.eye(5, k=-1)
    rows = {"there": [word, left, none], "back": [word, none, left.T]}
    fig = figures.waiting(WORDS, rows, turn=2)
    turns = [*range(1, 6), *range(5, 0, -1)]
    assert words_on(fig) == ["inputs", "there", "back", *WORDS, *map(str, turns)]
    assert connections(fig, figures.ORANGE) == 4 and connections(fig, figures.BLUE) == 2, "word and neighbor; word"
    assert connections(fig, figures.PALE) == 2 * (5 + 4) - 4 - 2
    assert_words_stand_apart(fig)


# ---- two bills, and the game -------------------------------------------------------------------------------


def test_bills_are_straight_where_costs_are_powers():
    n = [16, 64, 256]
    panels = {"chain": {"RNN": n, "two": [2 * x for x in n]}, "work": {"RNN": n, "two": [x * x for x in n]}}
    fig = figures.bills(n, panels)
    assert [ax.get_title() for ax in fig.axes] == ["chain", "work"]
    for ax, costs in zip(fig.axes, panels.values(), strict=True):
        assert ax.get_xscale() == ax.get_yscale() == "log"
        assert [line.get_ydata().tolist() for line in ax.lines] == list(costs.values())
        assert [line.get_label() for line in ax.lines] == list(costs)
    assert len({line.get_marker() for line in fig.axes[0].lines}) == 2


def test_asked_back_counts_the_distance():
    sentence = "so Bob:green um Ann:red well Ann?".split()
    fig = figures.asked_back(sentence, asked=3)
    assert sorted(words_on(fig)) == sorted([*sentence, "distance 2"])
    (arrow,) = [patch for patch in fig.axes[0].patches if hasattr(patch, "_posA_posB")]
    places = {t.get_text(): t.get_position()[0] for t in fig.axes[0].texts}
    assert arrow._posA_posB[1][0] == places["Ann:red"]
    assert_words_stand_apart(fig)


def test_near_and_far_draws_every_share():
    right = {
        ("mean", 1): (1.0, 0.9),
        ("attention", 1): (0.8, 0.7),
        ("mean", 4): (0.4, 0.3),
        ("attention", 4): (0.6, 0.5),
    }
    fig = figures.near_and_far(right, {"guess": 0.125, "colors": 0.412})
    assert [ax.get_title() for ax in fig.axes] == ["1 label", "4 labels"]
    for ax, labels in zip(fig.axes, (1, 4), strict=True):
        bars = [bar.get_height() for container in ax.containers for bar in container]
        assert bars == pytest.approx([100 * x for layer in ("mean", "attention") for x in right[layer, labels]])
        assert [line.get_ydata()[0] for line in ax.lines] == pytest.approx([12.5, 41.2])
        assert {"near", "far", "guess", "colors"} <= {t.get_text() for t in ax.texts}
