"""Figures to play with that several lessons share: where each word looks, and a query among the keys."""

import itertools
from collections.abc import Sequence

import numpy as np

from .drawing import arrow, box, canvas, columns, text
from .page import explore, spot
from .style import GRAY, KEY, PALE, QUERY, VALUE, WEIGHT, as_array, as_word


def attention_explorer(
    weights,
    asked: Sequence[str],
    asks: Sequence[str] | None = None,
    *,
    caption: str,
    alt: str,
    number: str = "",
    start=None,
) -> None:
    """Point at a word to see where it looks, by layer and head.

    weights (layers, heads, T, S): row t holds the shares that word t of `asks` (T words; without them, of `asked`)
    gives to the S words of `asked`. start: layer, head and word at first, counted from 1; head 0 is the mean. caption,
    alt and number as in `show`.
    """
    weights, asks = as_array(weights), asked if asks is None else asks
    layers, heads = ([str(i + 1) for i in range(n)] for n in weights.shape[:2])
    words = [as_word(word) for word in asks]
    words = [word if words.count(word) == 1 else f"{word} {i + 1}" for i, word in enumerate(words)]
    heads = ["mean", *heads] if len(heads) > 1 else heads
    layer, head, word = start or (1, 0, 1)

    def draw(layer, head, word):
        shares = weights[int(layer) - 1].mean(0) if head == "mean" else weights[int(layer) - 1, int(head) - 1]
        return attention_of_one(shares, asked, asks, words.index(word))

    first = layers[layer - 1], heads[head if len(heads) > 1 else 0], words[word - 1]
    choices = {"layer": layers, "head": heads, "word that asks": words}
    explore(draw, choices, caption=caption, alt=alt, number=number, start=first)


def attention_of_one(
    weights, asked: Sequence[str], asks: Sequence[str] | None = None, asking: int = 0, choice: int | None = 2
):
    """Where one word looks: weights (T, S) as in `attention_explorer`, drawn is row `asking`, the others stay gray.

    A line is as thick as its weight, the shares stand below the words that are asked; less than half a percent is
    left out. In `explore`, the words that ask are values of choice number `choice`; None: they choose nothing.
    """
    asks = asked if asks is None else asks
    ax, shares = canvas(6.8, 2.5), as_array(weights)[asking]
    together = len(asks) == len(asked)
    upper, lower = (
        ([columns([asks, asked], 0.85, 6.8)] * 2) if together else (columns([row], 0.85, 6.8) for row in (asks, asked))
    )
    text(ax, 0.02, 2.2, "asks", 9.5, QUERY, ha="left")
    text(ax, 0.02, 0.55, "is asked", 9.5, KEY, ha="left")
    text(ax, 0.02, 0.22, "share", 9.5, WEIGHT, ha="left")
    for i, (x, word) in enumerate(zip(upper, asks, strict=True)):
        if i == asking:
            box(ax, x, 2.2, "", 0.14 + 0.095 * len(as_word(word)), 0.32, QUERY, 0.08)
        text(ax, x, 2.2, as_word(word), 11, QUERY if i == asking else GRAY, weight="bold" if i == asking else "normal")
        if choice is not None:
            spot(ax, x, 2.2, min(np.diff(upper), default=1.0), 0.5, value=i, choice=choice)
    for x, word, share in zip(lower, asked, shares, strict=True):
        seen = share >= 0.005
        text(ax, x, 0.55, as_word(word), 11, "black" if seen else GRAY)
        if seen:
            arrow(ax, (x, 0.72), (upper[asking], 2.03), round(share, 2), WEIGHT, head=False)
            text(ax, x, 0.22, f"{share:.0%}", 9, WEIGHT, weight="bold" if share >= 0.2 else "normal")
    return ax.figure


def query_in_the_plane(q, keys, values, words: Sequence[str], reach: float | None = None, heard=None):
    """Attention in two dimensions: left q among the keys, each with its score, right b among the values.

    q (2,), keys and values (n, 2). Dashed: from each key straight to the line of q; how far out it meets that line,
    times the length of q, is their dot product. Right: lines as thick as the weights pull b to the values; the green
    area is all that b can reach. reach: how far the left axes go on every side, if several figures shall have the same.
    heard (n,): False hides a word, which turns gray.
    """
    import matplotlib.pyplot as plt

    q, keys, values = as_array(q), as_array(keys), as_array(values)
    heard = np.full(len(keys), True) if heard is None else np.asarray(heard, dtype=bool)
    scores, weights = _scores_and_weights(q, keys, heard)
    b, length = weights @ values, max(float(np.hypot(*q)), 1e-9)
    fig = plt.figure(figsize=(6.8, 3.5), layout="none")
    left, right = fig.add_axes((0.05, 0.09, 0.43, 0.8)), fig.add_axes((0.55, 0.09, 0.43, 0.8))
    around = [[-reach, -reach], [reach, reach]] if reach else [*keys, q, (0, 0)]
    for ax, points, room, title in (
        (left, around, 0.6 if reach else 1.2, "the query among the keys"),
        (right, values, 0.75, "b among the values"),
    ):
        low, high = np.min(points, axis=0), np.max(points, axis=0)
        middle, size = (low + high) / 2, room * max(*(high - low), 0.5)
        ax.set(xlim=middle[0] + size * np.array([-1, 1]), ylim=middle[1] + size * np.array([-1, 1]), title=title)
        ax.tick_params(labelsize=8, color=PALE, labelcolor=GRAY)
        ax.locator_params(integer=True, nbins=9)
        for line in (ax.axhline, ax.axvline):
            line(0, color=PALE, lw=0.8, zorder=0)
    if q.any():
        left.axline((0, 0), q, color=QUERY, lw=0.8, linestyle=":")
    for i in np.argsort(-np.hypot(*keys.T), kind="stable"):  # the longest first: a shorter one stays visible on it
        key, open_ = keys[i], heard[i]
        foot, color = q * (key @ q) / length**2, KEY if open_ else GRAY
        if open_:
            left.plot(*zip(key, foot, strict=True), "--", color=GRAY, lw=0.8)
        if key.any():
            arrow(left, (0, 0), key, 0.25, color)
        left.plot(*key, "o", color=color, ms=5, zorder=3)
        turn = np.sign(q[0] * key[1] - q[1] * key[0]) or 1.0  # the name stands on the side away from q
        away = 8 * turn * np.array([-key[1], key[0]]) / max(np.hypot(*key), 1e-9)
        away = away if key.any() else (0, -16) if abs(q[0]) >= abs(q[1]) else (-10, 0)
        said = f"{words[i]} {round(scores[i], 1) + 0.0:.1f}" if open_ else words[i]
        _name(left, key, said, color, tuple(np.round(away, 1)))
    arrow(left, (0, 0), q, 0.45, QUERY)
    _name(left, q, "q", QUERY, (6 if q[0] >= 0 else -6, 6 if q[1] >= 0 else -6))
    for corners in itertools.combinations(values[heard], 3):  # all triangles together are the hull
        right.fill(*np.transpose(corners), color="#E0EFEB", zorder=0)
    for value, word, share, open_ in zip(values, words, weights, heard, strict=True):
        color, said = (VALUE, f"{share:.0%}") if open_ else (GRAY, "hidden")
        if open_:
            arrow(right, value, b, round(share, 2), WEIGHT, head=False)
        right.plot(*value, "s", color=color, zorder=3)
        side = 1 if value[1] > b[1] else -1  # away from b
        _name(right, value, f"{word}\n{said}", color, (0, 5 * side))
    right.plot(*b, "o", color="black", ms=6, zorder=4)
    _name(right, b, "b", "black", (8, 2))
    return fig


def _scores_and_weights(q, keys, heard):
    """Scores over the root of 2, and their softmax over the words that are heard; nobody: zeros."""
    scores = keys @ q / 2**0.5
    powers = heard * np.exp(scores - scores[heard].max()) if heard.any() else 0 * scores
    return scores, powers / max(powers.sum(), 1.0)


def turn_the_query(keys, values, words: Sequence[str], degrees, lengths, start, *, caption, alt, number="") -> None:
    """A query in the plane that the reader turns and stretches: see `query_in_the_plane`.

    keys and values (n, 2); degrees and lengths: the values to choose from, start: the two at first. caption, alt and
    number as in `show`.
    """
    keys, values = as_array(keys), as_array(values)

    def query(direction, length):
        return length * np.array([np.cos(np.radians(direction)), np.sin(np.radians(direction))])

    def draw(direction, length):
        return query_in_the_plane(query(direction, length), keys, values, words, reach=float(max(lengths)))

    def say(direction, length):
        _, shares = _scores_and_weights(query(direction, length), keys, np.full(len(keys), True))
        return "Shares: " + ", ".join(f"{word} {share:.0%}" for word, share in zip(words, shares, strict=True)) + "."

    choices = {"direction (degrees)": degrees, "length": lengths}
    explore(draw, choices, start=start, say=say, caption=caption, alt=alt, number=number)


def hide_words(q, keys, values, words: Sequence[str], hidden: Sequence[str], *, caption, alt, number="") -> None:
    """One query in the plane, and a mask that the reader sets word by word: see `query_in_the_plane`.

    q (2,), keys and values (n, 2); hidden: the words that are hidden at first. caption, alt and number as in `show`.
    """
    q, keys, values = as_array(q), as_array(keys), as_array(values)

    def heard(choices):
        return np.array([choice == "heard" for choice in choices])

    def draw(*choices):
        return query_in_the_plane(q, keys, values, words, heard=heard(choices))

    def say(*choices):
        if not heard(choices).any():
            return "Nobody is heard, and b is zero: a decision, see the next section."
        shares = zip(words, _scores_and_weights(q, keys, heard(choices))[1], heard(choices), strict=True)
        return ", ".join(f"{word} {share:.0%}" for word, share, open_ in shares if open_) + "."

    start = ["hidden" if word in hidden else "heard" for word in words]
    explore(draw, {word: ["heard", "hidden"] for word in words}, start=start, say=say, caption=caption, alt=alt,
            number=number)  # fmt: skip


def _name(ax, point, words: str, color, away: tuple) -> None:
    """Words beside a point, `away` points to the right and above it."""

    def side(x) -> int:
        return int(np.sign(x))

    ha, va = ("right", "center", "left")[1 + side(away[0])], ("top", "center", "bottom")[1 + side(away[1])]
    ax.annotate(words, point, away, textcoords="offset points", color=color, fontsize=10, ha=ha, va=va, zorder=5)
