"""Lesson 07: the Transformer from outside and from inside (the lecture's two pictures), and the axes of the norms."""

from collections.abc import Sequence

from .drawing import arrow, box, canvas, node, text
from .style import BLUE, GRAY, GREEN, ORANGE, PURPLE, YELLOW, as_array


def seq2seq_overview(source: Sequence[str], target: Sequence[str]):
    """The lecture's overview: the encoder reads `source`; the decoder hears <bos>, `target`, says `target`, <eos>.

    Each word said goes back, on a dashed line, to the place where it is heard.
    """
    ax = canvas(6.8, 2.9)
    encoder, decoder = box(ax, 1.5, 1.45, "Encoder", 2.7, 0.6, ORANGE), box(ax, 5.1, 1.45, "Decoder", 3.0, 0.6, BLUE)
    arrow(ax, encoder.right, decoder.left, 0.5)
    text(ax, 3.22, 1.7, "memory", 10, GRAY)
    for i, token in enumerate(source):
        x = encoder.x + (i + 0.5 - len(source) / 2) * 2.7 / len(source)
        text(ax, x, 0.62, token, 13 if len(token) == 1 else 10)
        arrow(ax, (x, 0.8), (x, encoder.bottom[1]), color=ORANGE)
    step = 3.0 / (len(target) + 1)
    places = [decoder.x + (i - len(target) / 2) * step for i in range(len(target) + 1)]
    for i, (x, heard, said) in enumerate(zip(places, ["<bos>", *target], [*target, "<eos>"], strict=True)):
        text(ax, x, 0.62, heard, 10.5)
        arrow(ax, (x, 0.8), (x, decoder.bottom[1]), color=BLUE)
        arrow(ax, (x, decoder.top[1]), (x, 2.2), color=BLUE)
        text(ax, x, 2.38, said, 10.5, weight="bold")
        if i < len(target):
            middle = x + step / 2
            ax.plot([x, x, middle, middle, x + step], [2.55, 2.7, 2.7, 0.3, 0.3], "--", color=GRAY, lw=1, zorder=5)
            arrow(ax, (x + step, 0.28), (x + step, 0.5))
    text(ax, encoder.x, 0.2, "reads the source, once", 10, GRAY)
    return ax.figure


def architecture(sections: dict[str, int], built: int | None = None):
    """The lecture's picture of the model, box by box, each with the number of the section that builds it.

    `sections` names the parts: Embedding, Positions, Multi-Head Attention, Norm, Add & Norm, Feed-Forward, Encoder,
    Masked Multi-Head Attention, Cross-Attention, Decoder, Linear, Softmax, Transformer. Parts of a section after
    `built` stay white: they are still to come.
    """
    from matplotlib.patches import Rectangle

    ax = canvas(6.8, 8.2)

    def done(name):
        return built is None or sections[name] <= built

    def part(x, y, name, color, width=1.85, side=1):
        words = name.replace("Multi-Head ", "Multi-Head\n")
        height, color, fill = 0.5 if "\n" in words else 0.34, *((color, 0.12) if done(name) else (GRAY, 0.0))
        shape = box(ax, x, y, words, width, height, color, fill, size=10)
        edge = x + side * (width / 2 + 0.06)
        text(ax, edge, y, f"§{sections[name]}", 10, ha="left" if side > 0 else "right", weight="bold")
        return shape

    def add_norm(x, y, below, entry, side):
        """Add & Norm above a sublayer, and the line that carries its input around it."""
        shape = part(x, y, "Add & Norm", YELLOW, side=-side)
        arrow(ax, below.top, shape.bottom)
        around = x + side * 1.32
        ax.plot([x, around, around], [entry, entry, y], color=GRAY, lw=1.2, zorder=2)
        arrow(ax, (around, y), shape.right if side > 0 else shape.left)
        return shape

    def words_in(x, words):
        """Embedding, plus positions."""
        text(ax, x, 0.5, words, 11)
        table = part(x, 1.0, "Embedding", PURPLE)
        plus = node(ax, x, 1.55, "+", 0.14)
        side = 1 if x < 3.4 else -1
        places = part(x - 1.02 * side, 1.9, "Positions", PURPLE, 0.86, side)
        arrow(ax, (x, 0.62), table.bottom)
        arrow(ax, table.top, plus.bottom)
        arrow(ax, places.bottom, plus.left if side > 0 else plus.right)
        return plus

    def frame(x, bottom, top, name):
        ground = "#F4F4F4" if done(name) else "white"
        ax.add_patch(Rectangle((x - 1.5, bottom), 3.0, top - bottom, fc=ground, ec=GRAY, lw=1.2, zorder=1))
        text(ax, x - 1.5, top + 0.16, f"{name} §{sections[name]}, N ×", 10.5, weight="bold", ha="left")

    left, right = 1.75, 5.05
    frame(left, 2.2, 4.75, "Encoder")
    plus, below = words_in(left, "source tokens"), 2.45
    attention = part(left, 2.85, "Multi-Head Attention", ORANGE)
    arrow(ax, plus.top, attention.bottom)
    normed = add_norm(left, 3.45, attention, below, -1)
    thought = part(left, 3.98, "Feed-Forward", BLUE)
    arrow(ax, normed.top, thought.bottom)
    memory = add_norm(left, 4.5, thought, 3.7, -1)

    frame(right, 2.2, 6.2, "Decoder")
    plus = words_in(right, "<bos> and the target so far")
    attention = part(right, 2.85, "Masked Multi-Head Attention", ORANGE)
    arrow(ax, plus.top, attention.bottom)
    normed = add_norm(right, 3.45, attention, below, 1)
    cross = part(right, 4.25, "Cross-Attention", ORANGE)
    arrow(ax, normed.top, cross.bottom)
    normed = add_norm(right, 4.85, cross, 3.75, 1)
    thought = part(right, 5.4, "Feed-Forward", BLUE)
    arrow(ax, normed.top, thought.bottom)
    normed = add_norm(right, 5.95, thought, 5.12, 1)
    ax.plot([left, left, 3.4, 3.4], [memory.top[1], 5.15, 5.15, 4.25], color=GREEN, lw=2, zorder=5)
    arrow(ax, (3.4, 4.25), cross.left, 0.3, GREEN)
    text(ax, 2.58, 5.3, "memory: keys, values", 9.5, GREEN)
    text(ax, right - 0.42, 3.9, "queries", 9.5, GRAY)

    linear = part(right, 6.85, "Linear", PURPLE)
    softmax = part(right, 7.4, "Softmax", GREEN)
    arrow(ax, normed.top, linear.bottom)
    arrow(ax, linear.top, softmax.bottom)
    arrow(ax, softmax.top, (right, 7.85))
    text(ax, right, 8.0, "probabilities of the next token", 11)
    text(ax, 0.25, 7.7, f"the Norm in Add & Norm: §{sections['Norm']}", 10.5, ha="left")
    text(ax, 0.25, 7.4, f"all together: §{sections['Transformer']}", 10.5, ha="left")
    return ax.figure


def norm_axes(layer_normed, batch_normed, labels: Sequence[str], row: int = 1, column: int = 3):
    """The lecture's picture of layer and batch norm: two tables, a row per token, a column per feature.

    Both (n, d), values from -2.5 (orange) to 2.5 (purple); framed is one group that shares a mean and a variance: the
    row of one token for layer norm, the column of one feature for batch norm.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    n, d = as_array(layer_normed).shape
    fig, axes = plt.subplots(1, 2, figsize=(6.8, 0.9 + 0.2 * n), sharey=True)
    groups = ("layer norm: one token, all features", (-0.5, row - 0.5), d, 1), (
        "batch norm: one feature, all tokens", (column - 0.5, -0.5), 1, n
    )  # fmt: skip
    for ax, values, (title, corner, width, height) in zip(axes, (layer_normed, batch_normed), groups, strict=True):
        ax.imshow(as_array(values), cmap="PuOr", vmin=-2.5, vmax=2.5, aspect="auto")
        ax.add_patch(Rectangle(corner, width, height, fill=False, ec="black", lw=2.5, clip_on=False))
        ax.set(title=title, xlabel="feature", xticks=range(d))
        ax.set_xticks(range(d), range(1, d + 1), fontsize=9)
        ax.set_yticks(range(n), labels, fontsize=9)
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("token")
    return fig
