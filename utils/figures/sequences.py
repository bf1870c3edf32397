"""Lesson 01: a chain of states, a filter step by step, what stacked filters see (figures 1 to 3), and who waits.

Then two bills, and a game that asks for one word of many.
"""

from collections.abc import Sequence

import numpy as np

from .drawing import arrow, box, canvas, columns, node, text, vector
from .style import BLUE, GRAY, GREEN, LOOKS, ORANGE, PALE, as_array, number


def recurrence(words: Sequence[str], a, forward, backward=None, outputs=None):
    """Figure 1: each state waits for its neighbor's. With `backward`, a second chain comes from the other end.

    n words; a (n, d_in), forward and backward (n, d), outputs (n, d_out): one vector per row, drawn as a column.
    """
    n, both = len(words), backward is not None
    ax = canvas(6.8, 4.5 if both else 2.4)
    columns = [1.12 + (i + 0.5) * 5.55 / n for i in range(n)]
    inputs = []
    _row_name(ax, 0.16, "words")
    _row_name(ax, 0.68, "inputs")
    for i, (x, word) in enumerate(zip(columns, words, strict=True)):
        text(ax, x, 0.16, word, 11, weight="bold")
        text(ax, x - 0.36, 0.68, f"$a^{i + 1}$", 10)
        inputs.append(vector(ax, x, 0.68, a[i], cell=(0.42, 0.25)))
    first = _chain(ax, [x - 0.2 * both for x in columns], 1.85, inputs, forward, BLUE, step=1)
    _row_name(ax, 1.85, "states,\nleft to right", BLUE)
    if not both:
        for i, state in enumerate(first):
            text(ax, state.x, state.top[1] + 0.16, f"$b^{i + 1}$", 12)
        return ax.figure
    second = _chain(ax, [x + 0.2 for x in columns], 2.75, inputs, backward, ORANGE, step=-1)
    _row_name(ax, 2.75, "states,\nright to left", ORANGE)
    _row_name(ax, 3.75, "outputs", GREEN)
    for i, x in enumerate(columns):
        output = vector(ax, x, 3.75, outputs[i], GREEN, cell=(0.46, 0.22))
        text(ax, x, output.top[1] + 0.15, f"$b^{i + 1}$", 12)
        arrow(ax, first[i].top, (x - 0.16, output.bottom[1]), color=BLUE)
        arrow(ax, second[i].top, (x + 0.16, output.bottom[1]), color=ORANGE)
    return ax.figure


def _row_name(ax, y, name: str, color=GRAY) -> None:
    text(ax, 0.04, y, name, 9.5, color, ha="left")


def _chain(ax, columns, y, inputs, states, color, step):
    """States in a row, each joined to its input and to the state before it in the direction of `step`."""
    shapes = [
        vector(ax, x, y, state, color, cell=(0.4, 0.24), size=9) for x, state in zip(columns, states, strict=True)
    ]
    for shape, below in zip(shapes, inputs, strict=True):
        arrow(ax, below.top, shape.bottom)
    before = shapes if step == 1 else shapes[::-1]
    for one, other in zip(before, before[1:], strict=False):
        arrow(ax, one.right if step == 1 else one.left, other.left if step == 1 else other.right, 0.35, color)
    return shapes


def filter_steps(words: Sequence[str], a, weights, numbers, steps: Sequence[int] = (1, 2)):
    """Figure 2: a filter (triangle) over a window of words gives one number (circle); a panel per step.

    n words; a (n, d), one vector per row, drawn as a column; weights (k, d), the filter, one row for each word of the
    window; numbers (n - k + 1,). What each word contributes stands in the triangle. Step 1 is the first window.
    """
    from matplotlib.patches import Polygon

    a, weights, numbers = as_array(a), as_array(weights), as_array(numbers)
    n, width, height = len(words), len(weights), 2.7
    ax = canvas(6.8, height * len(steps))
    columns = [0.85 + (i + 0.5) * 5.9 / n for i in range(n)]
    centers = [sum(columns[i : i + width]) / width for i in range(n - width + 1)]
    for panel, step in enumerate(steps):
        base, first = height * (len(steps) - 1 - panel), step - 1
        text(ax, 0.05, base + 2.4, f"step {step}", 11, weight="bold", ha="left")
        for y, name, color in ((0.14, "words", GRAY), (0.6, "inputs", GRAY), (1.22, "filter", ORANGE)):
            text(ax, 0.05, base + y, name, 9.5, color, ha="left")
        for i, (x, word) in enumerate(zip(columns, words, strict=True)):
            inside = first <= i < first + width
            text(ax, x, base + 0.14, word, 11, "black" if inside else GRAY, weight="bold")
            vector(ax, x, base + 0.6, a[i], GRAY if inside else PALE)
            if inside:
                vector(ax, x, base + 1.22, weights[i - first], ORANGE)
                text(ax, x, base + 1.6, number(a[i] @ weights[i - first]), 10)
        left, right = columns[first] - 0.42, columns[first + width - 1] + 0.42
        corners = [(left, base + 1.5), (right, base + 1.5), (centers[first], base + 2.25)]
        ax.add_patch(Polygon(corners, fc=ORANGE, ec=ORANGE, alpha=0.25, zorder=1))
        for i in range(step):  # the circles of earlier steps stay
            color = ORANGE if i == first else GRAY
            node(ax, centers[i], base + 2.38, number(numbers[i]), 0.22, color, 11)
    return ax.figure


def cones(panels: dict[str, Sequence], output: int, words: Sequence[str] | None = None, levels: int = 0):
    """Figure 3: which inputs reach one output of the top layer; a panel per stack of layers, two in a row.

    panels maps a title to the layers' visibility tables (n_out, n_in), lowest layer first. Every True is a line; the
    dots and lines that lead to `output` (a position of the top layer) are orange and thick. `words` name the inputs.
    levels: leave room for this many layers.
    """
    across, step = min(2, len(panels)), 0.62
    height = 0.75 + step * max(levels, *(len(tables) for tables in panels.values()))
    rows = -(-len(panels) // across)
    ax, width, margin = canvas(6.8, height * rows), 6.8 / across, 0.68 if across == 1 else 0.0
    for i, (title, tables) in enumerate(panels.items()):
        tables = [as_array(table) > 0 for table in tables]
        left, base, n = width * (i % across) + margin, height * (rows - 1 - i // across), tables[0].shape[1]
        columns = [left + 0.1 + (j + 0.5) * (width - margin - 0.2) / n for j in range(n)]
        heights = [base + 0.38 + step * level for level in range(len(tables) + 1)]
        text(ax, left + (width - margin) / 2, heights[-1] + 0.24, title, 11)
        _cone(ax, columns, heights, tables, _reached(tables, output))
        if margin:
            for level, y in enumerate(heights):
                text(ax, 0.04, y, f"layer {level}" if level else "inputs", 9.5, GRAY, ha="left")
        for x, word in zip(columns, words or (), strict=False):
            text(ax, x, base + 0.13, word, 11, weight="bold")
    return ax.figure


def _reached(tables, output: int) -> list[set[int]]:
    """For every level, inputs first: the positions from which lines lead up to `output`."""
    reached = [{output}]
    for table in tables[::-1]:
        reached.insert(0, set(table[sorted(reached[0])].any(axis=0).nonzero()[0].tolist()))
    return reached


def _cone(ax, columns, heights, tables, reached) -> None:
    """Dots at every level and a line for every True; those of the cone last, so that nothing lies on them."""
    for table, low, high, above in zip(tables, heights, heights[1:], reached[1:], strict=False):
        lines = {False: [], True: []}
        for i, j in zip(*table.nonzero(), strict=True):
            lines[i in above].append(((columns[j], low), (columns[i], high)))
        _lines(ax, lines[False], PALE, 0.75)
        _lines(ax, lines[True], ORANGE, 1.75, zorder=2.5)
    for y, inside in zip(heights, reached, strict=True):
        for dots, face, edge, size in (
            (set(range(len(columns))) - inside, "white", GRAY, 6), (inside, ORANGE, ORANGE, 8)
        ):  # fmt: skip
            ax.plot([columns[j] for j in sorted(dots)], [y] * len(dots), "o", ms=size, mfc=face, mec=edge, zorder=3)


def _lines(ax, ends: Sequence, color, thickness: float, zorder=2.0) -> None:
    """Many lines as one: pairs of points (x, y), with a gap after each."""
    if ends:
        x, y = np.array([[*pair, (np.nan, np.nan)] for pair in ends]).reshape(-1, 2).T
        ax.plot(x, y, color=color, lw=thickness, zorder=zorder, solid_capstyle="butt")


def waiting(words: Sequence[str], rows: dict[str, Sequence], turn: int):
    """Who waits for whom: what is computed in this turn is filled in orange, what was ready before in blue.

    rows: {name: tables} for the rows of nodes above the n words, the lowest first; the tables, (n, n) each, say which
    words a node needs, which nodes of the first row, of the second ... A node is computed one turn after the last of
    those it needs; the turn stands in its circle.
    """
    n, step = len(words), min(1.4, 2.3 / len(rows))
    pairs = [
        ((row, i), (level, j))
        for row, tables in enumerate(rows.values(), start=1)
        for level, table in enumerate(tables)
        for i, j in zip(*(as_array(table) > 0).nonzero(), strict=True)
    ]
    ready = turns(pairs)
    ax = canvas(6.8, 3.05)
    aside = 0.36 * any(row > 1 and level == 0 for (row, _), (level, _) in pairs)  # or lines would cross the row between
    shift = [0.0, *(aside * (row - (len(rows) - 1) / 2) for row in range(len(rows)))]
    place = {
        (row, i): (1.25 + (i + 0.5) * 5.4 / n + shift[row], 0.45 + step * row)
        for row in range(len(rows) + 1)
        for i in range(n)
    }
    for row, name in enumerate(["inputs", *rows]):
        text(ax, 0.04, 0.45 + step * row, name, 9.5, GRAY, ha="left")
    for i, word in enumerate(words):
        text(ax, place[0, i][0], 0.14, word, 11, weight="bold")
    when = [ready[one] for one, _ in pairs]
    for color, thickness, which in (
        (PALE, 0.75, [t > turn for t in when]),
        (BLUE, 0.75, [t < turn for t in when]),
        (ORANGE, 2.0 if when.count(turn) < 4 * n else 1.0, [t == turn for t in when]),
    ):
        _lines(
            ax,
            [(place[j], place[i]) for (i, j), here in zip(pairs, which, strict=True) if here],
            color,
            thickness,
        )
    for one, (x, y) in place.items():
        t = ready.get(one, 0)
        face = "white" if t > turn else ORANGE if t == turn and t else BLUE
        ax.plot(x, y, "o" if t else "s", ms=20, mfc=face, mec=GRAY if t > turn else face, zorder=3)
        if t:
            text(ax, x, y, f"{t}", 10, GRAY if t > turn else "white", weight="bold" if t == turn else "normal")
    return ax.figure


def turns(pairs: Sequence) -> dict:
    """From pairs (node, node that it needs): the turn in which each can be computed, 0 for what needs nothing."""
    needs = {}
    for one, other in pairs:
        needs.setdefault(one, []).append(other)
    ready = {other: 0 for _, other in pairs if other not in needs}
    while len(ready) < len(needs.keys() | ready.keys()):
        ready |= {one: 1 + max(ready[j] for j in them) for one, them in needs.items() if all(j in ready for j in them)}
    return ready


def bills(lengths: Sequence[int], panels: dict[str, dict[str, Sequence]]):
    """Costs against the number of words, on logarithmic axes: a panel per title, a line per layer, one legend.

    panels: title -> {layer: costs, one for each of `lengths`}, the same layers in each. A layer of two directions is
    hollow, for it may lie on another.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(panels), figsize=(6.8, 3.9))
    looks = [LOOKS[i] for i in (0, 1, 5, 3, 4, 2)]  # the last, self-attention, in green
    for ax, (title, costs) in zip(axes, panels.items(), strict=True):
        for (layer, line), look in zip(costs.items(), looks, strict=False):
            hollow = {"mfc": "none", "ms": 10} if "two" in layer else {"ms": 5}
            ax.plot(lengths, line, **look | hollow, label=layer)
        ax.set(xscale="log", yscale="log", title=title, xlabel="words n")
        ax.set_xticks(lengths, lengths)
        ax.minorticks_off()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, handlelength=3.5)
    return fig


def asked_back(words: Sequence[str], asked: int):
    """A sentence of labels (they have a colon) and fillers; its last word asks for the word numbered `asked`."""
    ax, last = canvas(6.8, 1.35), len(words) - 1
    places = columns([words], 0.05, 6.75)
    for i, (x, word) in enumerate(zip(places, words, strict=True)):
        if ":" in word or i == last:
            color = BLUE if i == last else GREEN if i == asked else GRAY
            box(ax, x, 0.35, "", 0.1 + 0.085 * len(word), 0.34, color)
        text(ax, x, 0.35, word, 10)
    ax.plot([places[last], places[last], places[asked]], [0.54, 0.9, 0.9], color=BLUE, lw=1.5)
    arrow(ax, (places[asked], 0.9), (places[asked], 0.54), 0.2, BLUE)
    text(ax, (places[asked] + places[last]) / 2, 1.05, f"distance {last - asked}", 10, BLUE)
    return ax.figure


def near_and_far(right: dict[tuple, Sequence], lines: dict[str, float]):
    """Shares of right answers as bars: a panel for each number of labels, near and far for each layer.

    right: (layer, number of labels) -> (near, far); lines: name -> a share to compare with.
    """
    import matplotlib.pyplot as plt

    layers, labels = ([*dict.fromkeys(key[i] for key in right)] for i in (0, 1))
    fig, axes = plt.subplots(1, len(labels), figsize=(6.8, 2.8), sharey=True)
    for ax, many in zip(axes, labels, strict=True):
        for place, layer in enumerate(layers):
            two = 100 * np.array(right[layer, many])
            bars = ax.bar([place - 0.2, place + 0.2], two, width=0.36, color=(GRAY, GREEN)[place % 2])
            ax.bar_label(bars, ["near", "far"])
        ax.set(title=f"{many} label" + "s" * (many > 1), xticks=range(len(layers)), xticklabels=layers)
        ax.set(xlim=(-0.9, len(layers) - 0.5), ylim=(0, 115), yticks=(0, 25, 50, 75, 100))
        for (name, share), dash in zip(lines.items(), ("-", "--"), strict=False):
            ax.axhline(100 * share, color="black", lw=0.8, linestyle=dash)
            text(ax, -0.88, 100 * share + 4, name, 9, ha="left")
    axes[0].set_ylabel("right answers (%)")
    return fig
