"""How a figure gets onto the page: `show`, and `explore` for one that the reader can play with.

A cell's output is read in many places. A trusted JupyterLab and a rendered page run scripts; an untrusted JupyterLab
and GitHub drop scripts, drawings and data from HTML, but show a picture that is an output of its own. So each figure
is two outputs: the picture, and below it the caption with the picture in words. Where scripts run, a few lines give
the picture its alt text, or put the live figure in its place.
"""

import base64
import html
import io
import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from utils import language

PIXELS = 100  # on the page, for an inch of the figure
SCRIPTS = {name: (Path(__file__).parent / f"{name}.js").read_text(encoding="utf-8") for name in ("alt", "explore")}


def show(figure, *, caption: str, alt: str, number: str = "") -> None:
    """Show a finished figure (or its axes), and below it "Figure 2.3" and the caption.

    number: "2.3" is the third figure of lesson 02, without one the caption stands alone; caption: what the figure
    finds, a sentence or two; alt: what is seen on it, for those who cannot see it. Write all three as plain strings
    into the cell, without formulas: the cell may be run again, and a second language takes their place.
    """
    caption, alt = language.caption(caption), language.caption(alt, "alt")
    figure = figure.figure
    diagram = figure.get_layout_engine() is None  # a sheet of `canvas`: a drawing, too, and not cut at its edges
    picture = _png(figure) if diagram else _png(figure, bbox_inches="tight")
    script = f"<script>{SCRIPTS['alt']}</script>"
    _display(picture, caption_html(number, caption, alt, script), alt, svg(figure) if diagram else None)
    _close(figure)


def explore(
    draw: Callable, choices: dict[str, Sequence], *, caption: str, alt: str, number: str = "", start=None, say=None
) -> None:
    """Show a figure that the reader can play with, no kernel needed: it is drawn here, once for each state.

    draw(*values) returns the figure (or its axes) for one value of each choice. choices: {"name": values}; words, and
    up to five numbers, become buttons, more numbers a slider. start: the values at first (else the first ones), drawn
    as the still that remains where no script runs. say(*values): a sentence below the figure. caption, alt and
    number as in `show`; `spot` makes a part of the figure choose a value.
    """
    caption, alt = language.caption(caption), language.caption(alt, "alt")
    values = [list(found) for found in choices.values()]
    start = tuple(found[0] for found in values) if start is None else tuple(start)
    # What frames have in common is stored once: shapes of letters, and pieces of the drawing {piece: its number}.
    letters, pieces, frames, still = {}, {}, [], None
    for state in itertools.product(*values):
        figure = draw(*state).figure
        if state == start:
            still = _png(figure)
        drawing = re.sub(r' xmlns[^ ]*"', "", svg(figure, f"figure-{number}-")).replace('"', "'")
        for shapes in re.findall(r"<defs>(.*?)</defs>", drawing):
            letters |= dict.fromkeys(re.split(r"(?=<path id|<clipPath id)", shapes))
        parts = re.split(r"(?=<g\b)", re.sub(r"<defs>.*?</defs>", "", drawing))
        frames.append([pieces.setdefault(part, len(pieces)) for part in parts])
        _close(figure)
    if still is None:
        raise ValueError(f"start={start}: give one of the values of each choice, {list(choices.values())}")
    data = {
        "alt": alt,
        "choices": [
            {"name": name, "values": [f"{v}" for v in found], "start": found.index(v), "slider": _slides(found)}
            for (name, found), v in zip(zip(choices, values, strict=True), start, strict=True)
        ],
        "said": [say(*state) for state in itertools.product(*values)] if say else [],
        "frames": frames,
        "pieces": list(pieces),
        "letters": "".join(letters),
    }
    stored = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    script = f'<script type="application/json" class="frames">{stored}</script>\n<script>{SCRIPTS["explore"]}</script>'
    _display(still, caption_html(number, caption, alt, script), alt)


def spot(ax, x, y, width, height, value: int, choice: int = 0) -> None:
    """In a figure for `explore`, an area, centered on (x, y), that chooses the value of this index when pointed at."""
    from matplotlib.patches import Rectangle

    area = Rectangle((x - width / 2, y - height / 2), width, height, fc="none", ec="none", zorder=9)
    area.set_gid(f"pick:{choice}:{value}")
    ax.add_artist(area)


def caption_html(number: str, caption: str, alt: str, script: str = "") -> str:
    """The second output of a figure, in the learner's language."""
    name = f"<b>{language.word('Figure')} {number}.</b> " if number else ""
    in_words = language.word("The picture in words")
    return (
        f'<div class="figure-caption" style="max-width: 680px; margin-bottom: 12px">{name}{html.escape(caption)}\n'
        f'<details style="font-size: 90%"><summary>{in_words}</summary>{html.escape(alt)}</details>\n{script}</div>'
    )


def svg(figure, name: str = "") -> str:
    """The figure as an SVG element, letters as outlines; `name` begins its ids, so that two may stand on one page."""
    constant = {"svg.hashsalt": "ids", "svg.fonttype": "path"}
    text = _saved(figure, format="svg", metadata={"Date": None}, rc=constant).decode()
    text = text[text.index("<svg") :]
    # A style element would reach every drawing of the page. Ids are kept only where something refers to them.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="pick:(\d+:\d+)"', r'<g data-pick="\1"', text)
    text = re.sub(r'<g id="[^"]*"', "<g", text).replace("xlink:href", "href")
    text = re.sub(r'( id="|href="#|url\(#)', rf"\1{name}", text)
    text = re.sub(r"-?\d+\.\d{3,}", lambda found: _rounded(float(found[0])), text)
    text = re.sub(r"\s+", " ", text).replace("> <", "><").strip()
    width, height = (PIXELS * figure.get_size_inches()).round().astype(int)
    look = f'width="{width}" height="{height}" style="stroke-linejoin: round; stroke-linecap: butt"'
    return re.sub(r'width="[^"]*" height="[^"]*"', look, text, count=1)


def _rounded(x: float) -> str:
    """Hundredths of a point; small numbers are scales, which need their digits."""
    return f"{x:.2f}".rstrip("0").rstrip(".") if abs(x) >= 1 else f"{x:.3g}"


def _slides(values: Sequence) -> bool:
    return len(values) > 5 and not any(isinstance(value, str) for value in values)


def _png(figure, **how):
    """A picture with twice the page's pixels, in 128 colors (a PIL image)."""
    from PIL import Image

    file = io.BytesIO(_saved(figure, format="png", dpi=2 * PIXELS, **how))
    return Image.open(file).convert("RGB").quantize(128, dither=Image.Dither.NONE)


def _saved(figure, rc: dict | None = None, **how) -> bytes:
    import matplotlib

    file = io.BytesIO()
    # savefig would leave a sheet without a layout engine with the one of the style.
    with matplotlib.rc_context({"figure.constrained_layout.use": False} | (rc or {})):
        figure.savefig(file, **how)
    return file.getvalue()


def _display(picture, caption: str, alt: str, drawing: str | None = None) -> None:
    from IPython.display import HTML, display

    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    data = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": f"<Figure: {alt}>"}
    metadata = {"image/png": {"alt": alt, "width": picture.width // 2}}
    if drawing:
        data["image/svg+xml"], metadata["image/svg+xml"] = drawing, {"alt": alt}
    display(data, metadata=metadata, raw=True)
    display(HTML(caption))


def _close(figure) -> None:
    import matplotlib.pyplot as plt

    plt.close(figure)  # or the notebook would show it once more
