"""Lesson 03: all words ask at once (the lecture's figures 7 to 9), and attention one tile after another."""

from collections.abc import Sequence

import numpy as np

from .drawing import Shape, arrow, box, canvas, node, text, vector
from .page import spot
from .style import GRAY, GREEN, KEY, LOOKS, PALE, QUERY, VALUE, WEIGHT, as_array, number

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
    signs, gap = {"·": 0.0}, 0.38
    widths = [
        signs.get(part, 0.5) if isinstance(part, str) else CELL[0] * as_array(part["values"]).shape[1] + gap
        for part in parts
    ]
    x = (ax.get_xlim()[1] - sum(widths)) / 2
    for part, width in zip(parts, widths, strict=True):
        if isinstance(part, str):
            text(ax, x + width / 2, y, part, 20 if part == "·" else 13)
        else:
            matrix(ax, x + width / 2, y, **part)
        x += width


def attention_in_parallel(words: Sequence[str], a, q, k, v, scores, weights, outputs):
    """Every word's turn, none after another: the lecture's figure 7.

    n words; a (n, d_in), q and k (n, d), v and outputs (n, d_v) hold one vector per row, drawn as a column; scores and
    weights (n, n), row i = the turn of word i, the darker the larger the weight. Each turn has its own query; two lines
    hand it all keys for its scores and all values for the product with its weights.
    """
    n, scores, weights = len(words), as_array(scores), as_array(weights)
    ax = canvas(6.8, 7.2)
    columns = [(i + 0.5) * 6.8 / n for i in range(n)]
    for y, dx, color, label in ((2.65, 0.0, KEY, "all keys"), (5.66, 0.53, VALUE, "all values")):
        ax.plot([columns[0] + dx, columns[-1] + dx], [y, y], color=color, lw=2.5, zorder=1)
        text(ax, columns[0] + 0.85, y + 0.13, label, 9, color)
    for x in [*(x - 0.46 for x in columns[1:]), *(x + 0.53 for x in columns[:-1])]:  # passed over, not joined
        ax.plot([x - 0.07, x + 0.07], [2.65, 2.65], color="white", lw=4, zorder=1.5)
    for i, (x, word) in enumerate(zip(columns, words, strict=True)):
        text(ax, x, 0.16, word, 12, weight="bold")
        embedding = vector(ax, x, 0.75, a[i])
        text(ax, x - 0.4, 0.75, f"$a^{i + 1}$", 12)
        turn = vector(ax, x, 3.65, scores[i], WEIGHT, cell=(0.56, 0.24), fill=0.08)
        for name, role, color, dx in (("q", q, QUERY, -0.53), ("k", k, KEY, 0.0), ("v", v, VALUE, 0.53)):
            arrow(ax, embedding.top, (x + dx, 1.53), color=color)
            text(ax, x + dx, 1.65, f"${name}^{i + 1}$", 12, color)
            shape = vector(ax, x + dx, 2.05, role[i], color)
            line = {"q": turn.left, "k": (x, 2.65), "v": (x + dx, 5.66)}[name]
            arrow(ax, shape.top, line, 0.2, color, head=name == "q")
        arrow(ax, (x, 2.65), turn.bottom, 0.2, KEY)
        text(ax, x - 0.53, 3.95, rf"$\alpha_{i + 1}$", 12, WEIGHT)
        shares = [
            vector(ax, x, 5.4 - 0.24 * j, [share], WEIGHT, cell=(0.56, 0.24), fill=0.08 + 0.5 * share)
            for j, share in enumerate(weights[i])
        ]
        arrow(ax, turn.top, shares[-1].bottom, 0.2, WEIGHT)
        text(ax, x - 0.06, (turn.top[1] + shares[-1].bottom[1]) / 2, "softmax", 8.5, GRAY, ha="right")
        text(ax, x - 0.53, 5.04, rf"$\hat{{\alpha}}_{i + 1}$", 12, WEIGHT)
        product = node(ax, x, 6.02, "×", 0.15)
        text(ax, x - 0.2, 6.02, "weighted\nsum", 8.5, GRAY, ha="right")
        arrow(ax, shares[0].top, product.bottom, 0.2, WEIGHT)
        arrow(ax, (x + 0.53, 5.66), product.right, 0.2, VALUE)
        result = vector(ax, x, 6.78, outputs[i], GREEN, cell=(0.56, 0.27), fill=0.3)
        text(ax, x - 0.53, 6.78, f"$b^{i + 1}$", 13)
        arrow(ax, product.top, result.bottom, 0.2, VALUE)
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
        equation(ax, y - low / 2, [result, "=", right[0], "·", right[1]])
        y -= low
    keys = dict(values=K.T, color=KEY, label="K^T", rows="k")
    asked = dict(values=Q[:, :1], color=QUERY, label="q^1", strong=0)
    scores = dict(values=A[:, :1], color=WEIGHT, label=r"\alpha_1", strong=0)
    equation(ax, y - high / 2, [scores, "=", keys, "·", asked, r"$/\ \sqrt{d}$"])
    asked |= dict(values=Q, label="Q", columns="q")
    scores |= dict(values=A, label="A")
    equation(ax, y - 3 * high / 2, [scores, "=", keys, "·", asked, r"$/\ \sqrt{d}$"])
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


def one_score(K, Q, words: Sequence[str], asked: int = 0, asks: int = 0):
    """One entry of A = K^T Q / sqrt(d): row `asked` of K^T meets column `asks` of Q, everything else stays gray.

    One vector per column: K and Q (d, n); n words. In `explore`, rows of K^T choose the first value, columns of Q the
    second.
    """
    K, Q, (w, h) = as_array(K), as_array(Q), (0.62, 0.34)
    (d, n), A = K.shape, K.T @ Q / len(K) ** 0.5
    ax = canvas(6.8, 0.65 + (d + n) * h)
    left, low = 1.3, 0.12  # the lower left corner of K^T
    beside, above = left + d * w + 0.45, low + n * h + 0.2  # where A and Q begin

    def entry(x, y, value, color, strong) -> None:
        vector(ax, x + w / 2, y + h / 2, [value], color if strong else PALE, (w, h), fill=0.35 if strong else 0.1)

    for strong in (False, True):  # what is strong comes last: its frame is seen whole
        for i, j in np.ndindex(n, d):
            if (i == asked) == strong:
                entry(left + j * w, low + (n - 1 - i) * h, K[j, i], KEY, strong)
            if (i == asks) == strong:
                entry(beside + i * w, above + (d - 1 - j) * h, Q[j, i], QUERY, strong)
        for i, j in np.ndindex(n, n):
            if ((i, j) == (asked, asks)) == strong:
                entry(beside + j * w, low + (n - 1 - i) * h, A[i, j], WEIGHT, strong)
    for i, word in enumerate(words):
        row, column = low + (n - 0.5 - i) * h, beside + (i + 0.5) * w
        strong = ("bold" if i == asked else "normal"), ("bold" if i == asks else "normal")
        text(ax, left - 0.1, row, word, 11, KEY if i == asked else GRAY, ha="right", weight=strong[0])
        text(ax, column, above + d * h + 0.16, word, 11, QUERY if i == asks else GRAY, weight=strong[1])
        spot(ax, left + (d * w - 0.9) / 2, row, d * w + 0.9, h, value=i, choice=0)
        spot(ax, column, above + (d * h + 0.3) / 2, w, d * h + 0.3, value=i, choice=1)
    text(ax, left + d * w / 2, above + 0.05, "$K^T$", 13, KEY)
    text(ax, beside - 0.25, above + d * h / 2, "$Q$", 13, QUERY)
    text(ax, beside + n * w + 0.12, low + n * h / 2, r"$A = K^T Q\,/\sqrt{d}$", 12, WEIGHT, ha="left")
    return ax.figure


def online_softmax(scores, values, words: Sequence[str], read: int):
    """What one query keeps once it has read the first keys: the peak m of their scores, l and o.

    scores (n,), values (n, d_v). Above: the scores that were read, and m; below: their powers measured from m, which
    are l together. Where the last key brought a new peak, it is said by how much l and o shrank.
    """
    import matplotlib.pyplot as plt

    scores, values, n = as_array(scores), as_array(values), len(words)
    m, before = scores[:read].max(), scores[: read - 1].max(initial=-np.inf)
    shrunk = f"a new peak: $l$ and $o$\nwere multiplied by {np.exp(before - m):.2f}" if -np.inf < before < m else ""
    powers = np.exp(scores[:read] - m)
    total, mixed = powers.sum(), powers @ values[:read]
    fig, axes = plt.subplots(2, 1, figsize=(6.8, 3.6), sharex=True, layout="none")
    fig.subplots_adjust(0.1, 0.1, 0.99, 0.98, hspace=0.12)  # many frames: quicker than a layout engine
    for ax, bars, label in zip(axes, (scores[:read], powers), (r"score $\alpha$", r"$e^{\alpha - m}$"), strict=True):
        ax.bar(range(read), bars, 0.55, color=WEIGHT)
        ax.axhline(0, color=GRAY, lw=0.8)
        for x, value in enumerate(bars):
            ax.annotate(f"{value:.2f}", (x, value), (0, 4), textcoords="offset points", ha="center", fontsize=10)
        ax.set(ylabel=label, xlim=(-0.5, n + 1.6), xticks=range(n))
    low, high = min(scores.min(), 0), max(scores.max(), 0)
    axes[0].set(ylim=(low - 0.05 * (high - low), high + 0.3 * (high - low)))
    axes[0].plot([-0.5, n - 0.4], [m, m], "--", color=GRAY, lw=1.5)
    axes[1].set(ylim=(0, 1.35), yticks=(0, 0.5, 1))
    axes[1].set_xticklabels([word if i < read else f"({word})" for i, word in enumerate(words)])
    o, b = (f"({', '.join(f'{x:.2f}' for x in kept)})" for kept in (mixed, mixed / total))
    for ax, y, line in (
        (axes[0], 0.75, f"$m$ = {m:.2f}"), (axes[0], 0.35, shrunk), (axes[1], 0.9, f"$l$ = {total:.2f}"),
        (axes[1], 0.55, f"$o$ = {o}"), (axes[1], 0.2, f"$o/l$ = {b}"),
    ):  # fmt: skip
        ax.text(n - 0.3, y, line, transform=ax.get_xaxis_transform(), fontsize=11, va="center")
    return fig


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


def roofline(points: dict, roofs: dict):
    """Speed against arithmetic intensity, both logarithmic: nothing that a machine computes lies above its roof.

    points: name -> marks (FLOP per byte, FLOP/s), the first of them filled; roofs: name -> (FLOP/s of a large product,
    bytes/s of the memory). Left of a roof's corner a form can at best be as fast as its bytes arrive, right of it as
    fast as products go.
    """
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(6.8, 4.2))
    x = np.geomspace(0.1, 1000, 200)
    for (name, (rate, bandwidth)), dash in zip(roofs.items(), ("-", "--"), strict=False):
        ax.plot(x, np.minimum(rate, bandwidth * x) / 1e9, color=GRAY, linestyle=dash, lw=2)
        ax.annotate(name, (x[-1], rate / 1e9), (0, 6), textcoords="offset points", fontsize=9, color=GRAY, ha="right")
    for (name, marks), look in zip(points.items(), LOOKS, strict=False):
        for k, (intensity, speed) in enumerate(marks):
            hollow = {"mfc": "none", "mew": 1.6, "label": None} if k else {"label": name}
            ax.plot(intensity, speed / 1e9, ms=8, **(look | {"linestyle": "none"} | hollow))
    ax.set(xscale="log", yscale="log", xlim=(0.1, 1000), xlabel="arithmetic intensity (FLOP per byte)")
    ax.set(ylabel="speed (GFLOP/s)", xticks=[0.1, 1, 10, 100, 1000])
    ax.set_xticklabels(["0.1", "1", "10", "100", "1000"])
    ax.minorticks_off()
    fig.legend(loc="outside lower center", ncols=3, fontsize=9)
    return fig
