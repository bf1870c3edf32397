"""Figures of lesson 05 say what the tensors say."""

import numpy as np
import pytest
import torch
from helpers.drawn import assert_words_stand_apart, lines_on, words_on
from matplotlib import colormaps
from matplotlib.colors import to_rgba
from matplotlib.patches import Circle, Rectangle

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
