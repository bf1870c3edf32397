"""The one style of all figures: colors by role, a font with Chinese glyphs, numbers as they are written.

matplotlib loads when a function needs it, so that importing this module takes no time.
"""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np

# Okabe and Ito's palette: the colors stay apart for color-blind readers and in gray print.
BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9"
GRAY, PALE = "#5F5F5F", "#C8C8C8"
QUERY, KEY, VALUE, WEIGHT = BLUE, ORANGE, GREEN, PURPLE  # one color per role, in every lesson


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
