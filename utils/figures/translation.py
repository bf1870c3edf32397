"""Lesson 08: groups of sentences, padding, beam search, alignments."""

from collections.abc import Sequence

import numpy as np

from .drawing import arrow, box, canvas, text
from .style import BLUE, GRAY, ORANGE, PALE, as_array, as_word


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


def beam_tree(steps: Sequence[Sequence[tuple[tuple, float]]], words, rows: int = 0, columns: int = 0):
    """A beam search from left to right: a column per step, the best hypothesis on top, the winner's path blue.

    steps[i] holds the hypotheses (tokens, total log-probability) that survived step i, best first; `words` gives
    a token's text. Boxes show the last token and the log-probability per token. A hypothesis whose box is pale
    has no descendant; a finished one waits (a tick) while others grow. rows, columns: room for at least so many, where
    several trees shall have one size.
    """
    n, beam = len(steps), max(rows, *map(len, steps))
    dx, height = 6.8 / (max(n, columns) + 0.95), 0.62 * beam + 0.1
    ax, winner = canvas(6.8, height + 0.3), steps[-1][0][0]
    before = {(): box(ax, 0.42 * dx, height / 2, "begin", 0.72 * dx, 0.3, BLUE, size=min(8.5, 12.5 * dx))}
    for i, step in enumerate(steps):
        here, later = {}, [tokens for tokens, _ in steps[min(i + 1, n - 1)]]
        text(ax, dx * (i + 1.4), height + 0.14, f"{i + 1}" if i else "step 1", 8.5, GRAY)
        for rank, (tokens, total) in enumerate(step):
            x, y = dx * (i + 1.4), height * (1 - (rank + 0.5) / beam)
            waits = len(tokens) < i + 1
            parent = tokens if waits else tokens[:-1]
            wins = winner[: len(tokens)] == tokens
            lives = any(other[: len(tokens)] == tokens for other in later)
            color = BLUE if wins else GRAY if lives else PALE
            word = "" if waits else words(tokens[-1])
            label = "✓" if waits else f"{word}\n{total / len(tokens):.2f}"
            size = min(8.5, 62 * dx / max(5, len(word)))
            here[tokens] = box(ax, x, y, label, 0.84 * dx, 0.44, color, 0.25 if wins else 0.06, size)
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
            words = [as_word(token) for token in tokens]
            axis.set_ticks(range(len(words)), words, fontsize=10)
        ax.tick_params(length=0)
        ax.set_xticks(np.arange(len(source)) - 0.5, minor=True)
        ax.set_yticks(np.arange(len(target)) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=1.5)
        ax.spines[:].set_visible(False)
        ax.tick_params(which="minor", length=0)
        ax.set(xlabel="reads", ylabel="writes" if ax is axes[0, 0] else "")
    fig.colorbar(image, ax=axes, label="attention", orientation="horizontal", shrink=0.4, aspect=30, extend="max")
    return fig
