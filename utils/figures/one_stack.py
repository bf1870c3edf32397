"""Lesson 09: a hidden word and its guesses, vectors in a plane, runs by amount, what sampling keeps."""

from collections.abc import Sequence

import numpy as np

from .charts import label_lines
from .drawing import box, canvas, columns, text
from .page import spot
from .style import BLUE, GRAY, LOOKS, ORANGE, PALE, WEIGHT, as_array, as_word


def hidden_word(tokens: Sequence[str], hidden: int, guesses: Sequence[str], chances, choice: int | None = None):
    """A sentence with one word hidden, and below it the guesses, the best first, with their probabilities (k,).

    In `explore`, the words are values of choice number `choice`: pointing at one hides it.
    """
    ax, words = canvas(6.8, 2.55), [as_word(token) for token in tokens]
    across = columns([[word + "  " for word in words]], 0.1, 6.7)
    for i, (x, word) in enumerate(zip(across, words, strict=True)):
        if i == hidden:
            box(ax, x, 2.25, "?", 0.3 + 0.09 * len(word), 0.36, ORANGE, 0.25, 12)
        else:
            text(ax, x, 2.25, word, 12)
        if choice is not None:
            spot(ax, x, 2.25, min([0.9, *np.diff(across)]), 0.5, value=i, choice=choice)
    text(ax, 0.1, 1.84, f"stood there: {words[hidden]}", 9.5, GRAY, ha="left")
    for i, (guess, chance) in enumerate(zip(map(as_word, guesses), as_array(chances), strict=True)):
        y, right = 1.5 - 0.31 * i, guess == words[hidden]
        text(ax, 1.7, y, guess, 10.5, BLUE if right else "black", ha="right", weight="bold" if right else "normal")
        ax.barh(y, 4.0 * chance, 0.2, left=1.85, color=BLUE if right else PALE, zorder=2)
        text(ax, 1.92 + 4.0 * chance, y, f"{chance:.0%}" + (" ✓" if right else ""), 9.5, GRAY, ha="left")
    return ax.figure


def kept_and_dropped(tokens: Sequence[str], before, after):
    """Bars of the most probable next tokens: gray what the model says (k,), purple what is drawn from (k,)."""
    import matplotlib.pyplot as plt

    before, after, places = as_array(before), as_array(after), np.arange(len(tokens))
    fig = plt.figure(figsize=(6.8, 3.0), layout="none")  # drawn many times: the layout is not searched for
    ax = fig.add_axes((0.09, 0.25, 0.9, 0.72))
    ax.bar(places - 0.2, before, 0.4, color=PALE, label="the model's probability")
    ax.bar(places + 0.2, after, 0.4, color=WEIGHT, label="what is drawn from")
    ax.set_xticks(places, [as_word(token) for token in tokens], rotation=60, ha="right", rotation_mode="anchor")
    for label, share in zip(ax.get_xticklabels(), after, strict=True):
        label.set_color("black" if share > 0 else GRAY)
    ax.set(ylim=(0, 1), ylabel="probability", xlim=(-0.7, len(tokens) - 0.3))
    ax.legend(loc="upper right", fontsize=9)
    return fig


def two_segments(tokens: Sequence[str], segments: Sequence[int]):
    """A text for BERT as a row of boxes, each with its segment, 0 (blue) or 1 (orange), below."""
    ax = canvas(6.8, 1.0)
    for x, token, segment in zip(columns([tokens], 0.05, 6.75), tokens, segments, strict=True):
        color = (BLUE, ORANGE)[segment]
        box(ax, x, 0.68, token, 0.16 + 0.075 * len(token), 0.34, color, size=9.5)
        text(ax, x, 0.25, str(segment), 10, color)
    return ax.figure


def in_the_plane_of_spread(groups: dict):
    """A panel per word: its vectors of two kinds, {word: ((n, D), (m, D))}, in the two directions of most spread."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(groups), figsize=(6.8, 2.6), squeeze=False)
    for ax, (word, both) in zip(axes[0], groups.items(), strict=True):
        both = [as_array(rows) for rows in both]
        middle = np.concatenate(both).mean(axis=0)
        directions = np.linalg.svd(np.concatenate(both) - middle, full_matrices=False)[2][:2]  # (2, D)
        for rows, color, marker in zip(both, (BLUE, ORANGE), "os", strict=True):
            ax.plot(*((rows - middle) @ directions.T).T, marker, color=color)
        ax.set(title=word, xticks=[], yticks=[])
    fig.supxlabel("direction of most spread", fontsize=10)
    axes[0, 0].set_ylabel("second direction", fontsize=10)
    return fig


ASIDE = 1.02  # the factor between the points of two names at one amount


def runs_by_amount(runs: dict, xlabel: str, ylabel: str, chance: float | None = None, log: bool = False):
    """A point for each run and a line through the means: {name: {amount: [value of each run]}}.

    The amounts stand on a logarithmic axis; the names' points are drawn a little to the side of one another. chance: a
    dotted line; log: the values' axis is logarithmic, too.
    """
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(6.8, 3.3))
    amounts = sorted({amount for found in runs.values() for amount in found})
    for i, (name, found) in enumerate(runs.items()):
        aside, look = ASIDE ** (i - len(runs) // 2), LOOKS[i]
        for amount, values in found.items():
            ax.plot([amount * aside] * len(values), values, look["marker"], color=look["color"], ms=5)
        means = [(amount * aside, np.mean(found[amount])) for amount in sorted(found)]
        ax.plot(*np.transpose(means), lw=1, color=look["color"], linestyle=look["linestyle"])
        beside = [amount * ASIDE ** (len(runs) // 2) for amount in sorted(found)]  # the name: right of all points
        ax.plot(beside, [mean for _, mean in means], label=name, lw=0, color=look["color"])
    if chance is not None:
        ax.axhline(chance, color=GRAY, linestyle=":")
    ax.set(xscale="log", yscale="log" if log else "linear", xlabel=xlabel, ylabel=ylabel)
    close = [any(other < amount < 1.5 * other for other in amounts) for amount in amounts]  # would touch: a line lower
    ax.set_xticks(amounts, ["\n" * lower + f"{amount:,}" for amount, lower in zip(amounts, close, strict=True)])
    ax.set_xlim(min(amounts) / 1.3, max(amounts) * max(4, max(amounts) / min(amounts)) ** 0.5)
    ax.minorticks_off()
    if log:
        low, high = ax.get_ylim()
        round_ones = [n * 10**k for k in range(-3, 6) for n in (1, 2, 3, 5) if low <= n * 10**k <= high]
        ax.set_yticks(round_ones, [f"{tick:g}" for tick in round_ones])
    label_lines(ax)
    return fig
