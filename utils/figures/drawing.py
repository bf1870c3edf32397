"""Node-and-arrow diagrams: a sheet measured in inches, and the few primitives that the lecture's pictures need.

`text`; `box`, `node` and `vector`, which return where they stand (a `Shape`); and `arrow`, which joins two points.
"""

from collections.abc import Sequence
from typing import NamedTuple

from .style import GRAY, WORDS, as_array, as_word, ink, number


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


def columns(rows: Sequence[Sequence[str]], start: float, end: float) -> list[float]:
    """Centers from `start` to `end` for tokens in rows, one above the other: room for the longest of each column."""
    room = [2 + max(len(as_word(token)) for token in column) for column in zip(*rows, strict=True)]
    return [start + (end - start) * (sum(room[:i]) + room[i] / 2) / sum(room) for i in range(len(room))]


def text(ax, x, y, words: str, size=11.0, color="black", **style) -> None:
    """Words centered on (x, y), unless `style` says otherwise (ha="left", weight="bold" ...)."""
    style = {"ha": "center", "va": "center", "zorder": 4} | style
    ax.text(x, y, words, fontsize=size, color=WORDS.get(color, color), **style)


def box(ax, x, y, words: str = "", width=1.0, height=0.4, color=GRAY, fill=0.12, size=11.0) -> Shape:
    """A rounded box around words; `fill` from 0 (white) to 1 is the strength of its color."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import FancyBboxPatch

    corner, style = (x - width / 2, y - height / 2), "round,pad=0,rounding_size=0.08"
    for face, alpha in (("white", 1.0), (color, fill)):  # an opaque ground first: lines end at the box's edge
        ax.add_patch(FancyBboxPatch(corner, width, height, style, fc=face, ec="none", alpha=alpha, zorder=3))
    ax.add_patch(FancyBboxPatch(corner, width, height, style, fc="none", ec=color, lw=1.2, zorder=3))
    text(ax, x, y, words, size, ink([1 - fill * (1 - c) for c in to_rgb(color)]))
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
