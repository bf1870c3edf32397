"""Draw the README's picture, notebooks/images/overview.png, from the shipped checkpoint's own attention.

python tools/overview.py
"""

import torch

from utils import figures, load_translator
from utils.attention import padding_mask
from utils.batching import pad
from utils.config import ROOT

SENTENCE = "我喜欢学习。"
PICTURE = ROOT / "notebooks" / "images" / "overview.png"


@torch.inference_mode()
def encoder_attention(translator, sentence: str) -> torch.Tensor:
    """Self-attention weights of every encoder layer, the mean over heads: (layers, S, S)."""
    model = translator.model
    src = pad(translator.tokenizer.encode_src([sentence]))
    mask = padding_mask(src)
    x, weights = model.embed(model.src_embedding, src), []
    for layer in model.encoder:
        normed = layer.attention_norm(x)
        weights.append(layer.self_attention.weights(normed, normed, mask)[0].mean(0))
        x = layer(x, mask)
    return torch.stack(weights)


def rows(n: int) -> list[float]:
    """Heights of n tokens, one below the other, in inches."""
    return [3.0 - 2.95 * (i + 0.5) / n for i in range(n)]


def draw(ax, start: tuple, end: tuple, weight: float, color) -> None:
    """A line as thick as its weight; what hardly counts is left out, or nothing else could be seen."""
    if weight > 0.08:
        figures.arrow(ax, start, end, weight, color, head=False)


def main() -> None:
    translator = load_translator(device="cpu")
    alignment = translator.attend(SENTENCE)
    layers = encoder_attention(translator, SENTENCE)
    cross = alignment.weights.mean(dim=(0, 1))  # (T_tgt, T_src): mean over layers and heads

    figures.use_style()
    src, tgt = alignment.src_tokens, alignment.tgt_tokens
    ax = figures.canvas(8.6, 3.4)
    columns = [0.55 + 1.55 * level for level in range(len(layers) + 1)]
    for level, x in enumerate(columns):
        for y, token in zip(rows(len(src)), src, strict=True):
            figures.text(ax, x, y, token, 13 if token != "<eos>" else 9)
        figures.text(ax, x, 3.2, "input" if level == 0 else f"encoder layer {level}", 9, figures.GRAY)
    for level, weights in enumerate(layers):
        for i, above in enumerate(rows(len(src))):
            for j, below in enumerate(rows(len(src))):
                start, end = (columns[level] + 0.24, below), (columns[level + 1] - 0.24, above)
                draw(ax, start, end, weights[i, j].item(), figures.BLUE)
    x = columns[-1] + 2.3
    figures.text(ax, x + 0.3, 3.2, "decoder, word by word", 9, figures.GRAY)
    for i, y in enumerate(rows(len(tgt))):
        figures.text(ax, x, y, tgt[i].replace("▁", ""), 13 if tgt[i] != "<eos>" else 9, ha="left")
        for j, source in enumerate(rows(len(src))):
            draw(ax, (columns[-1] + 0.24, source), (x - 0.1, y), cross[i, j].item(), figures.ORANGE)
    PICTURE.parent.mkdir(exist_ok=True)
    ax.figure.savefig(PICTURE, dpi=130, facecolor="white")


if __name__ == "__main__":
    main()
