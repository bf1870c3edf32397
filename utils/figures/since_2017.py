"""Lesson 10: a layer of 2017 beside one of today, what a step reads, and gains run by run."""

from collections.abc import Mapping

import numpy as np

from .drawing import arrow, box, canvas, node, text
from .style import BLUE, GRAY, GREEN, ORANGE, PALE, YELLOW

# What changed: where it stands in a layer of 2017 and in one of today.
CHANGES = ("norm first", "RMSNorm", "no biases", "SwiGLU", "rotary", "QK-norm", "grouped queries")


def two_layers(lit: str = ""):
    """A layer as in 2017 and as today, side by side; of CHANGES, `lit` is colored in both."""
    if lit and lit not in CHANGES:
        raise ValueError(f"{lit!r} is none of {CHANGES}")
    ax = canvas(6.8, 4.5)

    def part(x, y, words, height=0.34, of=(), color=ORANGE):
        on = lit in of
        return box(ax, x, y, words, 2.3, height, color if on else PALE, 0.3 if on else 0.0, 9.5)

    def plus(x, y):
        return node(ax, x, y, "+", 0.1, size=10)

    def column(x, title, shapes, around):
        """Shapes from below, joined by arrows; `around` are pairs (from below which shape, to which sum)."""
        text(ax, x, 4.36, title, 10.5, weight="bold")
        arrow(ax, (x, 0.1), shapes[0].bottom)
        for below, above in zip(shapes, shapes[1:], strict=False):
            arrow(ax, below.top, above.bottom)
        arrow(ax, shapes[-1].top, (x, shapes[-1].top[1] + 0.2))
        for start, end in around:
            low = shapes[start].bottom[1] - 0.09
            color = ORANGE if lit == "norm first" else GRAY
            side = x + 1.35
            ax.plot([x, side, side], [low, low, shapes[end].y], color=color, lw=1.2, zorder=2)
            arrow(ax, (side, shapes[end].y), shapes[end].right, color=color)

    attention = ("rotary", "QK-norm", "grouped queries", "no biases")
    x = 1.75
    column(
        x,
        "2017",
        [
            part(x, 0.55, "positions, added once", of=("rotary",)),
            part(x, 1.25, "attention: every head\nits own keys and values", 0.5, of=attention),
            plus(x, 1.75),
            part(x, 2.1, "layer norm", 0.28, of=("norm first", "RMSNorm", "no biases"), color=YELLOW),
            part(x, 2.85, "relu(x W₁ + b₁) W₂ + b₂", of=("SwiGLU", "no biases"), color=BLUE),
            plus(x, 3.35),
            part(x, 3.7, "layer norm", 0.28, of=("norm first", "RMSNorm", "no biases"), color=YELLOW),
        ],
        [(1, 2), (4, 5)],
    )
    x = 5.05
    column(
        x,
        "today",
        [
            part(x, 0.5, "RMSNorm", 0.28, of=("norm first", "RMSNorm", "no biases"), color=YELLOW),
            part(x, 1.0, "q and k: to one length", 0.28, of=("QK-norm",), color=GREEN),
            part(x, 1.4, "q and k: turned by place", 0.28, of=("rotary",), color=GREEN),
            part(x, 1.92, "attention: several heads\nshare keys and values", 0.5, of=("grouped queries", "no biases")),
            plus(x, 2.42),
            part(x, 2.87, "RMSNorm", 0.28, of=("norm first", "RMSNorm", "no biases"), color=YELLOW),
            part(x, 3.42, "(silu(x W₁) * x W₂) W₃", of=("SwiGLU", "no biases"), color=BLUE),
            plus(x, 3.9),
        ],
        [(0, 4), (5, 7)],
    )
    return ax.figure


def read_in_a_step(parts: Mapping[str, float], limit: float):
    """Dots at the gigabytes that one step of writing reads, {name: bytes}; the axis ends at `limit` bytes.

    No bars: on a logarithmic axis, which has no zero, the length of a bar means nothing.
    """
    import matplotlib.pyplot as plt

    fig = plt.figure(figsize=(6.8, 1.5), layout="none")  # drawn many times: the layout is not searched for
    ax = fig.add_axes((0.17, 0.36, 0.8, 0.6))
    for y, (size, color, mark) in enumerate(zip(parts.values(), (GRAY, ORANGE), "so", strict=True)):
        ax.plot(size / 1e9, y, mark, color=color, ms=9)
        ax.text(size / 1e9 * 1.3, y, f"{size / 1e9:,.{1 if size > 1e8 else 3}f}", va="center", fontsize=10)
    ax.set_yticks(range(len(parts)), parts)
    ax.grid(axis="x", color=PALE, lw=0.8)
    ax.set_axisbelow(True)
    ax.set(
        ylim=(len(parts) - 0.5, -0.5),
        xscale="log",
        xlim=(0.005, 6 * limit / 1e9),
        xlabel="GB read for one more token of each text",
    )
    ax.set_xticks([0.01, 0.1, 1, 10, 100, 1000], ["0.01", "0.1", "1", "10", "100", "1,000"])
    ax.minorticks_off()
    return fig


def against_the_first(benches: Mapping[str, Mapping[str, Mapping[int, float]]], units: Mapping[str, str]):
    """A panel a bench: each arm's difference to the bench's first arm, a point for each seed that both have.

    benches: {bench: {arm: {seed: value}}}; units: what the axis of a bench says. A bar marks the mean. Points are
    hollow where no difference is shown: they lie on both sides of zero, or are fewer than three.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(benches), figsize=(6.8, 3.2), squeeze=False, sharey=True)
    for ax, (bench, arms) in zip(axes[0], benches.items(), strict=True):
        base, *others = arms
        for y, arm in enumerate(others):
            gains = np.array([arms[arm][seed] - arms[base][seed] for seed in arms[arm] if seed in arms[base]])
            if not len(gains):
                continue
            shown = len(gains) > 2 and abs(np.sign(gains).sum()) == len(gains)
            ax.plot([gains.mean()] * 2, [y - 0.3, y + 0.3], color=ORANGE, lw=2)
            ax.plot(gains, np.full(len(gains), y), "o", color=BLUE, mfc=BLUE if shown else "white", ms=5)
        ax.axvline(0, color=GRAY, lw=1, zorder=1)
        ax.set(title=bench, xlabel=units[bench], yticks=range(len(others)), yticklabels=others)
    axes[0, 0].invert_yaxis()
    return fig
