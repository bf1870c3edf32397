"""Figures of lesson 05 say what the tensors say."""

import numpy as np
import pytest
import torch
from helpers.drawn import assert_words_stand_apart, lines_on, words_on
from matplotlib import colormaps
from matplotlib.colors import to_rgba
from matplotlib.patches import Circle, Rectangle
from matplotlib.text import Text

from utils import figures
from utils.positional import sinusoidal

pytestmark = pytest.mark.usefixtures("drawing_style")


def test_positions_added_shows_every_number():
    torch.manual_seed(0)
    a, e, q, k, v = torch.randn(3, 4), torch.randn(3, 4), *torch.randn(3, 3, 2)
    figure = figures.positions_added("我爱你", a, e, q, k, v)
    words = words_on(figure)
    numbers = [figures.number(x) for tensor in (a, e, q, k, v) for x in tensor.flatten()]
    assert sorted(numbers) == sorted(word for word in words if word.lstrip("-").replace(".", "").isdigit())
    assert {"我", "爱", "你", "$a^3$", "$e^3$", "$q^1$", "+", "place 2"} <= set(words)
    assert len(lines_on(figure)) == 3 * (2 + 3)  # into each sum two, out of it three
    assert_words_stand_apart(figure)


def test_one_hot_appended_picks_one_column_of_each_matrix():
    W_I, W_P = torch.arange(20, 32.0).view(4, 3), torch.arange(40, 52.0).view(4, 3)  # no number twice
    figure = figures.one_hot_appended(W_I, W_P, torch.eye(3)[2], torch.eye(3)[1])
    words = words_on(figure)
    for matrix, picked in ((W_I, 2), (W_P, 1)):
        for j in range(3):  # twice in the matrices, and the picked column once more as the product
            shown = [words.count(figures.number(x)) for x in matrix[:, j]]
            assert shown == [3 if j == picked else 2] * 4
    assert {"$x^2$", "$p^2$", "$a^2$", "$e^2$", "$W^I$", "$W^P$"} <= set(words)
    strong = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_alpha() == 0.4]
    assert len(strong) == 6 * 4
    assert_words_stand_apart(figure)


def test_clock_faces_point_where_the_pair_says():
    e, positions = sinusoidal(30, 6), [0, 2, 29]
    figure = figures.clock_faces(e, positions, ["fast", "slower", "slow"])
    centers = [patch.center for patch in figure.axes[0].patches if isinstance(patch, Circle)]
    tips = [line._posA_posB for line in lines_on(figure, figures.ORANGE)]
    assert len(centers) == len(tips) == 9
    for (start, tip), center, (p, i) in zip(tips, centers, [(p, i) for p in positions for i in range(3)], strict=True):
        assert start == pytest.approx(center)
        direction = np.subtract(tip, start)
        assert direction / np.linalg.norm(direction) == pytest.approx(e[p, 2 * i : 2 * i + 2].numpy(), abs=1e-5)
    assert all(line.get_edgecolor() == to_rgba(figures.ORANGE) for line in lines_on(figure))
    colors = [patch.get_facecolor() for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert colors == [colormaps["PuOr"]((value + 1) / 2) for p in positions for value in e[p].tolist()]
    assert {"0", "2", "29", "hand 0: one turn\nfast"} <= set(words_on(figure))
    assert_words_stand_apart(figure)


def test_clock_faces_leave_a_gap_where_positions_are_left_out():
    figure = figures.clock_faces(sinusoidal(30, 4), [0, 1, 29], ["fast", "slow"])
    assert words_on(figure).count("...") == 1 + 2  # in the head and in each of the two rows
    assert_words_stand_apart(figure)


def test_turned_pair_keeps_the_angle_when_both_move_on():
    angles = []
    for place in (0, 3):
        figure = figures.turned_pair([1.0, 0.0], [0.0, 2.0], place, 1)
        (q, k) = (np.array(line._posA_posB[1]) for line in lines_on(figure))
        assert np.hypot(*q) == pytest.approx(1) and np.hypot(*k) == pytest.approx(2)
        angles.append(np.remainder(np.arctan2(k[1], k[0]) - np.arctan2(q[1], q[0]), 2 * np.pi))
    assert angles == pytest.approx([np.pi / 2 + 1] * 2)
    assert {"$q$, place 3", "$k$, place 4"} <= set(words_on(figure))


@pytest.mark.parametrize("distance, side", [(10, "after"), (-10, "before"), (40, "before")])
def test_one_hand_says_the_side_on_which_it_stands(distance, side):
    figure = figures.one_hand(0.1, distance, seen=15, hand=1)
    bold = [text.get_text() for text in figure.findobj(Text) if text.get_weight() == "bold" and text.get_text()]
    assert bold == [side]
    (start, tip), *_ = (line._posA_posB for line in lines_on(figure, figures.PURPLE))
    assert np.subtract(tip, start) == pytest.approx(0.97 * np.array([np.sin(distance / 10), np.cos(distance / 10)]))


def test_who_comes_first_turns_the_answer_with_the_sentence():
    figure = figures.who_comes_first(["我", "来", "你"])
    assert [words.split()[-1] for words in words_on(figure) if "?" in words] == ["yes", "no"]
    assert_words_stand_apart(figure)


def test_position_matrix_joins_the_half_turns():
    figure = figures.position_matrix(sinusoidal(100, 64).T)
    (curve,) = (line for line in figure.axes[0].lines if len(line.get_xdata()) == 12)
    omega = 10000.0 ** (-np.arange(12) / 32)
    assert curve.get_xdata() * omega == pytest.approx(np.pi)
    assert {"one turn: 6 positions", "one turn: 20 positions", "one turn: 63 positions"} <= set(words_on(figure))


def test_other_paces_draws_a_panel_for_each_hand():
    curves = {(hand, factor): np.full(63, 10 * hand + factor) for hand in range(4) for factor in (2.0, 0.5, 1.0)}
    panels = figures.other_paces(curves).axes
    for hand, ax in enumerate(panels):
        drawn = [(line.get_label(), line.get_ydata()[0]) for line in ax.lines if len(line.get_ydata()) == 63]
        assert drawn == [(f"speed x {factor:g}", 10 * hand + factor) for factor in (0.5, 1.0, 2.0)]


def test_right_answers_by_places_and_by_distance_are_those_given():
    names = ("one", "two", "three", "four")
    blocks = {name: np.full((4, 4), 25.0 * i) for i, name in enumerate(names)}
    figure = figures.right_by_places(blocks, seen=8, longest=32)
    for ax, (name, right) in zip(figure.axes, blocks.items(), strict=False):  # the color bar is the fifth
        assert ax.get_title() == name and (ax.images[0].get_array() == right).all()
        assert [patch.get_width() for patch in ax.patches if isinstance(patch, Rectangle)] == [8]
    curves = {name: np.random.default_rng(0).uniform(0, 100, (3, 31)) for name in names}
    figure = figures.right_by_distance(curves, seen=7)
    for ax, seeds in zip(figure.axes, curves.values(), strict=True):
        drawn = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 31]
        assert np.array_equal(drawn, seeds)
