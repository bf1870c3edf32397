"""Draw the README's picture, notebooks/images/overview.png, from the shipped checkpoint's own attention.

python tools/overview.py
"""

import torch

from utils import figures, load_translator
from utils.attention import MultiHeadAttention
from utils.config import ROOT
from utils.figures import GRAY, KEY, PALE, QUERY, VALUE, WEIGHT, page
from utils.figures.style import as_word
from utils.tokenizer import BOS
from utils.translate import Translator

SENTENCE = "我喜欢学习。"
GLOSSES = {"I": (0, 0), "like": (1, 2), "learning": (3, 4)}  # their first and last characters
PICTURE = ROOT / "notebooks" / "images" / "overview.png"
ASKS = 3  # the character whose attention is drawn, 学; of the target words it is the one that hears 学 most
MOST = 4  # weights of a query that are drawn
WORDS, STEP = 1.02, 0.72  # inches: the height of the words, and from each layer to the next


@torch.inference_mode()
def attention_of(translator: Translator, sentence: str) -> tuple[list[str], list[str], list[torch.Tensor]]:
    """Tokens of both sides; the weights of encoder, decoder and cross-attention, means over heads: (layers, T, S)."""
    model, tokenizer, found = translator.model, translator.tokenizer, []

    def look(attention: MultiHeadAttention, arguments: tuple, options: dict) -> None:
        x, memory = arguments[0], arguments[1] if len(arguments) > 1 else arguments[0]
        past = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        found.append(attention.weights(x, memory, past if options.get("causal") else None)[0].mean(0))

    (src,) = tokenizer.encode_src([sentence])
    (tgt,) = translator.generate([src])
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            module.register_forward_pre_hook(look, with_kwargs=True)
    model.decoder_output(torch.tensor([src]), torch.tensor([[BOS, *tgt]]))
    n = len(model.encoder)  # then, layer for layer, the decoder's own attention and the one to the source
    weights = [torch.stack(some) for some in (found[:n], found[n::2], found[n + 1 :: 2])]
    return tokenizer.src_tokens(src), tokenizer.tgt_tokens(tgt), weights


def loudest(weights: torch.Tensor) -> list[int]:
    """The words that a query hears most, the loudest last, so that its line lies on top."""
    return weights.topk(min(MOST, len(weights))).indices.tolist()[::-1]


def dot(ax, x: float, y: float, lower, upper=None) -> None:
    """A position in a layer, or in the legend; its upper half may have a color of its own."""
    from matplotlib.patches import Wedge

    for start, color in ((180, lower), (0, upper or lower)):
        ax.add_patch(Wedge((x, y), 0.085, start, start + 180, fc=color, ec="none", zorder=5))


def line(ax, start: tuple, end: tuple, weight: float, bend: str = "arc3") -> None:
    """A weight: the thicker, the larger."""
    from matplotlib.patches import FancyArrowPatch

    style = dict(arrowstyle="-", color=WEIGHT, lw=0.5 + 6 * weight, zorder=3, shrinkA=0, shrinkB=0)
    ax.add_patch(FancyArrowPatch(start, end, connectionstyle=bend, **style))


def draw_encoder(ax, words: list[str], weights: torch.Tensor, x: list[float]) -> None:
    """Self-attention, layer above layer: what all words ask in gray, what one of them asks in color."""
    me, last = x[ASKS], len(weights) - 1
    for level, layer in enumerate(weights):
        below, above = WORDS + level * STEP + (0 if level else 0.16), WORDS + (level + 1) * STEP
        heard, next_heard = loudest(layer[ASKS]), loudest(weights[level + 1][ASKS]) if level < last else []
        for i in range(len(words)):
            for j in loudest(layer[i]):
                figures.arrow(ax, (x[j], below), (x[i], above), 0.02, "#D8D8D8", head=False)
            dot(ax, x[i], above, PALE, KEY if i in next_heard else None)
        for j in heard:
            line(ax, (x[j], below), (me, above), layer[ASKS, j].item())
        dot(ax, me, above, VALUE, QUERY if level < last else None)
        share(ax, (x[heard[-1]] + me) / 2, (below + above) / 2, layer[ASKS].max())


def share(ax, x: float, y: float, weight: torch.Tensor) -> None:
    figures.box(ax, x, y, f"{weight:.0%}", 0.42, 0.2, WEIGHT, 0.0, 9.5)


def draw_words(ax, words: list[str], y: float, x: list[float], asks: int | None, weights: torch.Tensor) -> None:
    for i, word in enumerate(words):
        color = QUERY if i == asks else KEY if i in loudest(weights) else GRAY
        figures.text(ax, x[i], y, word, 15 if len(word) == 1 and word > "z" else 11, color)


def ground(ax, x: float, top: float, title: str) -> None:
    """The gray ground of encoder or decoder, and its title below the words."""
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((x, WORDS + 0.22), 3.1, top - WORDS - 0.22, fc="#F4F4F4", ec=PALE, zorder=0))
    figures.text(ax, x + 1.55, WORDS - 0.46, title, 10, GRAY)


def legend(ax) -> None:
    for x, color, words in (
        (0.2, QUERY, "asks (query)"),
        (1.53, KEY, "is asked (key)"),
        (5.12, VALUE, "hears (values, mixed)"),
    ):
        dot(ax, x, 0.18, color)
        figures.text(ax, x + 0.16, 0.18, words, 9.5, ha="left")
    line(ax, (3.02, 0.18), (3.3, 0.18), 0.5)
    figures.text(ax, 3.38, 0.18, "weight (thick: large)", 9.5, ha="left")


def main() -> None:
    source, target, (own, decoder, cross) = attention_of(load_translator(device="cpu"), SENTENCE)
    source, target = ([as_word(word) for word in words] for words in (source, [*target, "<eos>"]))
    read = ["begin", *target[:-1]]  # by the decoder, before it writes the next word
    now = cross.mean(0)[:, ASKS].argmax().item()  # the word that is being written
    decoder, cross = decoder.mean(0)[now, : now + 1], cross.mean(0)[now]

    figures.use_style()
    ax = figures.canvas(7, 4.85)
    left, right = figures.columns([source], 0.1, 3.2), figures.columns([read, target], 3.8, 6.9)
    memory, first, second, out = (WORDS + n * STEP for n in (3.5, 1.5, 4.2, 4.95))
    ground(ax, 0.1, memory - 0.22, f"encoder: {len(own)} layers read the sentence")
    ground(ax, 3.8, out - 0.22, "decoder: writes word by word")
    draw_encoder(ax, source, own, left)
    draw_words(ax, source, WORDS, left, ASKS, own[0][ASKS])
    draw_words(ax, source, memory, left, None, cross)
    for gloss, (start, end) in GLOSSES.items():
        figures.text(ax, (left[start] + left[end]) / 2, WORDS - 0.22, gloss, 9, GRAY)
    legend(ax)

    me = right[now]
    for j in loudest(cross):
        line(ax, (left[j], memory + 0.16), (me, second), cross[j].item(), "angle3,angleA=90,angleB=0")
    share(ax, 3.5, second, cross.max())
    draw_words(ax, read[: now + 1], WORDS, right, now, decoder)
    for t, x in enumerate(right[: now + 1]):
        figures.text(ax, x, out, target[t], 11, weight="bold" if t == now else "normal")
        figures.arrow(ax, (x, WORDS + 0.14), (x, out - 0.14), 0.05, PALE)
        line(ax, (x, WORDS + 0.14), (me, first), decoder[t].item())
    for t, x in enumerate(right[now + 1 :], now + 1):  # not yet
        figures.text(ax, x, WORDS, read[t], 11, GRAY, style="italic")
        figures.text(ax, x, out, target[t], 11, GRAY, style="italic")
    for y, color, words in ((first, QUERY, "hears the words\nwritten so far"), (second, None, "hears the\nsource")):
        dot(ax, me, y, VALUE, color)
        figures.text(ax, me + 0.2, y, words, 9.5, GRAY, ha="left")
    page._png(ax.figure).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
