"""Figures drawn from tensors, all in one style: heat maps, rows of bars, and node-and-arrow diagrams.

A diagram is drawn on a `canvas`, whose unit is the inch, from a few primitives: `text`; `box`, `node` and
`vector`, which return where they stand (a `Shape`); and `arrow`, which joins two points. The lecture's
pictures are built from these alone. matplotlib and seaborn load when a function needs them, so that importing
this module takes no time.
"""

import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Okabe and Ito's palette: the colors stay apart for color-blind readers and in gray print.
BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9"
GRAY, PALE = "#5F5F5F", "#C8C8C8"
QUERY, KEY, VALUE, WEIGHT = BLUE, ORANGE, GREEN, PURPLE  # one color per role, in every lesson


def use_style() -> None:
    """Switch on the course's style: opaque white, readable at 700 px, Chinese glyphs drawn."""
    import matplotlib.pyplot as plt
    from cycler import cycler
    from matplotlib import font_manager

    # zhplot ships Noto Sans SC. Importing it would reset the style, so only its font file is taken.
    folder = Path(importlib.util.find_spec("zhplot").submodule_search_locations[0]) / "fonts"
    if not any(font.name == "Noto Sans SC" for font in font_manager.fontManager.ttflist):
        font_manager.fontManager.addfont(folder / "NotoSansSC-Regular.ttf")
        # There is no bold cut: the regular one stands in, or every bold word would print a warning.
        bold = dataclasses.replace(font_manager.fontManager.ttflist[-1], weight=700)
        font_manager.fontManager.ttflist.append(bold)
    plt.rcParams.update({
        "font.family": ["DejaVu Sans", "Noto Sans SC"],  # the second is asked for glyphs the first lacks
        "font.size": 11,
        "axes.titlesize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY]),
        "axes.unicode_minus": False,
        "figure.dpi": 100,
        "figure.figsize": (6.8, 3.2),
        "figure.facecolor": "white",
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "white",
        "legend.frameon": False,
    })  # fmt: skip


def as_array(values) -> np.ndarray:
    """A tensor (on any device, with or without gradient) or a nested list, as a NumPy array of floats."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values, dtype=float)


def number(x) -> str:
    """At most two decimals, no trailing zeros, no minus before a zero: 2, 0.7, -0.38."""
    return f"{round(float(x), 2) + 0.0:g}"


# Charts


def heatmap(matrix, rows, columns, ax=None, title="", xlabel="", ylabel="", limits=(0.0, 1.0), decimals=2, cmap=None):
    """Draw a matrix (n_rows, n_columns) with its numbers; returns the axes.

    Blues for limits that start at 0, otherwise orange below the middle and purple above it.
    `decimals=None` leaves the numbers out and adds a color bar.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    matrix = as_array(matrix)
    ax = ax or plt.subplots(figsize=(4.2, 3.4))[1]
    sns.heatmap(
        matrix, ax=ax, vmin=limits[0], vmax=limits[1], cmap=cmap or ("Blues" if limits[0] == 0 else "PuOr"),
        annot=decimals is not None, fmt=f".{decimals or 0}f", annot_kws={"size": 11}, cbar=decimals is None,
        xticklabels=columns, yticklabels=rows, square=True, linewidths=1.5, linecolor="white",
    )  # fmt: skip
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.tick_params(axis="x", rotation=0, length=0)
    ax.tick_params(axis="y", rotation=0, length=0)
    return ax


def softmax_rows(rows: dict, labels: Sequence[str], title: str = "d = {}"):
    """Bars in a grid: a column per key of `rows`, a row per label; rows[key] has one distribution each."""
    import matplotlib.pyplot as plt

    size = (6.8, 0.8 + 1.5 * len(labels))
    fig, axes = plt.subplots(len(labels), len(rows), figsize=size, sharex=True, sharey=True, squeeze=False)
    for column, (key, distributions) in enumerate(rows.items()):
        for row, (label, values) in enumerate(zip(labels, distributions, strict=True)):
            ax, values = axes[row, column], as_array(values)
            keys = np.arange(1, len(values) + 1)
            ax.bar(keys, values, color=(ORANGE, BLUE)[row % 2])
            ax.set(ylim=(0, 1), yticks=(0, 0.5, 1), xticks=keys)
            ax.tick_params(axis="x", length=0, labelsize=9)
            if row == 0:
                ax.set_title(title.format(key))
            if column == 0:
                ax.set_ylabel(f"weight\n({label})", fontsize=10)
    fig.supxlabel("key", fontsize=11)
    return fig


# Diagrams: a canvas and four primitives


class Shape(NamedTuple):
    """Where something was drawn: its center and its size, in inches."""

    x: float
    y: float
    width: float
    height: float

    @property
    def top(self) -> tuple:
        return self.x, self.y + self.height / 2

    @property
    def bottom(self) -> tuple:
        return self.x, self.y - self.height / 2

    @property
    def left(self) -> tuple:
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> tuple:
        return self.x + self.width / 2, self.y


def canvas(width, height):
    """An empty sheet of width x height inches; coordinates are inches from its lower left corner."""
    import matplotlib.pyplot as plt

    fig = plt.figure(figsize=(width, height), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return ax


def text(ax, x, y, words: str, size=11.0, color="black", **style) -> None:
    """Words centered on (x, y), unless `style` says otherwise (ha="left", weight="bold" ...)."""
    style = {"ha": "center", "va": "center", "zorder": 4} | style
    ax.text(x, y, words, fontsize=size, color=color, **style)


def box(ax, x, y, words: str = "", width=1.0, height=0.4, color=GRAY, fill=0.12, size=11.0) -> Shape:
    """A rounded box around words; `fill` from 0 (white) to 1 is the strength of its color."""
    from matplotlib.patches import FancyBboxPatch

    corner, style = (x - width / 2, y - height / 2), "round,pad=0,rounding_size=0.08"
    for face, alpha in (("white", 1.0), (color, fill)):  # an opaque ground first: lines end at the box's edge
        ax.add_patch(FancyBboxPatch(corner, width, height, style, fc=face, ec="none", alpha=alpha, zorder=3))
    ax.add_patch(FancyBboxPatch(corner, width, height, style, fc="none", ec=color, lw=1.2, zorder=3))
    text(ax, x, y, words, size)
    return Shape(x, y, width, height)


def node(ax, x, y, words: str = "", radius=0.17, color=GRAY, size=12.0) -> Shape:
    """A circle with a symbol in it, such as a product or a sum."""
    from matplotlib.patches import Circle

    ax.add_patch(Circle((x, y), radius, fc="white", ec=color, lw=1.4, zorder=3))
    text(ax, x, y, words, size)
    return Shape(x, y, 2 * radius, 2 * radius)


def vector(ax, x, y, values, color=GRAY, cell=(0.46, 0.25), fill=0.15, size=10.0) -> Shape:
    """A column vector: one cell per entry, the first on top, its numbers written in."""
    from matplotlib.patches import Rectangle

    values, (width, height) = as_array(values), cell
    top = y + len(values) * height / 2
    for row, value in enumerate(values):
        corner = (x - width / 2, top - (row + 1) * height)
        ax.add_patch(Rectangle(corner, width, height, fc="white", ec="none", zorder=3))
        ax.add_patch(Rectangle(corner, width, height, fc=color, ec="none", alpha=fill, zorder=3))
        ax.add_patch(Rectangle(corner, width, height, fc="none", ec=color, lw=1, zorder=3))
        text(ax, x, corner[1] + height / 2, number(value), size)
    return Shape(x, y, width, len(values) * height)


def arrow(ax, start, end, weight=0.2, color=GRAY, head=True) -> None:
    """From one point to another, as thick as `weight` (0 to 1) says."""
    from matplotlib.patches import FancyArrowPatch

    style = "-|>,head_length=5,head_width=2.5" if head else "-"
    shape = dict(mutation_scale=1, shrinkA=1, shrinkB=1, capstyle="butt")
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle=style, color=color, lw=0.5 + 5 * weight, zorder=2, **shape))


# The lecture's pictures


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


# Translation: groups, batches, search


def shared_sides(pairs: Sequence[tuple[str, str]]):
    """Pairs of sentences as a graph: a box per sentence, Chinese left and English right, a line per pair."""
    sides = [list(dict.fromkeys(side)) for side in zip(*pairs, strict=True)]
    height = 0.55 * max(map(len, sides)) + 0.1
    ax, boxes = canvas(6.0, height), {}
    for side, x, width, color in zip(sides, (1.3, 4.4), (2.2, 2.6), (ORANGE, BLUE), strict=True):
        for i, sentence in enumerate(side):
            y = height * (1 - (i + 0.5) / len(side))
            boxes[sentence] = box(ax, x, y, sentence, width, 0.38, color)
    for zh, en in pairs:
        arrow(ax, boxes[zh].right, boxes[en].left, head=False)
    return ax.figure


def padding(batches: dict[str, Sequence[int]]):
    """One panel per batch: a row per sentence, its tokens blue, and what fills it up to the longest orange."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(batches), figsize=(6.8, 3.0), squeeze=False)
    for ax, (title, lengths) in zip(axes[0], batches.items(), strict=True):
        lengths = as_array(lengths)
        rows, longest = np.arange(len(lengths)), lengths.max()
        waste = 1 - lengths.sum() / (longest * len(lengths))
        ax.barh(rows, lengths, 1.0, color=BLUE, alpha=0.8, label="tokens")
        ax.barh(rows, longest - lengths, 1.0, left=lengths, color=ORANGE, alpha=0.6, label="padding")
        ax.set(title=f"{title}\n{waste:.0%} padding", xlabel="position", xlim=(0, longest), ylim=(len(lengths), 0))
    axes[0, 0].set_ylabel("sentence")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def beam_tree(steps: Sequence[Sequence[tuple[tuple, float]]], words):
    """A beam search from left to right: a column per step, the best hypothesis on top, the winner's path blue.

    steps[i] holds the hypotheses (tokens, total log-probability) that survived step i, best first; `words` gives
    a token's text. Boxes show the last token and the log-probability per token. A hypothesis whose box is pale
    has no descendant; a finished one waits (a tick) while others grow.
    """
    n, beam = len(steps), max(map(len, steps))
    dx, height = 6.8 / (n + 0.75), 0.62 * beam + 0.1
    ax, winner = canvas(6.8, height), steps[-1][0][0]
    before = {(): box(ax, 0.3 * dx, height / 2, "<bos>", 0.5 * dx, 0.3, BLUE, size=8)}
    for i, step in enumerate(steps):
        here, later = {}, [tokens for tokens, _ in steps[min(i + 1, n - 1)]]
        for rank, (tokens, total) in enumerate(step):
            x, y = dx * (i + 1.15), height * (1 - (rank + 0.5) / beam)
            waits = len(tokens) < i + 1
            parent = tokens if waits else tokens[:-1]
            wins = winner[: len(tokens)] == tokens
            lives = any(other[: len(tokens)] == tokens for other in later)
            color = BLUE if wins else GRAY if lives else PALE
            label = "✓" if waits else f"{words(tokens[-1])}\n{total / len(tokens):.2f}"
            size = 8 if len(label) < 14 else 6.5
            here[tokens] = box(ax, x, y, label, 0.8 * dx, 0.42, color, 0.25 if wins else 0.06, size)
            arrow(ax, before[parent].right, here[tokens].left, 0.45 if wins else 0.1, color, head=False)
        before = here
    return ax.figure


def alignments(panels: Sequence[tuple]):
    """Cross-attention of several sentences side by side: panels of (source tokens, target tokens, weights (T, S))."""
    import matplotlib.pyplot as plt

    widths = [len(source) + 3 for source, _, _ in panels]  # room for the target's words
    tallest = max(len(target) for _, target, _ in panels)
    size = (6.8, 1.1 + 6.0 * tallest / sum(widths))
    fig, axes = plt.subplots(1, len(panels), figsize=size, width_ratios=widths, squeeze=False)
    for ax, (source, target, weights) in zip(axes[0], panels, strict=True):
        image = ax.imshow(as_array(weights), cmap="Blues", vmin=0, vmax=0.6)
        for axis, tokens in ((ax.xaxis, source), (ax.yaxis, target)):
            words = [token.replace("▁", "").replace("<eos>", "end") for token in tokens]
            axis.set_ticks(range(len(words)), words, fontsize=10)
        ax.tick_params(length=0)
        ax.set_xticks(np.arange(len(source)) - 0.5, minor=True)
        ax.set_yticks(np.arange(len(target)) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=1.5)
        ax.spines[:].set_visible(False)
        ax.tick_params(which="minor", length=0)
    fig.colorbar(image, ax=axes, label="attention", orientation="horizontal", shrink=0.4, aspect=30, extend="max")
    return fig
