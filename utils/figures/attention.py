"""Lesson 02: which key a query picks; one word asks all (figures 4 to 6); attention from layer to layer."""

from collections.abc import Mapping, Sequence

import numpy as np

from .drawing import arrow, box, canvas, columns, node, text, vector
from .style import GRAY, GREEN, KEY, PALE, QUERY, VALUE, WEIGHT, as_array


def picked(panels: Mapping, words: Sequence[str], questions: Mapping[str, Sequence], reach: float):
    """A map of all queries in the plane for each score function: which key gets the largest score?

    panels: title -> (n, n) numbers of the winning keys; rows are the second entry of the query, from -reach upwards,
    columns the first. words: a name for each of three keys; questions: name -> (2,), single queries to mark.
    """
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    fig, axes = plt.subplots(1, len(panels), figsize=(6.8, 2.5), sharex=True, sharey=True, layout="compressed")
    tints, halo = ["#FFFFFF", "#FBDDC4", "#EFA96F"], [withStroke(linewidth=2.5, foreground="white")]
    for ax, (title, winners) in zip(axes, panels.items(), strict=True):
        winners = as_array(winners)
        edges = (-reach, reach, -reach, reach)
        ax.imshow(winners, ListedColormap(tints), origin="lower", extent=edges, vmin=0, vmax=2)
        line = np.linspace(-reach, reach, len(winners))
        for i, word in enumerate(words):
            mine = winners == i
            if mine.any():
                if not mine.all():
                    ax.contour(line, line, 1.0 * mine, [0.5], colors=[GRAY], linewidths=0.8)
                (x, y), room = _inside(mine, line, questions.values()), reach * (1 - 0.075 * len(word))
                ax.text(np.clip(x, -room, room), y, word, ha="center", va="center", fontsize=10, path_effects=halo)
        for name, (x, y) in questions.items():
            ax.plot(x, y, "x", color=QUERY, mew=2)
            ax.annotate(name, (x, y), (0, 5), textcoords="offset points", color=QUERY, fontsize=9, ha="center",
                        path_effects=halo)  # fmt: skip
        ax.set_title(title, fontsize=10)
        ax.tick_params(labelsize=8)
    axes[0].set_ylabel("query, entry 2", fontsize=9)
    fig.supxlabel("query, entry 1", fontsize=9)
    names = [Patch(fc=tint, ec=GRAY, label=word) for tint, word in zip(tints, words, strict=False)]
    fig.legend(handles=names, loc="outside upper center", ncols=len(names), fontsize=9)
    return fig


def _inside(area, line, marks) -> np.ndarray:
    """The point (x, y) of an area that is farthest from its edges and from all marks."""
    grid = np.stack(np.meshgrid(line, line), -1)[::3, ::3].reshape(-1, 2)
    mine = area[::3, ::3].flatten()
    taken = np.concatenate([grid[~mine], np.reshape(list(marks), (-1, 2)) * 1.0])
    room = np.linalg.norm(grid[mine][:, None] - taken, axis=-1).min(1)
    return grid[mine][np.minimum(room, line.max() - abs(grid[mine]).max(1)).argmax()]


def attention_diagram(words: Sequence[str], a, q, k, v, scores=None, weights=None, output=None, asking=0):
    """One word asks all: the lecture's figure 4 with `scores`, 5 with `weights` too, 6 with `output` too.

    n words; a (n, d_in), q and k (n, d), v (n, d_v) hold one vector per row, drawn as a column; scores and
    weights (n,) are the asking word's, output is (d_v,). Numbers and thickness are read from the tensors.
    """
    n, me = len(words), asking + 1
    ax = canvas(6.8, 2.75 if scores is None else 4.05 if weights is None else 5.6 if output is None else 7.5)
    middles = [(i + 0.5) * 6.8 / n for i in range(n)]
    queries, keys, values = [], [], []
    for i, (x, word) in enumerate(zip(middles, words, strict=True)):
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
    for i, x in enumerate(middles):
        label = rf"$\alpha_{{{me},{i + 1}}}$" + f"\n{scores[i]:.2f}"
        score = box(ax, x, 3.65, label, 0.66, 0.5, WEIGHT)
        arrow(ax, queries[asking].top, score.bottom, abs(scores[i]) / abs(scores).max() / 2, QUERY)
        arrow(ax, keys[i].top, score.bottom, 0.2, KEY)
        if weights is not None:
            arrow(ax, score.top, (x, 4.22), 0.2, WEIGHT)
    if weights is None:
        return ax.figure
    weights, summands = as_array(weights), []
    box(ax, 3.4, 4.4, "softmax", middles[-1] - middles[0] + 1.3, 0.34, GRAY)  # one box: the values pass behind it
    for i, x in enumerate(middles):
        label = rf"$\hat{{\alpha}}_{{{me},{i + 1}}}$" + f"\n{weights[i]:.2f}"
        weight = box(ax, x, 5.2, label, 0.66, 0.54, WEIGHT, fill=0.08 + 0.5 * weights[i])
        arrow(ax, (x, 4.58), weight.bottom, weights[i], WEIGHT)
        if output is not None:
            summands.append(node(ax, values[i].x, 5.85, "×"))
            arrow(ax, values[i].top, summands[i].bottom, 0.2, VALUE)
            arrow(ax, weight.top, summands[i].left, weights[i], WEIGHT)
    if output is None:
        return ax.figure
    result = vector(ax, middles[asking], 7.0, output, GREEN, cell=(0.56, 0.27), fill=0.3)
    text(ax, middles[asking] - 0.5, 7.0, f"$b^{me}$", 13)
    added = node(ax, result.x, 6.42, "+", 0.13)
    arrow(ax, added.top, result.bottom, 0.4, VALUE)
    for i, summand in enumerate(summands):
        side = added.bottom if i == asking else added.left if i < asking else added.right
        arrow(ax, summand.top, side, weights[i], VALUE)
    return ax.figure


def attention_flow(panels: Mapping[str, tuple], word: str):
    """Follow one word upwards through layers of attention, one panel above the other.

    panels: title -> (words, layers): n words and a list of weight matrices (n, n), lowest layer first, row i = what
    word i attends to. The thicker a line, the larger the weight of the word below in the vector of `word` above.
    """
    height = 0.85 + 1.05 * max(len(layers) for _, layers in panels.values())
    ax = canvas(6.8, height * len(panels))
    for panel, (title, (words, layers)) in enumerate(panels.items()):
        base, asking = height * (len(panels) - 1 - panel) + 0.2, list(words).index(word)
        middles = columns([words], 0.85, 6.8)
        text(ax, 0.02, base + height - 0.35, title, 11, ha="left", weight="bold")
        for level in range(len(layers) + 1):
            y = base + 1.05 * level
            text(ax, 0.02, y, "words" if level == 0 else f"after\nlayer {level}", 9, GRAY, ha="left")
            for i, x in enumerate(middles):
                mine = i == asking and level > 0
                text(ax, x, y, words[i], 9.5, QUERY if mine else "black", weight="bold" if mine else "normal")
        for level, weights in enumerate(layers):
            shares, bottom = as_array(weights)[asking], base + 1.05 * level
            for x, share in zip(middles, shares, strict=True):
                arrow(ax, (x, bottom + 0.12), (middles[asking], bottom + 0.93), share, WEIGHT, head=False)
            best = int(shares.argmax())
            x, y = 0.75 * middles[best] + 0.25 * middles[asking], bottom + 0.34
            box(ax, x, y, f"{shares[best]:.0%}", 0.48, 0.22, WEIGHT, fill=0.0, size=10)
    return ax.figure
