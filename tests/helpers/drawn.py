"""What a test reads back from a drawn figure: its words, its lines and where they stand."""

import matplotlib
import numpy as np
from matplotlib.patches import FancyArrowPatch


def words_on(figure) -> list[str]:
    return [t.get_text() for ax in figure.axes for t in ax.texts if t.get_text()]


def lines_on(figure, color: str | None = None) -> list[FancyArrowPatch]:
    """All arrows of one color (or of any), in drawing order."""
    found = [patch for ax in figure.axes for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    return [line for line in found if color is None or line.get_edgecolor() == matplotlib.colors.to_rgba(color)]


def widths(figure, color: str) -> list[float]:
    """Thickness of all arrows of one color, in drawing order."""
    return [line.get_linewidth() for line in lines_on(figure, color)]


def assert_words_stand_apart(figure) -> None:
    """No word is cut off by the sheet's edge, and no two overlap."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    found = [t.get_window_extent(renderer) for ax in figure.axes for t in ax.texts if t.get_text()]
    for i, one in enumerate(found):
        inside = figure.bbox.x0 <= one.x0 and one.x1 <= figure.bbox.x1 and figure.bbox.y0 <= one.y0
        assert inside and one.y1 <= figure.bbox.y1, words_on(figure)[i]
        assert not any(one.overlaps(other) for other in found[i + 1 :]), words_on(figure)[i]


def contrasts(figure) -> dict[str, float]:
    """The contrast of each word with what is drawn behind it, measured on the pixels of its box (their median)."""
    from utils.figures.style import contrast

    words = [t for t in figure.findobj(matplotlib.text.Text) if t.get_visible() and t.get_text().strip()]
    figure.canvas.draw()
    boxes = [word.get_window_extent() for word in words]
    colors = [word.get_color() for word in words]
    for word in words:
        word.set_alpha(0)  # invisible, but with its room
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3] / 255  # the first row below, as boxes count
    found = {}
    for word, box, color in zip(words, boxes, colors, strict=True):
        behind = pixels[max(0, int(box.y0)) : int(box.y1) + 1, max(0, int(box.x0)) : int(box.x1) + 1].reshape(-1, 3)
        if len(behind):  # a label of an axis that is not shown lies outside
            found[word.get_text()] = min(contrast(color, np.median(behind, axis=0)), found.get(word.get_text(), 21.0))
    return found
