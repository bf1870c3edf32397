"""Lesson 01: a chain of states, a filter step by step, and what stacked filters see (the lecture's figures 1 to 3)."""

from collections.abc import Sequence

from .drawing import arrow, canvas, node, text, vector
from .style import BLUE, GRAY, GREEN, ORANGE, PALE, as_array, number


def recurrence(words: Sequence[str], a, forward, backward=None, outputs=None):
    """Figure 1: each state waits for its neighbor's. With `backward`, a second chain comes from the other end.

    n words; a (n, d_in), forward and backward (n, d), outputs (n, d_out): one vector per row, drawn as a column.
    """
    n, both = len(words), backward is not None
    ax = canvas(6.8, 4.5 if both else 2.4)
    columns = [0.3 + (i + 0.5) * 6.5 / n for i in range(n)]
    inputs = []
    for i, (x, word) in enumerate(zip(columns, words, strict=True)):
        text(ax, x, 0.16, word, 11, weight="bold")
        text(ax, x - 0.37, 0.68, f"$a^{i + 1}$", 11)
        inputs.append(vector(ax, x, 0.68, a[i]))
    first = _chain(ax, [x - 0.22 * both for x in columns], 1.85, inputs, forward, BLUE, step=1)
    if not both:
        for i, state in enumerate(first):
            text(ax, state.x, state.top[1] + 0.16, f"$b^{i + 1}$", 12)
        return ax.figure
    second = _chain(ax, [x + 0.22 for x in columns], 2.75, inputs, backward, ORANGE, step=-1)
    for i, x in enumerate(columns):
        output = vector(ax, x, 3.75, outputs[i], GREEN, cell=(0.46, 0.22))
        text(ax, x, output.top[1] + 0.15, f"$b^{i + 1}$", 12)
        arrow(ax, first[i].top, (x - 0.18, output.bottom[1]), color=BLUE)
        arrow(ax, second[i].top, (x + 0.18, output.bottom[1]), color=ORANGE)
    return ax.figure


def _chain(ax, columns, y, inputs, states, color, step):
    """States in a row, each joined to its input and to the state before it in the direction of `step`."""
    shapes = [vector(ax, x, y, state, color, cell=(0.42, 0.24)) for x, state in zip(columns, states, strict=True)]
    for shape, below in zip(shapes, inputs, strict=True):
        arrow(ax, below.top, shape.bottom)
    before = shapes if step == 1 else shapes[::-1]
    for one, other in zip(before, before[1:], strict=False):
        arrow(ax, one.right if step == 1 else one.left, other.left if step == 1 else other.right, 0.35, color)
    return shapes


def filter_steps(words: Sequence[str], a, width: int, numbers, steps: Sequence[int] = (1, 2)):
    """Figure 2: a filter (triangle) over `width` neighbors gives one number (circle); a panel per step.

    n words; a (n, d), one vector per row, drawn as a column; numbers (n - width + 1,). Step 1 is the first window.
    """
    from matplotlib.patches import Polygon

    n, height = len(words), 2.6
    ax = canvas(6.8, height * len(steps))
    columns = [0.75 + (i + 0.5) * 6.05 / n for i in range(n)]
    for panel, step in enumerate(steps):
        base = height * (len(steps) - 1 - panel)
        text(ax, 0.05, base + 2.15, f"step {step}", 11, weight="bold", ha="left")
        for i, (x, word) in enumerate(zip(columns, words, strict=True)):
            inside = step - 1 <= i < step - 1 + width
            text(ax, x, base + 0.16, word, 11, "black" if inside else GRAY, weight="bold")
            vector(ax, x, base + 0.65, a[i], ORANGE if inside else PALE)
        centers = [sum(columns[i : i + width]) / width for i in range(n - width + 1)]
        left, right = columns[step - 1] - 0.25, columns[step - 2 + width] + 0.25
        corners = [(left, base + 1.0), (right, base + 1.0), (centers[step - 1], base + 1.95)]
        ax.add_patch(Polygon(corners, fc=ORANGE, ec=ORANGE, alpha=0.35, zorder=1))
        for i in range(step):  # the circles of earlier steps stay
            color = ORANGE if i == step - 1 else GRAY
            node(ax, centers[i], base + 2.15, number(as_array(numbers)[i]), 0.25, color, 11)
    return ax.figure


def cones(panels: dict[str, Sequence], output: int, words: Sequence[str] | None = None):
    """Figure 3: which inputs reach one output of the top layer; a panel per stack of layers, two in a row.

    panels maps a title to the layers' visibility tables (n_out, n_in), lowest layer first. Every True is a line; the
    dots and lines that lead to `output` (a position of the top layer) are orange. `words` name the inputs.
    """
    across, step = min(2, len(panels)), 0.62
    height = 0.75 + step * max(len(tables) for tables in panels.values())
    rows = -(-len(panels) // across)
    ax, width = canvas(6.8, height * rows), 6.8 / across
    for i, (title, tables) in enumerate(panels.items()):
        tables = [as_array(table) > 0 for table in tables]
        left, base, n = width * (i % across), height * (rows - 1 - i // across), tables[0].shape[1]
        columns = [left + 0.1 + (j + 0.5) * (width - 0.2) / n for j in range(n)]
        levels = [base + 0.38 + step * level for level in range(len(tables) + 1)]
        text(ax, left + width / 2, levels[-1] + 0.24, title, 11)
        _cone(ax, columns, levels, tables, _reached(tables, output))
        for x, word in zip(columns, words or (), strict=False):
            text(ax, x, base + 0.13, word, 11, weight="bold")
    return ax.figure


def _reached(tables, output: int) -> list[set[int]]:
    """For every level, inputs first: the positions from which lines lead up to `output`."""
    reached = [{output}]
    for table in tables[::-1]:
        reached.insert(0, set(table[sorted(reached[0])].any(axis=0).nonzero()[0].tolist()))
    return reached


def _cone(ax, columns, levels, tables, reached) -> None:
    """Dots at every level and a line for every True; those of the cone last, so that nothing lies on them."""
    from matplotlib.collections import LineCollection

    lines = {False: [], True: []}
    for table, low, high, above in zip(tables, levels, levels[1:], reached[1:], strict=False):
        for i, j in zip(*table.nonzero(), strict=True):
            lines[i in above].append([(columns[j], low), (columns[i], high)])
    for inside, color, thickness in ((False, PALE, 0.75), (True, ORANGE, 1.75)):  # one artist for hundreds of lines
        ax.add_collection(LineCollection(lines[inside], colors=color, linewidths=thickness, zorder=2))
    for y, inside in zip(levels, reached, strict=True):
        for dots, face, edge in ((set(range(len(columns))) - inside, "white", GRAY), (inside, ORANGE, ORANGE)):
            ax.plot([columns[j] for j in sorted(dots)], [y] * len(dots), "o", ms=7, mfc=face, mec=edge, zorder=3)
