"""Lesson 06: encoder and decoder, with one vector or a new one for every word; a Transformer at work, in stages."""

import base64
import io
from collections.abc import Sequence

from .drawing import arrow, box, canvas, columns, text, vector
from .style import BLUE, GRAY, GREEN, ORANGE, PALE, PURPLE, as_array, as_word


def encoder_decoder(source: Sequence[str], h, read: Sequence[str], s, written: Sequence[str], c=None, weights=None):
    """RNN encoder (blue) and decoder (orange); without `weights` the last state is all that the decoder gets.

    h (n, d): encoder states of the n source words; s (T, d): decoder states after reading the words `read`; on top the
    words `written` next. With contexts c (T, d) and weights (T, n), arrows from every h to every c, as thick as its
    weight (purple).
    """
    n, steps, attends = len(source), len(read), weights is not None
    ax, top = canvas(6.8, 4.3 if attends else 2.6), 4.05 if attends else 2.35
    step = 6.4 / (n + steps + 0.6)
    places = [0.1 + step * (i + 0.5 + 0.6 * (i >= n)) for i in range(n + steps)]
    states = _chain(ax, places[:n], source, h, "h", BLUE)
    outputs = _chain(ax, places[n:], read, s, "s", ORANGE)
    arrow(ax, states[-1].right, outputs[0].left, 0.6, BLUE)
    if not attends:
        text(ax, (states[-1].x + outputs[0].x) / 2, 1.42, f"$c = h^{n}$", 11, BLUE)
    for t, (state, word) in enumerate(zip(outputs, written, strict=True)):
        result = box(ax, state.x, top, word, 0.92 * step, 0.3, GREEN, size=9.5)
        text(ax, state.x + (0.3 if attends else 0.2), top - 0.32, f"$o^{t + 1}$", 11, GREEN)
        if not attends:
            arrow(ax, state.top, result.bottom, 0.2, ORANGE)
            continue
        context = vector(ax, state.x + 0.12, 2.95, c[t], PURPLE, cell=(0.46, 0.2))
        text(ax, state.x + 0.5, 2.95, f"$c^{t + 1}$", 11, PURPLE)
        arrow(ax, context.top, (context.x, result.bottom[1]), 0.2, PURPLE)
        arrow(ax, (state.x - 0.2, state.top[1]), (state.x - 0.2, result.bottom[1]), 0.2, ORANGE)
        for one, share in zip(states, as_array(weights)[t], strict=True):
            arrow(ax, one.top, context.bottom, share, PURPLE)
    return ax.figure


def _chain(ax, places, words, vectors, name, color):
    """Words at the bottom, above each its state, each joined to the state before it."""
    shapes = []
    for i, (x, word, values) in enumerate(zip(places, words, vectors, strict=True)):
        text(ax, x, 0.16, word, 11, weight="bold")
        shapes.append(vector(ax, x, 1.15, values, color, cell=(0.46, 0.2)))
        text(ax, x - 0.22, 0.5, f"${name}^{i + 1}$", 11, color)
        arrow(ax, (x, 0.32), shapes[-1].bottom)
    for one, other in zip(shapes, shapes[1:], strict=False):
        arrow(ax, one.right, other.left, 0.35, color)
    return shapes


def attention_stages(
    source: Sequence[str], target: Sequence[str], encoder, decoder, cross, stages: Sequence[tuple[int, int]]
):
    """A Transformer at work, a panel for each stage (encoder layers done, words written), from top to bottom.

    encoder (L, S, S), decoder and cross (L, T, T) and (L, T, S): the weights of every layer; row t of the decoder's is
    the step that writes target[t]. Blue: self-attention; orange, from the encoder's top row: cross-attention. Lines are
    as thick as their weights; weights below 0.08 are left out. What an earlier stage drew is pale. Two stages in a row
    without words stand side by side.
    """
    height, panels = 1.0 + 0.45 * len(encoder), _places(stages)
    rows = 1 + panels[-1][0]
    ax = canvas(6.8, height * rows)
    for (layers, words), (row, shift) in zip(stages, panels, strict=True):
        base = height * (rows - 1 - row)
        levels = [base + 0.45 + 0.45 * level for level in range(len(encoder) + 1)]
        steps = [base + 0.45 + 0.36 * level for level in range(len(encoder) + 1)]  # lower: the decoder looks up
        left = columns([source], 0.1 + shift, 2.65 + shift)
        right = columns([["<bos>", *target[:-1]], target], 2.95, 6.75)
        title = f"encoder: layer {layers} of {len(encoder)}, all positions at once" if layers else "the sentence"
        text(ax, 0.1 + shift, base + height - 0.14, "encoder: finished" if words else title, 10, ha="left")
        if words:
            text(ax, 3.0, base + height - 0.14, f"decoder: word {words}", 10, ha="left")
        _row(ax, left, levels[0] - 0.22, source, "black")
        _row(ax, right, levels[0] - 0.22, ["<bos>", *target][:words], "black")
        _row(ax, right, levels[-1] + 0.2, target[:words], GREEN)
        for level in range(layers + 1):
            _dots(ax, left, levels[level], BLUE if level == layers and not words else GRAY)
            if level and not words:
                new = BLUE if level == layers else PALE
                _lines(ax, left, levels[level - 1], left, levels[level], as_array(encoder[level - 1]), new)
        for x in right[:words]:
            arrow(ax, (x, steps[-1]), (x, levels[-1] + 0.1), 0.15, GREEN)
        for level in range(len(steps) if words else 0):
            _dots(ax, right[:words], steps[level], GRAY)
            if level:
                now, looks = right[words - 1 : words], slice(words - 1, words)
                own = as_array(decoder[level - 1])[looks, :words]
                _lines(ax, right[:words], steps[level - 1], now, steps[level], own, BLUE)
                _lines(ax, left, levels[-1], now, steps[level], as_array(cross[level - 1])[looks], ORANGE)
    return ax.figure


def _places(stages) -> list[tuple[int, float]]:
    """(row, inches to the right) of each panel: one without words fills the empty half beside another such one."""
    places = []
    for i, (_, words) in enumerate(stages):
        row, shift = places[-1] if places else (-1, 0.0)
        beside = i and not words and not stages[i - 1][1] and not shift
        places.append((row, 3.4) if beside else (row + 1, 0.0))
    return places


def _row(ax, places, y, tokens, color) -> None:
    for x, token in zip(places, tokens, strict=False):
        text(ax, x, y, as_word(token), 9.5, color)


def _dots(ax, places, y, color) -> None:
    for x in places:
        ax.plot(x, y, "o", ms=5, color=color, zorder=3)


def _lines(ax, below, low, above, high, weights, color) -> None:
    """From every place below to every place above: weights (above, below)."""
    for x_above, row in zip(above, weights, strict=True):
        for x_below, share in zip(below, row, strict=True):
            if share > 0.08:
                arrow(ax, (x_below, low), (x_above, high), share, color, head=False)


def gif(frames: Sequence, alt: str, seconds: float = 1.2) -> str:
    """Figures as an endless animation inside an HTML image: it asks no host for anything. The figures are closed."""
    import matplotlib.pyplot as plt
    from PIL import Image

    pictures = []
    for figure in frames:
        figure.canvas.draw()
        picture = Image.frombuffer("RGBA", figure.canvas.get_width_height(), figure.canvas.buffer_rgba())
        pictures.append(picture.convert("RGB").quantize(32))
        plt.close(figure)
    file, times = io.BytesIO(), [int(1000 * seconds)] * (len(pictures) - 1) + [int(3000 * seconds)]
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=times, loop=0, disposal=1)
    return f'<img alt="{alt}" src="data:image/gif;base64,{base64.b64encode(file.getvalue()).decode()}">'
