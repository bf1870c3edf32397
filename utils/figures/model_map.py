"""The map of the whole Transformer: at the head of every lesson with its part lit, and in detail with its norms."""

from collections.abc import Iterable, Mapping

from .drawing import Shape, arrow, box, canvas, node, text
from .style import BLUE, GRAY, GREEN, KEY, ORANGE, PALE, PURPLE, VALUE, YELLOW

# The parts, as `lit` and `labels` name them, and their colors where they are lit.
PARTS = {
    "source words": GRAY, "target words": GRAY, "embedding": PURPLE, "positions": PURPLE, "self-attention": ORANGE,
    "masked self-attention": ORANGE, "cross-attention": ORANGE, "feed-forward": BLUE, "norm": YELLOW,
    "linear, softmax": GREEN, "next word": GREEN,
}  # fmt: skip
ATTENTION = ("self-attention", "masked self-attention")
LESSONS = {  # the lesson: its subject, and the parts that are its own
    "01": ("reading a sequence", ATTENTION),
    "02": ("self-attention", ATTENTION),
    "03": ("attention in matrices", ATTENTION),
    "04": ("many heads", (*ATTENTION, "cross-attention")),
    "05": ("positions", ("positions",)),
    "06": ("encoder and decoder", ("cross-attention", "source words", "target words", "next word")),
    "07": ("the Transformer", tuple(PARTS)),
    "08": ("training a translator", ("source words", "target words", "linear, softmax", "next word")),
    "08b": ("search and scores", ("target words", "linear, softmax", "next word")),
    "09": ("BERT and GPT", (*ATTENTION, "feed-forward", "linear, softmax")),
    "10": ("since 2017", ("positions", *ATTENTION, "feed-forward", "norm")),
}
BOX, BAR = 0.28, 0.19  # inches: heights


def you_are_here(lesson: str):
    """The map, the parts of the lesson ("02") colored, beside the list of all lessons."""
    ax, step = canvas(6.8, 3.65), min(0.34, 3.4 / len(LESSONS))
    _model(ax, 0.0, 3.95, LESSONS[lesson][1])
    for i, (name, (subject, _)) in enumerate(LESSONS.items()):
        y, here = 1.82 + step * ((len(LESSONS) - 1) / 2 - i), name == lesson
        if here:
            box(ax, 5.54, y, "", 2.5, 0.9 * step, BLUE, 0.15)
        style = dict(size=10, color="black" if here else GRAY, ha="left", weight="bold" if here else "normal")
        text(ax, 4.4, y, name, **style)
        text(ax, 4.78, y, subject, **style)
    return ax.figure


def pre_and_post_norm(lit: Iterable[str] = (), labels: Mapping[str, str] | None = None):
    """The map twice: a norm before each sublayer (pre-norm: today's models and ours), and after it (post-norm, 2017).

    labels: what to write behind the name of a part, such as {"norm": "§3"}.
    """
    ax = canvas(6.8, 5.75)
    titles = {"pre": "pre-norm: x + sublayer(norm(x))", "post": "post-norm: norm(x + sublayer(x))"}
    for left, (norm, title) in zip((0.04, 3.42), titles.items(), strict=True):
        text(ax, left + 1.65, 5.62, title, 9.5, weight="bold")
        _model(ax, left, 3.2, lit, norm, labels)
    return ax.figure


def _model(ax, left: float, wide: float, lit: Iterable[str], norm: str | None = None, labels=None) -> None:
    """Encoder and decoder, `wide` inches from `left` on; norms are only named, or each a box ("pre", "post")."""
    from matplotlib.patches import Rectangle

    lit, labels, width = set(lit), labels or {}, 0.39 * wide
    unknown = (lit | set(labels)) - set(PARTS)
    if unknown:
        raise ValueError(f"the map has no part {sorted(unknown)}: name some of {list(PARTS)}")

    def title(x, y, name, words="", size=9.0) -> None:
        words = f"{words or name} {labels.get(name, '')}".strip()
        size = min(size, 7.0) if len(words) > 22 else size  # as wide as its box
        text(ax, x, y, words, size, "black" if name in lit else GRAY)

    def part(x, bottom, name, words="", height=BOX) -> Shape:
        shape = box(
            ax, x, bottom + height / 2, "", width, height, *((PARTS[name], 0.3) if name in lit else (PALE, 0.0))
        )
        title(x, shape.y, name, words, 8.5 if height == BOX and norm is None else 7.7)
        return shape

    def column(x, words, sublayers, side) -> tuple[list[Shape], float]:
        """From the words up to the end of the layer: the sublayers' boxes, and the height of the end."""
        title(x, 0.12, words)
        table = part(x, 0.37, "embedding")
        arrow(ax, (x, 0.2), table.bottom)
        end = part(x, table.top[1], "positions", "+ positions", BAR).top[1]
        floor, shapes = end + 0.07, []
        for name in sublayers:
            shape, end = _sublayer(ax, part, x, end, name, norm, side * (width / 2 + 0.08))
            shapes.append(shape)
        inner, outer = width / 2 + 0.06, width / 2 + (0.06 if norm is None else 0.14)
        corner, height = (x - (inner if side > 0 else outer), floor), end + 0.06 - floor
        ax.add_patch(Rectangle(corner, inner + outer, height, fc="#F4F4F4", ec=PALE, zorder=0))
        name, y, va = ("decoder", floor + height, "top") if side > 0 else ("encoder", floor, "bottom")
        text(ax, x + side * (outer + 0.1), y, f"{name}, N layers", 8.5, GRAY, rotation=90, va=va)
        if norm == "pre":  # what leaves the last layer is normed once more
            last = part(x, end + 0.19, "norm", height=BAR)
            arrow(ax, (x, end), last.bottom)
            end = last.top[1]
        return shapes, end

    encoder, decoder, middle = left + 0.283 * wide, left + 0.757 * wide, left + 0.512 * wide
    _, top = column(encoder, "source words", ("self-attention", "feed-forward"), -1)
    (_, cross, _), end = column(
        decoder, "target words", ("masked self-attention", "cross-attention", "feed-forward"), 1
    )
    out = part(decoder, end + 0.2, "linear, softmax")
    arrow(ax, (decoder, end), out.bottom)
    arrow(ax, out.top, (decoder, out.top[1] + 0.17))
    title(decoder, out.top[1] + 0.26, "next word")
    for color, shift in ((KEY, 0.035), (VALUE, -0.035)):  # of the encoder's output, for every layer of the decoder
        across = [top + 0.16 + shift] * 2
        ax.plot(
            [encoder + shift] * 2 + [middle - shift] * 2, [top, *across, cross.y + shift], color=color, lw=1.3, zorder=2
        )
        arrow(ax, (middle - shift, cross.y + shift), (cross.left[0], cross.y + shift), color=color)
    text(ax, middle - 0.05, top + 0.3, "keys, values", 8.5, GRAY, ha="right")


def _sublayer(ax, part, x: float, entry: float, name: str, norm: str | None, around: float) -> tuple[Shape, float]:
    """A sublayer above the height `entry` with what stands around it: its box, and the height where it ends.

    part draws a box of the map; the line that carries the input past the sublayer runs at x + around.
    """
    gap = 0.16
    if norm is None:
        shape = part(x, entry + gap, name)
        arrow(ax, (x, entry), shape.bottom)
        return shape, part(x, shape.top[1], "norm", "add, norm", BAR).top[1]
    order = ("norm", name, "+") if norm == "pre" else (name, "+", "norm")
    end, shapes = entry, {}
    for one in order:
        if one == "+":
            shapes[one] = node(ax, x, end + gap + 0.08, "+", 0.08, size=9)
        else:
            shapes[one] = part(x, end + gap, one, height=BAR if one == "norm" else BOX)
        arrow(ax, (x, end), shapes[one].bottom)
        end = shapes[one].top[1]
    plus, branch = shapes["+"], entry + 0.07
    ax.plot([x, x + around, x + around], [branch, branch, plus.y], color=GRAY, lw=1, zorder=2)
    arrow(ax, (x + around, plus.y), plus.right if around > 0 else plus.left)
    return shapes[name], end
