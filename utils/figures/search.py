"""Lesson 08b: one step of decoding, a cache that grows, the word sequences that BLEU counts."""

from collections.abc import Sequence

from .drawing import box, canvas, text
from .style import BLUE, GRAY, KEY, ORANGE, PALE, QUERY, WEIGHT, as_array, as_word


def decoding_step(source: Sequence[str], shares, said: Sequence[str], words: Sequence[str], chances):
    """One step of a decoder: where it looks in the source, what it has said, and the words it holds most probable.

    shares (S,): the cross-attention of this step to the source tokens, a box the darker the larger; said: the target
    tokens so far; words, chances (k,): the best next tokens and their probabilities, the best first.
    """
    shares, chances = as_array(shares), as_array(chances)
    ax, right = canvas(6.8, 2.9), 4.55
    step = min(0.62, 3.55 / len(source))
    for y, name, color in ((2.3, "source", GRAY), (1.2, "said", QUERY)):
        text(ax, 0.05, y, name, 10, color, ha="left")
    text(ax, 0.05, 1.87, "looks", 10, WEIGHT, ha="left")
    for i, (token, share) in enumerate(zip(source, shares, strict=True)):
        x = 0.95 + step * i
        box(ax, x, 2.3, as_word(token), 0.92 * step, 0.42, WEIGHT, min(0.75, float(share)), 12 if step > 0.4 else 8)
        if share >= 0.05:
            text(ax, x, 1.93, f"{share:.0%}", 8.5, WEIGHT)
    lines, room = [[]], 0.0
    for token in said:  # as many words in a line as fit
        width = 0.11 * max(2, len(as_word(token))) + 0.12
        if room + width > 3.6:
            lines, room = [*lines, []], 0.0
        lines[-1].append((room + width / 2, width, as_word(token)))
        room += width
    for row, line in enumerate(lines):
        for x, width, word in line:
            box(ax, 0.68 + x, 1.2 - 0.4 * row, word, width - 0.06, 0.32, QUERY, 0.12, 9.5)
    text(ax, right + 1.1, 2.72, "the next word", 10, "black")
    for i, (word, chance) in enumerate(zip(words, chances, strict=True)):
        y, color = 2.35 - 0.48 * i, QUERY if i == 0 else GRAY
        text(ax, right + 0.55, y, as_word(word), 10.5, color, ha="right", weight="bold" if i == 0 else "normal")
        ax.barh(y, 1.15 * chance, 0.26, left=right + 0.65, color=color, zorder=2)
        text(ax, right + 0.7 + 1.15 * chance, y, f"{chance:.0%}", 9.5, color, ha="left")
    return ax.figure


def growing_cache(step: int, source: Sequence[str], said: Sequence[str]):
    """What the decoder computes at a step with a cache, and without: new positions orange, kept ones gray.

    source: the source tokens; said: the target tokens from the begin mark on; at step `step`, from 1, the first `step`
    of them have been put in.
    """
    ax = canvas(6.8, 3.15)
    across = 6.0 / (max(len(source), len(said)) + 0.5)
    totals = {"with a cache": (0, step), "without": (step * len(source), step * (step + 1) // 2)}
    for top, (name, (again, decoded)) in zip((2.95, 1.35), totals.items(), strict=True):
        cached = name == "with a cache"
        encoded = len(source) if cached else again
        text(ax, 0.05, top, name, 10.5, "black", ha="left", weight="bold")
        count = f"positions computed so far: encoder {encoded}, decoder {decoded}"
        text(ax, 6.75, top, count, 9.5, ORANGE, ha="right")
        for row, tokens in enumerate((source, said)):
            y = top - 0.42 - 0.5 * row
            text(ax, 0.05, y, ("source", "said")[row], 9.5, GRAY, ha="left")
            for i, token in enumerate(tokens):
                x = 0.75 + across * (i + 0.5)
                if row == 1 and i >= step:
                    box(ax, x, y, "", 0.9 * across, 0.36, PALE, 0.0)
                    continue
                new = not cached or (step == 1 if row == 0 else i == step - 1)
                word = as_word(token)
                size = min(10.0, 72 * 1.35 * across / max(2.0, len(word)))
                box(ax, x, y, word, 0.9 * across, 0.36, KEY if new else GRAY, 0.35 if new else 0.08, size)
    return ax.figure


def shared_ngrams(ours: Sequence[str], theirs: Sequence[str], n: int):
    """The sequences of n words that BLEU counts: each of ours found in theirs, each at most as often as there, or not.

    A solid line below n words of ours is a sequence that counts, a dashed one with a cross is not in the reference, or
    is used up. The same sequence is marked in the reference.
    """
    ax, left = canvas(6.8, 2.75), []
    rows = {"ours": (ours, 2.35), "reference": (theirs, 0.95)}
    longest = max(sum(len(word) + 2 for word in words) for words, _ in rows.values())
    scale, places = 5.7 / longest, {}
    for name, (words, y) in rows.items():
        text(ax, 0.05, y, name, 10, GRAY, ha="left")
        x, places[name] = 0.98, []
        for word in words:
            width = scale * (len(word) + 2)
            places[name].append((x, x + width))
            text(ax, x + width / 2, y, word, min(12, 110 * scale))
            x += width
    left = [tuple(theirs[i : i + n]) for i in range(len(theirs) - n + 1)]
    right, total = 0, max(0, len(ours) - n + 1)
    for i in range(total):
        ngram = tuple(ours[i : i + n])
        found = ngram in left
        right += found
        if found:
            at = left.index(ngram)
            left[at] = None
            _underline(ax, places["reference"], at, n, 0.95, True)
        _underline(ax, places["ours"], i, n, 2.35, found)
    share = f" = {right / total:.0%}" if total else ""
    text(ax, 0.98, 0.12, f"n = {n}: {right} of {total} count{share}", 11, BLUE, ha="left", weight="bold")
    return ax.figure


def _underline(ax, places: list[tuple], i: int, n: int, y: float, found: bool) -> None:
    """A line below words i to i + n - 1, each sequence in one of n heights, so that neighbors stay apart."""
    start, end = places[i][0] + 0.05, places[i + n - 1][1] - 0.05
    y, color = y - 0.22 - 0.13 * (i % n), BLUE if found else ORANGE
    ax.plot([start, end], [y, y], color=color, lw=2.2 if found else 1.4, linestyle="-" if found else (0, (3, 2)))
    if not found:
        ax.plot((start + end) / 2, y, "x", color=color, ms=6, zorder=4)
