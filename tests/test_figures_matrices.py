"""Lesson 03's figures say what its tensors say: numbers, places, thickness and order, read back from the drawing."""

import matplotlib
import numpy as np
import pytest
import torch
from helpers.drawn import assert_words_stand_apart, lines_on, widths, words_on
from matplotlib.patches import FancyBboxPatch

from utils import figures

pytestmark = pytest.mark.usefixtures("drawing_style")


@pytest.fixture
def layer() -> dict:
    """A self-attention layer on three random words, one vector per column."""
    torch.manual_seed(0)
    I, W = torch.randn(3, 3), [torch.randn(2, 3) for _ in range(3)]  # noqa: E741
    Q, K, V = (w @ I for w in W)
    A = K.T @ Q / 2**0.5
    A_hat = A.softmax(0)
    return dict(I=I, W=W, Q=Q, K=K, V=V, A=A, A_hat=A_hat, O=V @ A_hat)


def numbers(*tensors) -> list[str]:
    return [figures.number(x) for tensor in tensors for x in tensor.flatten().tolist()]


def written(figure) -> list[str]:
    """The numbers on a figure, in drawing order."""
    return [word for word in words_on(figure) if word.lstrip("-").replace(".", "", 1).replace("e-05", "").isdigit()]


def test_matrix_puts_every_number_in_its_row_and_column():
    values = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    ax = figures.canvas(3, 2)
    shape = figures.matrix(ax, 1.5, 1.0, values, label="Q", rows="k", columns="q")
    places = {t.get_text(): t.get_position() for t in ax.texts}
    for i, row in enumerate(values.int().tolist()):
        for j, value in enumerate(row):
            x, y = places[str(value)]
            assert x == pytest.approx(places[f"$q^{j + 1}$"][0]) and y == pytest.approx(places[f"$k^{i + 1}$"][1])
    assert places["1"][0] < places["2"][0] and places["1"][1] > places["4"][1]
    assert places["$Q$"][1] < shape.bottom[1]
    assert (shape.width, shape.height) == pytest.approx((3 * 0.44, 2 * 0.25))


def test_matrix_darkens_one_column():
    ax = figures.canvas(3, 2)
    figures.matrix(ax, 1.5, 1.0, torch.zeros(2, 3), figures.QUERY, strong=1)
    tints = {round(p.get_x(), 2): p.get_alpha() for p in ax.patches if p.get_alpha() is not None}
    assert [tints[x] for x in sorted(tints)] == [0.12, 0.4, 0.12]


def turns(layer: dict, words: list[str]):
    return figures.attention_in_parallel(words, *(layer[name].T for name in ("I", "Q", "K", "V", "A", "A_hat", "O")))


def test_attention_in_parallel_shows_every_turn(layer):
    fig = turns(layer, ["机器", "学习", "milk"])
    rows = [layer[name].T for name in ("I", "Q", "K", "V", "A", "A_hat", "O")]
    assert sorted(written(fig)) == sorted(numbers(*rows))
    tints = [p.get_alpha() for p in fig.axes[0].patches if p.get_facecolor()[:3] == matplotlib.colors.to_rgb("#AA4499")]
    shares = sorted(0.08 + 0.5 * layer["A_hat"].flatten().numpy())
    np.testing.assert_allclose(sorted(tint for tint in tints if tint and tint != 0.08), shares, rtol=1e-5)
    assert_words_stand_apart(fig)


def test_attention_in_parallel_sends_keys_to_scores_and_values_to_products(layer):
    """Every line goes up; keys end below the scores, values only above the weights; no turn is joined with another."""
    fig = turns(layer, ["a", "b", "c"])
    ends = {color: [line._posA_posB for line in lines_on(fig, color)] for color in (figures.KEY, figures.VALUE)}
    scores, products = 3.65, 6.02
    assert all(end[1] > start[1] for start, end in ends[figures.KEY] + ends[figures.VALUE])
    assert max(end[1] for _, end in ends[figures.KEY]) < scores
    into_products = [end[1] for start, end in ends[figures.VALUE] if start[1] > 2.5]
    assert len(into_products) == 6 and min(into_products) >= products  # the line of all values, then the output
    own = [line._posA_posB for line in lines_on(fig, figures.WEIGHT)]
    assert len(own) == 6 and all(start[0] == end[0] for start, end in own)
    asked = [(start, end) for start, end in (line._posA_posB for line in lines_on(fig, figures.QUERY)) if end[1] > 2.5]
    assert len(asked) == 3 and all(abs(start[0] - end[0]) < 0.3 for start, end in asked), "its own query alone"


def test_one_score_colors_one_row_one_column_and_where_they_meet(layer):
    words = ["机器", "学习", "milk"]
    fig = figures.one_score(layer["K"], layer["Q"], words, asked=2, asks=1)
    assert sorted(written(fig)) == sorted(numbers(layer["K"], layer["Q"], layer["A"]))

    def colored(color: str) -> int:
        return sum(p.get_alpha() == 0.35 and p.get_facecolor()[:3] == matplotlib.colors.to_rgb(color)
                   for p in fig.axes[0].patches)  # fmt: skip

    assert [colored(color) for color in (figures.KEY, figures.QUERY, figures.WEIGHT)] == [2, 2, 1]
    picks = [patch.get_gid() for patch in fig.axes[0].artists + fig.axes[0].patches if patch.get_gid()]
    assert sorted(picks) == sorted(f"pick:{choice}:{value}" for choice in range(2) for value in range(3))
    assert_words_stand_apart(fig)


def test_online_softmax_keeps_what_one_pass_would_give(layer):
    scores, values = layer["A"].T[0], layer["V"].T
    for read in (1, 2, 3):
        fig = figures.online_softmax(scores, values, ["a", "b", "c"], read)
        seen = scores[:read]
        e = (seen - seen.max()).exp()
        o = e @ values[:read]
        said = words_on(fig)
        assert f"$m$ = {seen.max():.2f}" in said and f"$l$ = {e.sum():.2f}" in said
        assert f"$o/l$ = ({', '.join(f'{x:.2f}' for x in o / e.sum())})" in said
        grown = read > 1 and seen[-1] > seen[:-1].max()
        shrunk = f"were multiplied by {torch.exp(seen[:-1].max() - seen[-1]):.2f}" if grown else ""
        assert ("a new peak" in "".join(said)) is bool(grown) and shrunk in "".join(said)
        assert [len(ax.patches) for ax in fig.axes] == [read, read]
        np.testing.assert_allclose([bar.get_height() for bar in fig.axes[1].patches], e, rtol=1e-5)


def test_roofline_has_its_corner_where_bytes_and_operations_take_as_long():
    marks = {"loop": [(0.3, 2e7), (0.3, 1e7)], "matrices": [(8, 5e10)]}
    fig = figures.roofline(marks, {"here": (8e10, 1.6e10), "there": (9e14, 3e12)})
    roof, other, *points = fig.axes[0].lines
    x, y = roof.get_data()
    np.testing.assert_allclose(y, np.minimum(80, 16 * x))
    np.testing.assert_allclose([point.get_xydata()[0] for point in points], [(0.3, 0.02), (0.3, 0.01), (8, 50)])
    assert [point.get_markerfacecolor() == "none" for point in points] == [False, True, False]
    assert {point.get_marker() for point in points} == {"o", "s"} and other.get_linestyle() == "--"
    assert [word.get_text() for word in fig.legends[0].get_texts()] == ["loop", "matrices"]
    assert words_on(fig) == ["here", "there"]


def test_scores_as_products_writes_each_equation(layer):
    roles = (layer["Q"], layer["K"], layer["V"])
    fig = figures.scores_as_products(layer["I"], layer["W"], roles, layer["A"])
    tensors = []
    for W, role in zip(layer["W"], roles, strict=True):
        tensors += [role.T, W.T, layer["I"].T]  # drawn column by column
    for asked in (slice(0, 1), slice(None)):
        tensors += [layer["A"][:, asked].T, layer["K"], layer["Q"][:, asked].T]
    assert written(fig) == numbers(*tensors)
    assert_words_stand_apart(fig)
    assert fig.get_size_inches()[0] <= 7  # 700 px


def test_attention_layer_shows_every_matrix_in_order(layer):
    names = ("I", "Q", "K", "V", "A", "A_hat", "O")
    fig = figures.attention_layer(*(layer[name] for name in names))
    assert written(fig) == numbers(*(layer[name].T for name in names))
    labels = [word for word in words_on(fig) if word in {"$I$", "$Q$", "$K$", "$V$", "$A$", r"$\hat{A}$", "$O$"}]
    assert labels == ["$I$", "$Q$", "$K$", "$V$", "$A$", r"$\hat{A}$", "$O$"]
    assert [len(widths(fig, color)) for color in (figures.QUERY, figures.KEY, figures.VALUE)] == [2, 2, 2]
    assert_words_stand_apart(fig)


@pytest.mark.parametrize("n, block", [(4, 2), (3, 2)])
def test_tiles_hold_one_tile_at_a_time(n, block):
    """Each panel writes its own tile's scores, and m and l of all that its queries have seen."""
    torch.manual_seed(1)
    scores = torch.randn(n, n)
    fig = figures.tiles(scores, block)
    starts = range(0, n, block)
    order = [(i, j) for i in starts for j in starts]
    expected = [scores[i : i + block, j : j + block] for i, j in order]
    assert written(fig) == numbers(*expected)
    kept = [word for word in words_on(fig) if ": $m$ =" in word]
    right = []
    for i, j in order:
        for row in range(i, min(i + block, n)):
            seen = scores[row, : j + block]
            m, total = seen.max(), (seen - seen.max()).exp().sum()
            right.append(f"$q^{row + 1}$: $m$ = {m:.2f}, $l$ = {total:.2f}")
    assert kept == right
    assert_words_stand_apart(fig)


def test_tiles_turn_gray_when_they_are_used():
    fig = figures.tiles(torch.zeros(4, 4), 2)

    def painted(color: str, alpha: float) -> int:
        face = (*matplotlib.colors.to_rgb(color), alpha)
        boxes = [patch for patch in fig.axes[0].patches if isinstance(patch, FancyBboxPatch)]
        return sum(np.allclose(patch.get_facecolor(), face) for patch in boxes)

    assert painted(figures.WEIGHT, 0.25) == 4 * 4  # four panels hold four scores each
    assert painted(figures.PALE, 0.8) == (0 + 1 + 2 + 3) * 4  # and have forgotten the tiles before
