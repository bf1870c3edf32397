"""Lesson 04: two heads side by side (the lecture's figure 10), and what a split into heads makes of its columns."""

from collections.abc import Sequence

from .drawing import arrow, box, canvas, text, vector
from .style import GREEN, KEY, PALE, PURPLE, QUERY, VALUE, YELLOW, as_array

HEADS = (PURPLE, YELLOW)  # one color per head; every vector of a head also carries its index


def multi_head_diagram(words: Sequence[str], a, roles, heads, weights, outputs, result, asking=0):
    """The lecture's figure 10: each word's q, k and v are split in two, a head meets only its own, W^O joins them.

    n words; a (n, d_in); roles holds q, k, v, (n, d) each; heads holds for each head its q, k, v, (n, d_h) each;
    weights holds for each head the asking word's shares (n,), outputs its output (d_h,); result is (d,).
    """
    n, me = len(words), asking + 1
    ax = canvas(6.8, 8.1)
    columns = [(i + 0.5) * 6.8 / n for i in range(n)]
    split = {}  # (head, role, word) -> where that vector was drawn
    for i, (x, word) in enumerate(zip(columns, words, strict=True)):
        text(ax, x, 0.16, word, 12, weight="bold")
        embedding = vector(ax, x, 0.9, a[i])
        text(ax, x - 0.4, 0.9, f"$a^{i + 1}$", 12)
        for role, (name, color, dx) in enumerate((("q", QUERY, -0.74), ("k", KEY, 0.0), ("v", VALUE, 0.74))):
            color = PALE if name == "q" and i != asking else color  # only one word asks
            whole = vector(ax, x + dx, 2.15, roles[role][i], color, cell=(0.4, 0.23), size=9)
            text(ax, x + dx - 0.3, 2.15, f"${name}^{i + 1}$", 10, color)
            arrow(ax, embedding.top, whole.bottom, color=color)
            for h, (parts, side) in enumerate(zip(heads, (-0.185, 0.185), strict=True)):
                part = vector(ax, x + dx + side, 3.1, parts[role][i], color, cell=(0.34, 0.23), size=8.5)
                text(ax, x + dx + side, 3.46, f"${name}^{{{i + 1},{h + 1}}}$", 9, color)
                arrow(ax, whole.top, part.bottom, 0.1, color)
                split[h, name, i] = (part.x, 3.58)
    joined = box(ax, 3.4, 6.85, "$W^O$", 2.6, 0.36)
    for h, (color, side) in enumerate(zip(HEADS, (-0.95, 0.95), strict=True)):
        output = vector(ax, joined.x + side, 6.1, outputs[h], color, cell=(0.52, 0.24), size=9)
        text(ax, output.x + 0.52 * (-1, 1)[h], 6.1, f"$b^{{{me},{h + 1}}}$", 12)
        arrow(ax, output.top, (output.x, joined.bottom[1]), color=color)
        for i, (x, share) in enumerate(zip(columns, as_array(weights[h]), strict=True)):
            label = rf"$\hat{{\alpha}}^{{\,{h + 1}}}_{{{me},{i + 1}}}$" + f"\n{share:.2f}"
            weight = box(ax, x + side / 2, 4.75, label, 0.62, 0.52, color, fill=0.08 + 0.5 * share, size=10)
            for start in (split[h, "q", asking], split[h, "k", i], split[h, "v", i]):
                arrow(ax, start, weight.bottom, 0.08, color)
            arrow(ax, weight.top, output.bottom, share, color)
    final = vector(ax, joined.x, 7.65, result, GREEN, cell=(0.56, 0.25), fill=0.3)
    text(ax, final.x - 0.5, final.y, f"$b^{me}$", 13)
    arrow(ax, joined.top, final.bottom, color=GREEN)
    return ax.figure
