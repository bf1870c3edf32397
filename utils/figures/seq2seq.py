"""Lesson 06: encoder and decoder, with one vector or a new one for every word; a Transformer that writes a word."""

from collections.abc import Sequence

from .drawing import arrow, box, canvas, columns, text, vector
from .page import spot
from .style import GRAY, KEY, PALE, QUERY, VALUE, WEIGHT, as_array, as_word


def encoder_decoder(
    source: Sequence[str], h, read: Sequence[str], s, written: Sequence[str], c=None, weights=None, lit=None
):
    """RNN encoder (orange) and decoder (blue); without `weights` the last state is all that the decoder gets.

    h (n, d): encoder states of the n source words; s (T, d): decoder states after reading the words `read`; on top the
    words `written` next. With contexts c (T, d) and weights (T, n), lines from every h to every c, as thick as its
    weight (purple); lit: one word, from 0, the lines of all others are pale then.
    """
    n, steps, attends = len(source), len(read), weights is not None
    ax, top = canvas(6.8, 4.3 if attends else 2.6), 4.05 if attends else 2.35
    step, start = 5.9 / (n + steps + 0.6), 0.55
    places = [start + step * (i + 0.5 + 0.6 * (i >= n)) for i in range(n + steps)]
    text(ax, 0.02, 0.16, "reads", 9.5, GRAY, ha="left")
    text(ax, places[n] - 0.55 * step, top, "writes", 9.5, GRAY, ha="right")
    states = _chain(ax, places[:n], source, h, "h", KEY)
    outputs = _chain(ax, places[n:], read, s, "s", QUERY)
    arrow(ax, states[-1].right, outputs[0].left, 0.6, KEY)
    if not attends:
        text(ax, (states[-1].x + outputs[0].x) / 2, 1.42, f"$c = h^{n}$", 11, KEY)
    for t in sorted(range(steps), key=lambda t: t == lit):  # what is lit lies on top
        state, word, seen = outputs[t], written[t], lit in (None, t)
        result = box(ax, state.x, top, as_word(word), 0.92 * step, 0.3, GRAY, size=9.5)
        text(ax, state.x + (0.3 if attends else 0.2), top - 0.32, f"$o^{t + 1}$", 11)
        if not attends:
            arrow(ax, state.top, result.bottom, 0.2, QUERY)
            continue
        context = vector(ax, state.x + 0.05, 2.95, c[t], VALUE if seen else PALE, cell=(0.42, 0.2), size=9.5)
        text(ax, state.x + 0.37, 2.95, f"$c^{t + 1}$", 10, VALUE if seen else PALE)
        arrow(ax, context.top, (context.x, result.bottom[1]), 0.2, VALUE if seen else PALE)
        arrow(ax, (state.x - 0.23, state.top[1]), (state.x - 0.23, result.bottom[1]), 0.2, QUERY if seen else PALE)
        for one, share in zip(states, as_array(weights)[t], strict=True):
            arrow(ax, one.top, context.bottom, share, WEIGHT if seen else PALE, head=False)
            if t == lit:
                text(ax, one.x - 0.23, 0.42, f"{share:.0%}", 9, WEIGHT)  # below its name, beside its arrow
        if lit is not None:
            spot(ax, state.x, top, step, 0.5, value=t)
    return ax.figure


def _chain(ax, places, words, vectors, name, color):
    """Words at the bottom, above each its state, each joined to the state before it."""
    shapes = []
    for i, (x, word, values) in enumerate(zip(places, words, vectors, strict=True)):
        text(ax, x, 0.16, as_word(word), 10.5, weight="bold")
        shapes.append(vector(ax, x, 1.15, values, color, cell=(0.46, 0.2)))
        text(ax, x - 0.22, 0.62, f"${name}^{i + 1}$", 11, color)
        arrow(ax, (x, 0.32), shapes[-1].bottom)
    for one, other in zip(shapes, shapes[1:], strict=False):
        arrow(ax, one.right, other.left, 0.35, color)
    return shapes


def writing_step(source: Sequence[str], target: Sequence[str], own, cross, step: int):
    """A Transformer's decoder writes target[step]: where it looks, above in the source, below in what it has read.

    S words of the source, T of the target; own (T, T) and cross (T, S): row t holds the shares that the step which
    writes target[t] gives to <bos>, target[0] ... and to the source. A line is as thick as its share, written beside
    the word; less than half a percent is left out. In `explore`, each word of the target is a value of choice 0.
    """
    ax, read = canvas(6.8, 3.1), ["<bos>", *target][: len(target)]
    above, below = columns([source], 0.95, 6.8), columns([read, target], 0.95, 6.8)
    rows = ((2.72, "source", KEY), (1.5, "writes", QUERY), (0.5, "has read", KEY))
    for y, name, color in rows:
        text(ax, 0.02, y, name, 9.5, color, ha="left")
    for y in (2.98, 0.2):
        text(ax, 0.02, y, "share", 9.5, WEIGHT, ha="left")
    word, now = as_word(target[step]), below[step]
    box(ax, now, 1.5, "", 0.14 + 0.095 * len(word), 0.32, QUERY, 0.08)
    for t, x in enumerate(below):
        style = {"color": QUERY, "weight": "bold"} if t == step else {"color": "black" if t < step else GRAY}
        text(ax, x, 1.5, as_word(target[t]) if t <= step else "·", 11, **style)
        spot(ax, x, 1.5, 0.5, 0.5, value=t)
    for words, places, shares, y, line, share_y in (
        (source, above, as_array(cross)[step], 2.72, (2.56, 1.67), 2.98),
        (read[: step + 1], below, as_array(own)[step, : step + 1], 0.5, (0.66, 1.33), 0.2),
    ):
        for x, word, share in zip(places, words, shares, strict=False):
            seen = share >= 0.005
            text(ax, x, y, as_word(word), 11, "black" if seen else GRAY)
            if seen:
                arrow(ax, (x, line[0]), (now, line[1]), round(share, 2), WEIGHT, head=False)
                text(ax, x, share_y, f"{share:.0%}", 9, WEIGHT, weight="bold" if share >= 0.2 else "normal")
    return ax.figure


def seq2seq_parts():
    """The model of the lesson as a plan: an RNN on either side, and between them the scores, all that is exchanged."""
    ax = canvas(6.8, 3.5)
    parts = {}
    for name, x, y, words, width, color in (
        ("zh", 1.0, 0.7, "embedding", 1.3, GRAY), ("en", 5.6, 0.7, "embedding", 1.3, GRAY),
        ("encoder", 1.0, 1.35, "GRU encoder", 1.5, GRAY), ("decoder", 5.6, 1.35, "GRU decoder", 1.5, GRAY),
        ("H", 1.0, 2.05, "$H$: states $h^1 ... h^n$", 1.9, KEY), ("S", 5.6, 2.05, "$S$: state $s^t$", 1.5, QUERY),
        ("scores", 3.35, 2.05, "scores($S$, $H$)", 1.5, WEIGHT),
        ("weights", 3.35, 2.62, "softmax: weights", 1.5, WEIGHT),
        ("context", 3.35, 3.2, "weights @ $H$: context $c^t$", 2.15, VALUE),
        ("out", 5.6, 3.2, "out: the next word", 1.7, GRAY),
    ):  # fmt: skip
        parts[name] = box(ax, x, y, words, width, 0.34, color, 0.4 if name == "scores" else 0.12, size=10)
    for x, words in ((1.0, "source words"), (5.6, "words so far")):
        text(ax, x, 0.16, words, 10, weight="bold")
        arrow(ax, (x, 0.28), (x, 0.53))
    for one, other in (("zh", "encoder"), ("en", "decoder"), ("encoder", "H"), ("decoder", "S")):
        arrow(ax, parts[one].top, parts[other].bottom)
    arrow(ax, parts["encoder"].right, parts["decoder"].left, 0.5, KEY)
    text(ax, 3.3, 1.17, "the last state: where the decoder starts", 9.5, KEY)
    arrow(ax, parts["H"].right, parts["scores"].left, 0.2, KEY)
    arrow(ax, parts["S"].left, parts["scores"].right, 0.2, QUERY)
    arrow(ax, parts["scores"].top, parts["weights"].bottom, 0.2, WEIGHT)
    arrow(ax, parts["weights"].top, parts["context"].bottom, 0.2, WEIGHT)
    arrow(ax, (parts["H"].x, parts["H"].top[1]), (parts["context"].left[0], 3.2), 0.2, VALUE)
    arrow(ax, parts["context"].right, parts["out"].left, 0.2, VALUE)
    arrow(ax, parts["S"].top, parts["out"].bottom, 0.2, QUERY)
    return ax.figure
