"""Lesson 04: two averages, two heads (the lecture's figure 10), what a split cuts, and what one head can reach."""

from collections.abc import Mapping, Sequence

import numpy as np

from .charts import heatmap
from .drawing import arrow, box, canvas, node, text, vector
from .style import GRAY, GREEN, KEY, LOOKS, PALE, QUERY, VALUE, WEIGHT, as_array


def two_averages(sentences: Mapping[str, Mapping[str, tuple]], share: float, labels: tuple[str, str]):
    """What each of two sentences gives, if `share` of the attention goes to its first value and the rest to its second.

    sentences: {"elephants eat nuts": {"elephants": (x, y), "nuts": (x, y)}, ...}; labels of the two axes.
    """
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(6.8, 3.6), layout="none")
    fig.subplots_adjust(0.09, 0.14, 0.98, 0.97)
    for (name, values), dash, size in zip(sentences.items(), ("-", (0, (2, 1))), (9, 17), strict=True):
        points = np.array(list(values.values()), dtype=float)
        b = share * points[0] + (1 - share) * points[1]
        for word, point, part in zip(values, points, (share, 1 - share), strict=True):
            ax.plot(*zip(point, b, strict=True), color=WEIGHT, lw=0.5 + 5 * part, linestyle=dash, solid_capstyle="butt")
            ax.plot(*point, "s", color=VALUE, ms=8, zorder=3)
            side = 1 if point[0] > 0 else -1
            ax.annotate(f"{word}\n{part:.0%}", point, (10 * side, 0), textcoords="offset points", color=VALUE,
                        fontsize=10.5, ha="left" if side > 0 else "right", va="center")  # fmt: skip
        # The second is a ring around the first where both are the same.
        ax.plot(*b, "o", ms=size, mfc="black" if size == 9 else "none", mec="black", mew=1.6, zorder=5)
        row = 1.62 if size == 9 else 1.4
        ax.plot(-1.0, row, "o", ms=size, mfc="black" if size == 9 else "none", mec="black", mew=1.6)
        text(ax, -0.85, row, f"{name}: kind {b[0] + 0.0:.1f}, size {b[1]:.2f}", 10.5, ha="left")
    ax.set(xlim=(-1.75, 1.75), ylim=(-0.2, 1.75), xticks=(-1, 0, 1), yticks=(0, 0.5, 1))
    ax.set(xlabel=labels[0], ylabel=labels[1])
    return fig


def multi_head_diagram(words: Sequence[str], a, roles, heads, weights, outputs, result, asking=0, lit=0):
    """The lecture's figure 10: each word's q, k and v are split in two, a head meets only its own, W^O joins them.

    n words; a (n, d_in); roles holds q, k, v, (n, d) each; heads holds for each head its q, k, v, (n, d_h) each;
    weights holds for each head the asking word's shares (n,), outputs its output (d_h,); result is (d,). One head is
    drawn at work, number `lit`; the other stands by in gray.
    """
    n, me = len(words), asking + 1
    ax = canvas(6.8, 7.75)
    columns = [(i + 0.5) * 6.8 / n for i in range(n)]
    split = {}  # (role, word) -> where that vector of the head at work was drawn
    for i, (x, word) in enumerate(zip(columns, words, strict=True)):
        text(ax, x, 0.16, word, 12, weight="bold")
        embedding = vector(ax, x, 0.9, a[i])
        text(ax, x - 0.4, 0.9, f"$a^{i + 1}$", 12)
        for role, (name, color, dx) in enumerate((("q", QUERY, -0.74), ("k", KEY, 0.0), ("v", VALUE, 0.74))):
            color = PALE if name == "q" and i != asking else color  # only one word asks
            whole = vector(ax, x + dx, 2.1, roles[role][i], color, cell=(0.4, 0.23), size=9)
            text(ax, x + dx - 0.3, 2.1, f"${name}^{i + 1}$", 10, color)
            arrow(ax, embedding.top, whole.bottom, color=color)
            for h, (parts, side) in enumerate(zip(heads, (-0.185, 0.185), strict=True)):
                ours = color if h == lit else PALE
                part = vector(ax, x + dx + side, 3.0, parts[role][i], ours, cell=(0.34, 0.23), size=8.5)
                text(ax, part.x, 3.36, f"${name}^{{{i + 1},{h + 1}}}$", 9, ours)
                arrow(ax, whole.top, part.bottom, 0.1, ours)
                if h == lit:
                    split[name, i] = (part.x, 3.48)
    joined, made = box(ax, 3.4, 6.6, "$W^O$", 2.6, 0.34), []
    for h, side in enumerate((-0.95, 0.95)):
        color = GREEN if h == lit else PALE
        made.append(vector(ax, joined.x + side, 5.9, outputs[h], color, cell=(0.52, 0.24), size=9))
        text(ax, made[h].x + 0.52 * (-1, 1)[h], 5.9, f"$b^{{{me},{h + 1}}}$", 12, color)
        arrow(ax, made[h].top, (made[h].x, joined.bottom[1]), color=color)
    for i, (x, share) in enumerate(zip(columns, as_array(weights[lit]), strict=True)):
        label = rf"$\hat{{\alpha}}^{{\,{lit + 1}}}_{{{me},{i + 1}}}$" + f"\n{share:.2f}"
        weight = box(ax, x, 4.35, label, 0.62, 0.52, WEIGHT, fill=0.08 + 0.5 * share, size=10)
        product = node(ax, split["v", i][0], 5.0, "×", 0.15)
        arrow(ax, split["q", asking], weight.bottom, 0.1, QUERY)
        arrow(ax, split["k", i], weight.bottom, 0.1, KEY)
        arrow(ax, split["v", i], product.bottom, 0.1, VALUE)
        arrow(ax, weight.top, product.left, share, WEIGHT)
        arrow(ax, product.top, made[lit].bottom, share, VALUE)
    final = vector(ax, joined.x, 7.35, result, GREEN, cell=(0.56, 0.25), fill=0.3)
    text(ax, final.x - 0.5, final.y, f"$b^{me}$", 13)
    arrow(ax, joined.top, final.bottom, color=GREEN)
    return ax.figure


def splits(owners: Mapping[str, object], tables: Mapping[str, object], names, words: Sequence[str]):
    """Above, which head gets which number of each word, one panel for each way to split; below, who hears whom.

    owners: (T, D) for each way, 0 for head 1 and 1 for head 2; tables (T, T): does a word hear another?; names (T, D).
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 2, figsize=(6.8, 5.4))
    for (above, below), way in zip(axes.T, owners, strict=True):
        owner = as_array(owners[way])
        above.imshow(owner, cmap=_two_grounds(), vmin=0, vmax=1)
        for (row, column), head in np.ndenumerate(owner):
            above.text(column, row, f"{names[row][column]}\nhead {head + 1:.0f}", ha="center", va="center", fontsize=9)
        above.set(title=way, xticks=(), yticks=range(len(words)), yticklabels=words)
        above.tick_params(length=0)
        heatmap(tables[way], words, words, below, "", "hears", decimals=0)
    return fig


def _two_grounds():
    from matplotlib.colors import ListedColormap

    return ListedColormap(["#EEDDEB", "#F6EBD3"])


def subtraction_plane(heads: Sequence[tuple] = (), ends: Mapping[str, object] | None = None):
    """What the numbers of income and of costs count for, the error of each place, and where no negative weight leads.

    heads: the factors (s, t) that each head adds, drawn one after the other from the middle. ends: {name: (runs, 2)},
    where training ended.
    """
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(6.8, 4.5), layout="none")
    fig.subplots_adjust(0.09, 0.12, 0.66, 0.98)
    reach, dots = 2.3, {"linestyle": "", "zorder": 6}
    s, t = np.meshgrid(np.linspace(-reach, reach, 120), np.linspace(-reach, reach, 120))
    lines = ax.contour(s, t, (s - 1) ** 2 + (t + 1) ** 2, [0.25, 1, 2, 4, 8], colors=GRAY, linewidths=0.8)
    places = [(1, -1.5), (1, -2), (-0.33, -1.48), (-0.88, -1.68), (-1, 1)]
    ax.clabel(lines, fmt="error %g", fontsize=9, manual=places)
    for corner in (0, -reach):
        ax.fill_between([corner, corner + reach], corner, corner + reach, color="#F0E2EE", zorder=0)
    for line in (ax.axhline, ax.axvline):
        line(0, color=GRAY, lw=1)
    start = np.zeros(2)
    for number, head in enumerate(heads, start=1):
        end = start + as_array(head)
        if np.hypot(*(end - start)) > 1e-9:
            arrow(ax, start, end, 0.35, VALUE)
        ax.annotate(f"head {number}", end, (9, 7), textcoords="offset points", fontsize=10)
        start = end
    ax.fill_between([], [], [], color="#F0E2EE", label="equal signs: what\none head can reach")
    if len(heads):
        ax.plot(*start, "o", color=VALUE, ms=9, **dots, label="where the heads lead")
        (income, costs), error = start + 0.0, (start[0] - 1) ** 2 + (start[1] + 1) ** 2
        said = f"income counts {income:+.1f}, costs count {costs:+.1f}: error {error:.2f}"
        text(ax, 0, reach - 0.2, said, 10, zorder=8)
    for (name, points), look, size in zip((ends or {}).items(), LOOKS, (9, 9, 15), strict=False):
        ax.plot(*as_array(points).T, **look | dots, ms=size, mfc="none", mew=1.6, label=name)  # none hides another
    ax.plot(1, -1, "*", color="black", ms=10, **dots | {"zorder": 7}, label="wanted")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=10, labelspacing=1)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=range(-2, 3), yticks=range(-2, 3))
    ax.set(xlabel="s: what the number of income counts for", ylabel="t: what the number of costs counts for")
    return fig


def intervals(rows: Sequence[str], groups: Mapping[str, tuple], label: str):
    """Means with their errors: a row each, and for each group {name: (means, errors)} a point with a bar."""
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(6.8, 1.0 + 0.27 * len(rows)))
    ax.axvline(0, color=GRAY, lw=1)
    for k, (name, (means, errors)) in enumerate(groups.items()):
        y = np.arange(len(rows)) + 0.3 * (k - (len(groups) - 1) / 2)
        look = {key: LOOKS[k][key] for key in ("color", "marker")}
        ax.errorbar(as_array(means), y, xerr=as_array(errors), **look, ms=5.5, lw=1.3, linestyle="", label=name)
    ax.set(yticks=range(len(rows)), yticklabels=rows, ylim=(len(rows) - 0.4, -0.6), xlabel=label)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=10, ncols=len(groups))
    return fig
