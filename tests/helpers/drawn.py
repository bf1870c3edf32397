"""What a test reads back from a drawn figure: its words, its lines and where they stand."""

import matplotlib
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
