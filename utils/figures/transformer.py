"""Lesson 07: the Transformer from outside (the lecture's overview), the axes of the norms, a step of the decoder."""

from collections.abc import Sequence

from .drawing import arrow, box, canvas, text
from .style import BLUE, GRAY, ORANGE, PALE, WEIGHT, as_array, as_word


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
        text(ax, x, 0.62, as_word(token), 13 if len(token) == 1 else 10.5)
        arrow(ax, (x, 0.8), (x, encoder.bottom[1]), color=ORANGE)
    step = 3.0 / (len(target) + 1)
    places = [decoder.x + (i - len(target) / 2) * step for i in range(len(target) + 1)]
    for i, (x, heard, said) in enumerate(zip(places, ["<bos>", *target], [*target, "<eos>"], strict=True)):
        text(ax, x, 0.62, as_word(heard), 10.5)
        arrow(ax, (x, 0.8), (x, decoder.bottom[1]), color=BLUE)
        arrow(ax, (x, decoder.top[1]), (x, 2.2), color=BLUE)
        text(ax, x, 2.38, as_word(said), 10.5, weight="bold")
        if i < len(target):
            middle = x + step / 2
            ax.plot([x, x, middle, middle, x + step], [2.55, 2.7, 2.7, 0.3, 0.3], "--", color=GRAY, lw=1, zorder=5)
            arrow(ax, (x + step, 0.28), (x + step, 0.5))
    text(ax, encoder.x, 0.2, "reads the source, once", 10, GRAY)
    return ax.figure


def norm_axes(layer_normed, batch_normed, labels: Sequence[str], first: int, row: int = 1, column: int = 3):
    """The lecture's picture of layer and batch norm: two tables, a row per token, a column per feature.

    Both (n, d), their first `first` rows one sentence and the rest another. Framed is one group that shares a mean and
    a variance: the row of one token for layer norm, the column of one feature for batch norm, over both sentences.
    """
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib.patches import Rectangle

    n, d = as_array(layer_normed).shape
    gap = 1  # an empty row between the sentences
    places = [i + gap * (i >= first) for i in range(n)]
    fig, axes = plt.subplots(1, 2, figsize=(6.8, 1.3 + 0.21 * n), sharey=True)
    groups = (
        ("layer norm: one token, all features", (-0.5, places[row] - 0.5), d, 1),
        ("batch norm: one feature, all tokens", (column - 0.5, -0.5), 1, n + gap),
    )
    for ax, values, (title, corner, width, height) in zip(axes, (layer_normed, batch_normed), groups, strict=True):
        table = np.insert(as_array(values), first, np.nan, axis=0)
        colors = ax.imshow(table, cmap="PuOr", vmin=-2.5, vmax=2.5, aspect="auto")
        ax.add_patch(Rectangle(corner, width, height, fill=False, ec="black", lw=2.5, clip_on=False))
        ax.set_title(title, fontsize=9.5)
        ax.set_xlabel("feature")
        ax.set_xticks(range(d), range(1, d + 1), fontsize=9)
        ax.set_yticks(places, [as_word(word) for word in labels], fontsize=9)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("token")
    fig.colorbar(colors, ax=axes, label="value after the norm", shrink=0.8, extend="both")
    return fig


def decoder_step(heard: Sequence[str], best: Sequence[str], chances, source: Sequence[str], shares):
    """One step of the decoder: what it has heard, the most probable next words, and where it looked in the source.

    chances: the probabilities of the words `best`; shares: those of the tokens `source`. The darker a source token, and
    the thicker its line, the larger its share.
    """
    from matplotlib.patches import Rectangle

    ax, shares, chances = canvas(6.8, 3.3), as_array(shares), as_array(chances)
    text(ax, 0.1, 3.08, "heard:", 10, GRAY, ha="left")
    words, shown = [as_word(token) for token in heard], ""
    while words and len(shown) + len(words[-1]) < 62:
        shown = f"{words.pop()}  {shown}"
    text(ax, 0.75, 3.08, ("…  " if words else "") + shown, 10.5, BLUE, ha="left", weight="bold")
    asks = box(ax, 1.62, 2.35, "the step", 1.1, 0.34, BLUE)
    width = 3.1 / len(source)
    for i, (token, share) in enumerate(zip(source, shares, strict=True)):
        x = 0.1 + (i + 0.5) * width
        shape = box(ax, x, 0.95, "", 0.9 * width, 0.44, WEIGHT, 0.1 + 0.6 * share)
        arrow(ax, shape.top, (asks.x, asks.bottom[1]), round(share, 2), WEIGHT if share >= 0.1 else PALE, head=False)
        text(ax, x, 0.95, as_word(token), min(12.0, 26 * width), "white" if share > 0.75 else "black", zorder=6)
        text(ax, x, 0.58, f"{share:.0%}", min(9.5, 20 * width), WEIGHT if share >= 0.1 else GRAY)
    text(ax, 1.62, 0.25, "where it looked in the source", 10, GRAY)
    for i, (word, chance) in enumerate(zip(best, chances, strict=True)):
        y = 2.5 - 0.42 * i
        text(
            ax,
            4.55,
            y,
            as_word(word),
            11,
            "black" if i == 0 else GRAY,
            ha="right",
            weight="bold" if i == 0 else "normal",
        )
        ax.add_patch(Rectangle((4.65, y - 0.13), 1.55 * chance, 0.26, fc=BLUE if i == 0 else PALE, ec="none", zorder=3))
        text(ax, 4.72 + 1.55 * chance, y, f"{chance:.0%}", 9.5, ha="left")
    text(ax, 5.1, 0.25, "the five most probable next words", 10, GRAY)
    return ax.figure
