"""Lesson 02: one word asks all (the lecture's figures 4 to 6), and attention from layer to layer."""

from collections.abc import Sequence

from .drawing import arrow, box, canvas, node, text, vector
from .style import BLUE, GRAY, GREEN, KEY, PALE, QUERY, VALUE, WEIGHT, as_array


def attention_diagram(words: Sequence[str], a, q, k, v, scores=None, weights=None, output=None, asking=0):
    """One word asks all: the lecture's figure 4 with `scores`, 5 with `weights` too, 6 with `output` too.

    n words; a (n, d_in), q and k (n, d), v (n, d_v) hold one vector per row, drawn as a column; scores and
    weights (n,) are the asking word's, output is (d_v,). Numbers and thickness are read from the tensors.
    """
    n, me = len(words), asking + 1
    ax = canvas(6.8, 2.75 if scores is None else 4.05 if weights is None else 5.6 if output is None else 7.5)
    columns = [(i + 0.5) * 6.8 / n for i in range(n)]
    queries, keys, values = [], [], []
    for i, (x, word) in enumerate(zip(columns, words, strict=True)):
        text(ax, x, 0.16, word, 12, weight="bold")
        embedding = vector(ax, x, 0.75, a[i])
        text(ax, x - 0.4, 0.75, f"$a^{i + 1}$", 12)
        for name, role, shapes, color, dx in (
            ("q", q, queries, QUERY, -0.53), ("k", k, keys, KEY, 0.0), ("v", v, values, VALUE, 0.53),
        ):  # fmt: skip
            silent = scores is not None and (name == "q" and i != asking or name == "v" and output is None)
            color = PALE if silent else color  # what plays no part in this step steps back
            arrow(ax, embedding.top, (x + dx, 1.58), color=color)
            text(ax, x + dx, 1.7, f"${name}^{i + 1}$", 12, color)
            shapes.append(vector(ax, x + dx, 2.12, role[i], color))
    if scores is None:
        return ax.figure
    scores = as_array(scores)
    for i, x in enumerate(columns):
        label = rf"$\alpha_{{{me},{i + 1}}}$" + f"\n{scores[i]:.2f}"
        score = box(ax, x, 3.65, label, 0.66, 0.5, WEIGHT)
        arrow(ax, queries[asking].top, score.bottom, abs(scores[i]) / abs(scores).max() / 2, QUERY)
        arrow(ax, keys[i].top, score.bottom, 0.2, KEY)
        if weights is not None:
            arrow(ax, score.top, (x, 4.22), 0.2, WEIGHT)
    if weights is None:
        return ax.figure
    weights, summands = as_array(weights), []
    box(ax, 3.4, 4.4, "softmax", columns[-1] - columns[0] + 1.3, 0.34, GRAY)  # one box: the values pass behind it
    for i, x in enumerate(columns):
        label = rf"$\hat{{\alpha}}_{{{me},{i + 1}}}$" + f"\n{weights[i]:.2f}"
        weight = box(ax, x, 5.2, label, 0.66, 0.54, WEIGHT, fill=0.08 + 0.5 * weights[i])
        arrow(ax, (x, 4.58), weight.bottom, weights[i], WEIGHT)
        if output is not None:
            summands.append(node(ax, values[i].x, 5.85, "×"))
            arrow(ax, values[i].top, summands[i].bottom, 0.2, VALUE)
            arrow(ax, weight.top, summands[i].left, weights[i], WEIGHT)
    if output is None:
        return ax.figure
    result = vector(ax, columns[asking], 7.0, output, GREEN, cell=(0.56, 0.27), fill=0.3)
    text(ax, columns[asking] - 0.5, 7.0, f"$b^{me}$", 13)
    for i, summand in enumerate(summands):
        arrow(ax, summand.top, result.bottom, weights[i], VALUE)
    return ax.figure


def attention_flow(panels: Sequence[tuple], word: str):
    """Follow one word through layers of attention, lowest layer first, one panel above the other.

    panels holds (words, layers) pairs: n words and a list of weight matrices (n, n), row i = what word i
    attends to. The thicker a line, the larger the weight of the word below in the vector of `word` above.
    """
    height = 0.6 + 1.05 * len(panels[0][1])
    ax = canvas(6.8, height * len(panels))
    for panel, (words, layers) in enumerate(panels):
        base, asking = height * (len(panels) - 1 - panel) + 0.2, list(words).index(word)
        columns = [0.85 + (i + 0.5) * 5.95 / len(words) for i in range(len(words))]
        for level in range(len(layers) + 1):
            y = base + 1.05 * level
            text(ax, 0.02, y, "words" if level == 0 else f"after\nlayer {level}", 9, GRAY, ha="left")
            for i, x in enumerate(columns):
                mine = i == asking and level > 0
                text(ax, x, y, words[i], 9.5, BLUE if mine else "black", weight="bold" if mine else "normal")
        for level, weights in enumerate(layers):
            for x, share in zip(columns, as_array(weights)[asking], strict=True):
                bottom = base + 1.05 * level
                arrow(ax, (x, bottom + 0.12), (columns[asking], bottom + 0.93), share, BLUE, head=False)
            best = int(as_array(weights)[asking].argmax())
            x, y = 0.75 * columns[best] + 0.25 * columns[asking], bottom + 0.34
            box(ax, x, y, f"{as_array(weights)[asking, best]:.0%}", 0.48, 0.22, BLUE, fill=0.0, size=10)
    return ax.figure
