"""The one grammar of all figures: colors by role, a font with Chinese glyphs, numbers as they are written.

Queries are blue, keys orange, values green, weights purple, and a line is as thick as its weight; what has no part in
this step is gray. Time runs to the right, layers upwards. Keys go to the scores, values through a product to b. Nothing
is told by color alone: a label, a marker or a dash says it, too, for gray print and color-blind eyes.

matplotlib loads when a function needs it, so that importing this module takes no time.
"""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np

# Okabe and Ito's hues, apart for color-blind readers; darker, so that words in a role's color can be read (4.5 : 1 on
# white). In gray print they are alike: see above. The last row is for surfaces and lines only.
BLUE, ORANGE, GREEN, PURPLE, GRAY = "#0072B2", "#BF5000", "#007A59", "#AA4499", "#5F5F5F"
QUERY, KEY, VALUE, WEIGHT = BLUE, ORANGE, GREEN, PURPLE  # one color per role, in every lesson
YELLOW, SKY, PALE = "#C58A00", "#3C93C8", "#C8C8C8"
WORDS = {YELLOW: "#8A6100", SKY: BLUE, PALE: GRAY}  # the colors of words that belong to these
# One look for each curve of a chart, as in ax.plot(x, y, **LOOKS[0]): told apart by color, marker and dash.
LOOKS = tuple(
    {"color": color, "marker": marker, "linestyle": dash}
    for color, marker, dash in zip(
        (BLUE, ORANGE, GREEN, PURPLE, YELLOW, GRAY),
        "osD^Pv",
        ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 1))),
        strict=True,
    )
)


def use_style() -> None:
    """Switch on the course's style: opaque white, readable at 700 px, Chinese glyphs drawn."""
    import matplotlib.pyplot as plt
    from cycler import cycler
    from matplotlib import font_manager

    # zhplot ships Noto Sans SC. Importing it would reset the style, so only its font file is taken.
    folder = Path(importlib.util.find_spec("zhplot").submodule_search_locations[0]) / "fonts"
    if not any(font.name == "Noto Sans SC" for font in font_manager.fontManager.ttflist):
        font_manager.fontManager.addfont(folder / "NotoSansSC-Regular.ttf")
        # There is no bold cut: the regular one stands in, or every bold word would print a warning.
        bold = dataclasses.replace(font_manager.fontManager.ttflist[-1], weight=700)
        font_manager.fontManager.ttflist.append(bold)
    plt.rcParams.update({
        "font.family": ["DejaVu Sans", "Noto Sans SC"],  # the second is asked for glyphs the first lacks
        "font.size": 11,
        "axes.titlesize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY]),
        "axes.unicode_minus": False,
        "figure.dpi": 100,
        "figure.figsize": (6.8, 3.2),
        "figure.facecolor": "white",
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "white",
        "legend.frameon": False,
    })  # fmt: skip


def luminance(color) -> float:
    """Relative luminance of a color (WCAG 2): 0 for black, 1 for white."""
    from matplotlib.colors import to_rgb

    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot(light, (0.2126, 0.7152, 0.0722)))


def contrast(one, other) -> float:
    """How far two colors stand apart (WCAG 2), from 1 to 21; words need 4.5."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def ink(ground) -> str:
    """Black or white, whichever reads better on a ground of this color: at least 4.5 : 1 on any."""
    return max("black", "white", key=lambda words: contrast(words, ground))


def as_array(values) -> np.ndarray:
    """A tensor (on any device, with or without gradient) or a nested list, as a NumPy array of floats."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values, dtype=float)


def as_word(token: str) -> str:
    """A token as a picture writes it: without the sign for a space, and the marks in words."""
    return token.replace("▁", "").replace("<eos>", "end").replace("<bos>", "begin")


def number(x) -> str:
    """At most two decimals, no trailing zeros, no minus before a zero: 2, 0.7, -0.38."""
    return f"{round(float(x), 2) + 0.0:g}"
