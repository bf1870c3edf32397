"""Lesson 05: positions are added (the lecture's figures 11 and 12), and the clock hands that they are made of."""

import itertools
from collections.abc import Sequence

import numpy as np

from .drawing import arrow, box, canvas, node, text, vector
from .matrices import CELL, matrix
from .style import BLUE, GRAY, KEY, LOOKS, ORANGE, PALE, PURPLE, QUERY, VALUE, YELLOW, as_array


def positions_added(words: Sequence[str], a, e, q, k, v):
    """The lecture's figure 11: e^i is added to a^i, and the sum gives q^i, k^i, v^i.

    n words; a and e (n, d), q, k and v (n, d_k) hold one vector per row, drawn as a column.
    """
    n = len(words)
    ax = canvas(6.8, 3.75)
    for i, word in enumerate(words):
        x = (i + 0.5) * 6.8 / n
        text(ax, x - 0.45, 0.16, word, 12, weight="bold")
        text(ax, x + 0.45, 0.16, f"place {i + 1}", 10, GRAY)
        content = vector(ax, x - 0.45, 0.95, a[i])
        place = vector(ax, x + 0.45, 0.95, e[i], YELLOW, fill=0.3)
        text(ax, x - 0.87, 0.95, f"$a^{i + 1}$", 12)
        text(ax, x + 0.88, 0.95, f"$e^{i + 1}$", 12)
        plus = node(ax, x, 1.85, "+")
        arrow(ax, content.top, plus.left)
        arrow(ax, place.top, plus.right, color=YELLOW)
        for name, role, color, dx in (("q", q, QUERY, -0.6), ("k", k, KEY, 0.0), ("v", v, VALUE, 0.6)):
            shape = vector(ax, x + dx, 2.85, role[i], color, cell=(0.52, 0.25))
            arrow(ax, plus.top, shape.bottom, color=color)
            text(ax, x + dx, shape.top[1] + 0.2, f"${name}^{i + 1}$", 12, color)
    return ax.figure


def one_hot_appended(W_I, W_P, x, p):
    """The lecture's figure 12: W [x; p] = W^I x + W^P p = a + e, with W = [W^I W^P].

    W_I (d, d_x), W_P (d, n), one-hot x (d_x,) and p (n,); the columns that x and p pick are filled.
    """
    d_x, n, height = len(x), len(p), CELL[1] * (len(x) + len(p))
    word, place = int(as_array(x).argmax()), int(as_array(p).argmax())
    low, high, number = 0.15 + height / 2, 0.55 + 1.5 * height, place + 1
    ax = canvas(6.8, 1.0 + 2 * height)

    def named(shape, name, color):
        text(ax, shape.x, shape.bottom[1] - 0.15, f"${name}^{number}$", 12, color)

    left = matrix(ax, 2.2, high, W_I, GRAY, "W^I", strong=word)
    right = matrix(ax, left.right[0] + CELL[0] * n / 2, high, W_P, YELLOW, "W^P", strong=place)
    above = left.top[1] + 0.1
    ends = (left.left[0] + 0.02, above - 0.06), (right.right[0] - 0.02, above - 0.06)
    ax.plot(*zip(ends[0], (ends[0][0], above), (ends[1][0], above), ends[1], strict=True), color=GRAY, lw=1)
    text(ax, (ends[0][0] + ends[1][0]) / 2, above + 0.16, "$W = [W^I \\; W^P]$", 12)
    for letter, one_hot, color, dy in (("x", x, GRAY, n), ("p", p, YELLOW, -d_x)):  # x above, p below it
        part = vector(ax, right.right[0] + 0.5, high + CELL[1] * dy / 2, one_hot, color)
        text(ax, part.x + 0.45, part.y, f"${letter}^{number}$", 12, color)

    spot, summands = 0.35, ((W_I, x, word, "I", "x", "a", GRAY), (W_P, p, place, "P", "p", "e", YELLOW))
    text(ax, spot, low, "=", 14)
    for W, one_hot, picked, name, letter, _, color in summands:
        grid = matrix(ax, spot + 0.25 + CELL[0] * len(one_hot) / 2, low, W, color, f"W^{name}", strong=picked)
        named(vector(ax, grid.right[0] + 0.38, low, one_hot, color), letter, color)
        spot = grid.right[0] + 0.8
        text(ax, spot, low, "+" if name == "I" else "=", 14)
    for W, _, picked, _, _, letter, color in summands:
        named(vector(ax, spot + 0.42, low, as_array(W)[:, picked], color, fill=0.4), letter, color)
        spot += 0.84
        text(ax, spot, low, "+" if letter == "a" else "", 14)
    return ax.figure


def clock_faces(e, positions: Sequence[int], periods: Sequence[str]):
    """Clocks in a grid, each above its two numbers as colors: a column for each of `positions`, a row for each hand.

    e (n_positions, d) in the interleaved layout: the tip of hand i stands at (x, y) = (e[2i], e[2i+1]), so it points up
    at position 0 and turns clockwise. `periods` says for each hand how long one turn takes. Colors run from -1 (orange)
    over 0 (white) to 1 (purple), the sine e[2i] above the cosine e[2i+1]. Dots stand where positions are left out.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Circle, Rectangle

    gaps = [0.24 * int(after - before > 1) for before, after in itertools.pairwise(positions)]
    e, step, pitch = as_array(e), (5.4 - sum(gaps)) / len(positions), 0.98
    radius = min(0.3, 0.45 * step)
    n_pairs = e.shape[1] // 2
    ax = canvas(6.8, pitch * n_pairs + 0.45)
    text(ax, 0.05, pitch * n_pairs + 0.25, "position", 10, GRAY, ha="left")
    for column, p in enumerate(positions):
        x = 1.35 + (column + 0.5) * step + sum(gaps[:column])
        text(ax, x, pitch * n_pairs + 0.25, str(p), 11)
        if column and gaps[column - 1]:
            for y in [pitch * n_pairs + 0.25, *(pitch * (n_pairs - i - 1) + 0.38 + radius for i in range(n_pairs))]:
                text(ax, x - step / 2 - 0.12, y, "...", 11, GRAY)
        for i in range(n_pairs):
            low = pitch * (n_pairs - i - 1) + 0.08
            y = low + 0.3 + radius
            ax.add_patch(Circle((x, y), radius, fc="white", ec=PALE, lw=1.2, zorder=2))
            tip = x + 0.98 * radius * e[p, 2 * i], y + 0.98 * radius * e[p, 2 * i + 1]
            arrow(ax, (x, y), tip, 0.3, ORANGE)
            for value, bottom in ((e[p, 2 * i], low + 0.13), (e[p, 2 * i + 1], low)):
                color = colormaps["PuOr"]((value + 1) / 2)
                ax.add_patch(Rectangle((x - radius, bottom), 2 * radius, 0.13, fc=color, ec=PALE, lw=0.8))
    for i, period in enumerate(periods):
        low = pitch * (n_pairs - i - 1) + 0.08
        text(ax, 0.05, low + 0.3 + radius, f"hand {i}: one turn\n{period}", 9, GRAY, ha="left")
        text(ax, 1.3, low + 0.195, "sine", 8, GRAY, ha="right")
        text(ax, 1.3, low + 0.065, "cosine", 8, GRAY, ha="right")
    return ax.figure


def paint(ax, matrix, title="", **labels):
    """A matrix of sines and cosines in colors, -1 orange, 0 white, 1 purple; returns the image, for a color bar."""
    image = ax.imshow(as_array(matrix), cmap="PuOr", vmin=-1, vmax=1, aspect="auto", interpolation="none")
    ax.set(title=title, **labels)
    ax.spines[:].set_visible(False)
    return image


def position_matrix(W_P, base: float = 10000.0):
    """W^P, (d, n) in the interleaved layout, as a heat map that says how to read it: turns, half turns, slow hands."""
    import matplotlib.pyplot as plt

    W_P = as_array(W_P)
    d = len(W_P)
    fig, ax = plt.subplots(figsize=(6.8, 4.2))
    label = dict(va="center", fontsize=9, bbox=dict(fc="white", ec="none", pad=1.5))
    image = paint(ax, W_P, xlabel="position (column of $W^P$)", ylabel="dimension (row of $W^P$)")
    ax.set(yticks=[*range(0, d, 16), d - 1])
    for row in (0, 8, 16):
        turn, y = 2 * np.pi * base ** (row / d), row - 1.2
        for color, width in (("white", 5), ("black", 2)):  # a rim, to be seen on any ground
            line = dict(arrowstyle="<->", color=color, lw=width, shrinkA=0, shrinkB=0)
            ax.annotate("", (0, y), (turn, y), annotation_clip=False, arrowprops=line)
        ax.text(turn + 1, y, f"one turn: {turn:.0f} positions", **label)
    hands = np.arange(12)
    half = np.pi * base ** (2 * hands / d)
    ax.plot(half, 2 * hands + 0.5, "o:", color="black", markeredgecolor="white", markersize=5)
    ax.text(half[-1] + 2, 22.5, "half a turn", **label)
    ax.text(50, 43, "slow hands: sine rows stay near 0 (white),", ha="center", **label)
    ax.text(50, 46.5, "cosine rows near 1 (purple)", ha="center", **label)
    fig.colorbar(image, ax=ax, shrink=0.7, ticks=[-1, 0, 1])
    return fig


def turned_pair(q, k, place: int, distance: int, speed: float = 1.0):
    """Rotary in one plane: q turned for its place, k for its place `distance` farther on; the angle between them stays.

    q and k (2,) are drawn pale as they were, and full as turned by place * speed, counter-clockwise.
    """
    import matplotlib.pyplot as plt

    fig = plt.figure(figsize=(6.8, 3.3), layout="none")
    ax = fig.add_axes((0.26, 0.03, 0.48, 0.9))
    reach = 1.3 * max(np.hypot(*as_array(q)), np.hypot(*as_array(k)))
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.axis("off")
    for line in (ax.axhline, ax.axvline):
        line(0, color=PALE, lw=0.8, zorder=0)
    angles = []
    for words, at, color, name in ((q, place, QUERY, "q"), (k, place + distance, KEY, "k")):
        x, angle = as_array(words), at * speed
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ x
        ax.plot(*zip((0, 0), x, strict=True), ":", color=color, lw=1.4)
        arrow(ax, (0, 0), turned, 0.45, color)
        angles.append(np.arctan2(turned[1], turned[0]))
        text(ax, *(1.14 * turned), f"${name}$, place {at}", 10, color)
        text(ax, *(1.1 * x), f"${name}$", 10, color)
    start, between = angles[0], np.remainder(angles[1] - angles[0] + np.pi, 2 * np.pi) - np.pi
    arc = start + np.linspace(0, between, 40)
    ax.plot(0.4 * np.cos(arc), 0.4 * np.sin(arc), color="black", lw=1.5)
    return fig


def one_hand(speed: float, distance: int, seen: int, hand: int = 0, longest: int = 64):
    """What one hand says of a distance: left on a clock, right its sine for all distances.

    The hand turns by `speed` (radians) for each place that the key stands after the query, to the left of 0 before it.
    `seen`: the longest distance of the training, whose angles are shaded.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Circle, Wedge

    fig = plt.figure(figsize=(6.8, 2.9), layout="none")
    clock, wave = fig.add_axes((0.02, 0.1, 0.34, 0.74)), fig.add_axes((0.46, 0.2, 0.52, 0.64))
    clock.set(xlim=(-2.1, 2.1), ylim=(-1.4, 1.4), aspect="equal", title=f"hand {hand}")
    clock.axis("off")
    clock.add_patch(Circle((0, 0), 1, fc="white", ec=GRAY, lw=1.2))
    far = min(np.degrees(seen * speed), 180)
    clock.add_patch(Wedge((0, 0), 1, 90 - far, 90 + far, fc=PALE, ec="none", alpha=0.6, zorder=1))
    clock.plot((0, 0), (-1, 1), ":", color=GRAY, lw=0.8)
    angle, after = distance * speed, np.sin(distance * speed) > 0
    arrow(clock, (0, 0), (0.97 * np.sin(angle), 0.97 * np.cos(angle)), 0.5, PURPLE)
    for words, x, side in (("before", -1.62, False), ("after", 1.45, True)):
        chosen = distance != 0 and side == after
        text(clock, x, 0, words, 10.5, PURPLE if chosen else GRAY, weight="bold" if chosen else "normal")
    text(clock, 0, 1.2, "same place", 9, GRAY)
    places = np.linspace(-longest, longest, 40 * longest // 8 + 1)
    wave.axvspan(-seen, seen, color=PALE, alpha=0.5, lw=0)
    wave.axhline(0, color=GRAY, lw=0.8, linestyle=":")
    wave.plot(places, np.sin(places * speed), color=BLUE, lw=1.2)
    wave.plot(distance, np.sin(angle), "o", color=PURPLE, ms=8, zorder=4)
    wave.set(ylim=(-1.15, 1.15), xticks=range(-longest, longest + 1, longest // 4), yticks=(-1, 0, 1))
    wave.set(xlabel="distance: key after (+) or before (-) the query", title=f"its sine at distance {distance}")
    wave.tick_params(labelsize=9)
    return fig


def who_comes_first(words: Sequence[str], asks: str = "我", about: str = "你"):
    """The question of the lesson: does `asks` stand before `about`? A sentence (n words), and below it its reverse."""
    ax, step = canvas(6.8, 1.9), 0.62
    for y, row, name in ((1.45, list(words), "sentence"), (0.5, list(words)[::-1], "reverse")):
        text(ax, 0.05, y, name, 10, GRAY, ha="left")
        at = {word: 1.3 + step * place for place, word in enumerate(row)}
        for word, x in at.items():
            color = {asks: QUERY, about: KEY}.get(word, GRAY)
            box(ax, x, y, word, 0.46, 0.42, color, 0.15 if color != GRAY else 0.05, 13)
        first = row.index(asks) < row.index(about)
        arrow(ax, (at[asks], y + 0.24), (at[about], y + 0.24), 0.3, QUERY)
        text(ax, 1.35 + step * len(row), y, f"{asks} before {about}?  {'yes' if first else 'no'}", 11, ha="left")
    return ax.figure


def right_by_places(blocks: dict, seen: int = 16, longest: int = 64):
    """Percent of right answers by the places of 我 (rows) and 你 (columns), a map for each scheme: {name: (k, k)}.

    `longest` places each way in k blocks; a frame encloses the places below `seen`.
    """
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, len(blocks) // 2, figsize=(6.8, 4.7), sharex=True, sharey=True)
    for ax, (name, right) in zip(axes.flat, blocks.items(), strict=True):
        image = ax.imshow(right, cmap="PuOr", vmin=0, vmax=100, extent=(0, longest, longest, 0))
        ax.add_patch(plt.Rectangle((0, 0), seen, seen, fill=False, lw=1.5))
        ax.set(title=name, xticks=range(0, longest + 1, 16), yticks=range(0, longest + 1, 16))
    fig.supxlabel("place of 你 (frame: seen in training)", fontsize=11)
    fig.supylabel("place of 我", fontsize=11)
    fig.colorbar(image, ax=axes, shrink=0.7, label="right answers (%)")
    return fig


def right_by_distance(curves: dict, seen: int = 15):
    """Percent of right answers at distance 1, 2, ..., a panel for each scheme: {name: (seeds, distances)}."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, len(curves) // 2, figsize=(6.8, 4.3), sharex=True, sharey=True)
    for ax, (name, seeds) in zip(axes.flat, curves.items(), strict=True):
        ax.axvspan(1, seen, color=PALE, alpha=0.5, lw=0)
        ax.axhline(50, color=GRAY, linestyle=":")
        for right in seeds:
            ax.plot(range(1, len(right) + 1), right, color=BLUE, lw=1, alpha=0.7)
        ax.set(title=name, ylim=(-4, 104), xticks=range(0, len(right) + 2, 16))
    fig.supxlabel("distance of 我 and 你, 64 words (gray: seen in training)", fontsize=11)
    fig.supylabel("right answers (%)", fontsize=11)
    return fig


def other_paces(curves: dict):
    """Right answers by distance, a panel for each hand: curves {(hand, factor of its speed): percent at 1, 2, ...}."""
    import matplotlib.pyplot as plt

    hands = sorted({hand for hand, _ in curves})
    fig, axes = plt.subplots(2, len(hands) // 2, figsize=(6.8, 4.4), sharex=True, sharey=True)
    for hand, ax in zip(hands, axes.flat, strict=True):
        mine = sorted((factor, curve) for (other, factor), curve in curves.items() if other == hand)
        for (factor, curve), look in zip(mine, (LOOKS[2], LOOKS[0], LOOKS[1]), strict=True):
            ax.plot(range(1, len(curve) + 1), curve, **look | {"marker": ""}, lw=1.8, label=f"speed x {factor:g}")
        ax.axhline(50, color=GRAY, linestyle=":", lw=1)
        ax.set(title=f"hand {hand} changed", ylim=(-4, 104), xticks=range(0, len(curve) + 2, 16))
    axes.flat[0].legend(loc="lower left", fontsize=9)
    fig.supxlabel("distance between 我 and 你", fontsize=11)
    fig.supylabel("right answers (%)", fontsize=11)
    return fig
