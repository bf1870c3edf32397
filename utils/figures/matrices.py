"""Lesson 03: all words ask at once (the lecture's figures 7 to 9), and attention one tile after another."""

from collections.abc import Sequence

import numpy as np

from .drawing import Shape, arrow, box, canvas, text, vector
from .style import GRAY, GREEN, KEY, PALE, QUERY, VALUE, WEIGHT, as_array, number

CELL = (0.44, 0.25)  # inches: width and height of one number


def matrix(ax, x, y, values, color=GRAY, label="", rows="", columns="", strong=None, beside=False) -> Shape:
    """A matrix with its numbers; `label` stands below it or `beside` it, "k" for `rows` names them k^1, k^2 ...

    The column numbered `strong` is darker.
    """
    values, (w, h) = as_array(values), CELL
    shape = Shape(x, y, values.shape[1] * w, values.shape[0] * h)
    (left, _), (_, top), (_, bottom) = shape.left, shape.top, shape.bottom
    for j, column in enumerate(values.T):
        vector(ax, left + (j + 0.5) * w, y, column, color, CELL, fill=0.4 if j == strong else 0.12)
        if columns:
            text(ax, left + (j + 0.5) * w, top + 0.13, f"${columns}^{j + 1}$", 10, color)
    for i in range(len(values) if rows else 0):
        text(ax, left - 0.17, top - (i + 0.5) * h, f"${rows}^{i + 1}$", 10, color)
    text(ax, *((left - 0.24, y) if beside else (x, bottom - 0.15)), f"${label}$", 12, color)
    return shape


def equation(ax, y, parts: Sequence) -> None:
    """Signs and matrices (the arguments of `matrix`) from left to right, centered on the sheet at height y."""
    sign, gap = 0.5, 0.38
    widths = [sign if isinstance(part, str) else CELL[0] * as_array(part["values"]).shape[1] + gap for part in parts]
    x = (ax.get_xlim()[1] - sum(widths)) / 2
    for part, width in zip(parts, widths, strict=True):
        if isinstance(part, str):
            text(ax, x + width / 2, y, part, 13)
        else:
            matrix(ax, x + width / 2, y, **part)
        x += width


def attention_in_parallel(words: Sequence[str], a, q, k, v, weights, outputs):
    """Every word's turn, none after another: the lecture's figure 7.

    n words; a (n, d_in), q and k (n, d), v and outputs (n, d_v) hold one vector per row, drawn as a column; weights
    (n, n), row i = the shares that word i gives. The line from word j into turn i is as thick as weights[i, j].
    """
    n, weights = len(words), as_array(weights)
    ax = canvas(6.8, 6.0)
    columns = [(i + 0.5) * 6.8 / n for i in range(n)]
    for i, (x, word) in enumerate(zip(columns, words, strict=True)):
        text(ax, x, 0.16, word, 12, weight="bold")
        embedding = vector(ax, x, 0.75, a[i])
        text(ax, x - 0.4, 0.75, f"$a^{i + 1}$", 12)
        for name, role, color, dx in (("q", q, QUERY, -0.53), ("k", k, KEY, 0.0), ("v", v, VALUE, 0.53)):
            arrow(ax, embedding.top, (x + dx, 1.53), color=color)
            text(ax, x + dx, 1.65, f"${name}^{i + 1}$", 12, color)
            shape = vector(ax, x + dx, 2.05, role[i], color)
            if name == "q":
                arrow(ax, shape.top, (x - 0.2, 3.57), 0.2, QUERY)
        turn = vector(ax, x, 4.1, weights[i], WEIGHT, cell=(0.56, 0.25))
        text(ax, x - 0.55, 4.1, rf"$\hat{{\alpha}}_{i + 1}$", 13, WEIGHT)
        for j, offering in enumerate(columns):  # from between key and value: what word j offers to every turn
            arrow(ax, (offering + 0.265, 2.3), turn.bottom, weights[i, j], VALUE, head=False)
        result = vector(ax, x, 5.5, outputs[i], GREEN, cell=(0.56, 0.27), fill=0.3)
        text(ax, x - 0.55, 5.5, f"$b^{i + 1}$", 13)
        arrow(ax, turn.top, result.bottom, 0.2, WEIGHT)
    return ax.figure


def scores_as_products(I, projections: Sequence, roles: Sequence, A):  # noqa: E741
    """Q, K and V as one product each, the scores of q^1, then all scores at once: the lecture's figure 8.

    One vector per column: I (d_in, n), projections W^q, W^k, W^v (d, d_in), roles Q, K, V (d, n), A (n, n).
    """
    (Q, K, _), low, high = map(as_array, roles), 0.25 * len(I) + 0.6, 0.25 * len(A) + 0.6
    ax = canvas(6.8, 3 * low + 2 * high)
    y = 3 * low + 2 * high
    for name, W, role, color in zip("qkv", projections, roles, (QUERY, KEY, VALUE), strict=True):
        result = dict(values=role, color=color, label=name.upper(), columns=name)
        right = dict(values=W, color=color, label=f"W^{name}"), dict(values=I, label="I", columns="a")
        equation(ax, y - low / 2, [result, "=", *right])
        y -= low
    keys = dict(values=K.T, color=KEY, label="K^T", rows="k")
    asked = dict(values=Q[:, :1], color=QUERY, label="q^1", strong=0)
    scores = dict(values=A[:, :1], color=WEIGHT, label=r"\alpha_1", strong=0)
    equation(ax, y - high / 2, [scores, "=", keys, asked, r"$/\ \sqrt{d}$"])
    asked |= dict(values=Q, label="Q", columns="q")
    scores |= dict(values=A, label="A")
    equation(ax, y - 3 * high / 2, [scores, "=", keys, asked, r"$/\ \sqrt{d}$"])
    return ax.figure


def attention_layer(I, Q, K, V, A, A_hat, O):  # noqa: E741
    """The whole layer as matrix products, from I below to O above: the lecture's figure 9; vectors are columns."""
    ax = canvas(6.8, 6.0)
    below, roles = matrix(ax, 3.5, 0.55, I, label="I", beside=True), []
    for name, x, values, color, dx in (
        ("q", 1.3, Q, QUERY, 0.95), ("k", 3.5, K, KEY, 0.2), ("v", 5.7, V, VALUE, -0.95),
    ):  # fmt: skip
        roles.append(matrix(ax, x, 2.0, values, color, name.upper(), beside=True))
        arrow(ax, (below.x + 0.3 * (x - below.x), below.top[1]), roles[-1].bottom, 0.25, color)
        text(ax, x + dx, 1.45, f"$W^{name}$", 12, color)
    scores = matrix(ax, 1.5, 3.7, A, WEIGHT, "A", beside=True)
    shares = matrix(ax, 4.7, 3.7, A_hat, WEIGHT, r"\hat{A}", beside=True)
    output = matrix(ax, 5.0, 5.5, O, GREEN, "O", beside=True)
    arrow(ax, roles[0].top, (1.3, scores.bottom[1]), 0.25, QUERY)
    arrow(ax, roles[1].top, (1.8, scores.bottom[1]), 0.25, KEY)
    text(ax, 1.15, 2.72, r"$K^T Q\,/\sqrt{d}$", 12, ha="right")
    arrow(ax, scores.right, (shares.left[0] - 0.42, shares.y), 0.25, WEIGHT)
    text(ax, 2.88, 3.87, "softmax", 10)
    text(ax, 2.88, 3.47, "down each\ncolumn", 8.5, GRAY)
    arrow(ax, shares.top, (4.8, output.bottom[1]), 0.25, WEIGHT)
    arrow(ax, (6.1, roles[2].top[1]), (5.75, output.bottom[1]), 0.25, VALUE)
    text(ax, 4.6, 4.8, r"$V \hat{A}$", 12, ha="right")
    return ax.figure


def tiles(scores, block: int):
    """Attention block by block, a panel per tile: scores (n, n), row i = query i, of which only one tile is held.

    Gray tiles were used and forgotten. Below stands what is kept for each query of the tile: the largest score m so
    far, and l, the sum of exp(score - m).
    """
    scores, side = as_array(scores), 0.36
    n, starts = len(scores), range(0, len(scores), block)
    order = [(i, j) for i in starts for j in starts]
    pitch, top = 6.8 / len(order), n * side + 0.1 + 0.24 * block
    ax = canvas(6.8, top + 0.55)
    for step, (i, j) in enumerate(order):
        left = (step + 1) * pitch - n * side - 0.02
        text(ax, left + n * side / 2, top + 0.4, f"tile {step + 1}", 11)
        for row, column in np.ndindex(n, n):
            tile = (row // block * block, column // block * block)
            held, past = tile == (i, j), order.index(tile) < step
            box(
                ax, left + (column + 0.5) * side, top - (row + 0.5) * side, number(scores[row, column]) if held else "",
                side - 0.04, side - 0.04, WEIGHT if held else PALE, 0.25 if held else 0.8 * past, size=8,
            )  # fmt: skip
        for m in range(n):
            text(ax, left + (m + 0.5) * side, top + 0.12, f"$k^{m + 1}$", 9, KEY)
            text(ax, left - 0.09, top - (m + 0.5) * side, f"$q^{m + 1}$", 9, QUERY)
        for line, row in enumerate(range(i, min(i + block, n))):
            seen = scores[row, : j + block]
            kept = f"$q^{row + 1}$: $m$ = {seen.max():.2f}, $l$ = {np.exp(seen - seen.max()).sum():.2f}"
            text(ax, (step + 0.5) * pitch, top - n * side - 0.17 - 0.24 * line, kept, 8.5)
    return ax.figure
