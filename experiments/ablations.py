"""Take a part of the Transformer away and train again; norm before or after, with and without warm-up (lesson 07).

The task: read a number of six Chinese digits backwards, in English words. With shuffled answers there is nothing to
learn, and what a model "learns" all the same is cheating. Each variant is trained from several seeds, with the same
steps; a row holds its training curve (means of ten steps) and its share of right words, under teacher forcing and when
it hears only what it said itself. Writes data/experiments/ablations.json.

python -m experiments.ablations
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from experiments import record
from utils.attention import causal_mask as no_future
from utils.config import ModelConfig
from utils.tokenizer import BOS
from utils.transformer import Transformer

CHINESE = ["<pad>", "<bos>", "<eos>", "<unk>", *"零一二三四五六七八九"]
ENGLISH = [*CHINESE[:4], *"zero one two three four five six seven eight nine".split()]


def numbers(batch, n=6, shuffled=False):
    """Random numbers of n digits and the same read backwards: src (batch, n), tgt (batch, 1 + n) from <bos> on.

    Shuffled, each number gets the answer of another: there is nothing to learn.
    """
    src = torch.randint(4, len(CHINESE), (batch, n))
    answers = src[torch.randperm(batch)] if shuffled else src
    return src, F.pad(answers.flip(1), (1, 0), value=BOS)


class NoMask(nn.Module):
    """Self-attention that sees the future: it takes any mask, and ignores it."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, y, *ignored, **ignored_too):
        return self.attention(y, y)


class NoResidual(nn.Module):
    """A layer with norms, but without Add: what a sublayer says replaces its input."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, *memory_and_mask, hands=None):  # hands: rotary's, unused here
        layer, (*memory, mask) = self.layer, memory_and_mask
        may = no_future(x.shape[1]) if memory else mask
        sublayers = [(layer.attention_norm, lambda z: layer.self_attention(z, z, may))]
        if memory:
            asks = lambda z: layer.cross_attention(z, *memory, mask)  # noqa: E731
            sublayers.append((layer.cross_attention_norm, asks))
        for norm, sublayer in [*sublayers, (layer.ffn_norm, layer.feed_forward)]:
            x = sublayer(norm(x)) if layer.norm_first else norm(sublayer(x))
        return x


class Silence(nn.Module):
    """A sublayer that says nothing: zeros, which Add & Norm adds."""

    def forward(self, x, *rest, **options):
        return torch.zeros_like(x)


def without(part, model):
    """Take one part out of every layer that has it; returns the model."""
    if part == "positions":
        model.positions.zero_()
    if part == "residual":
        model.encoder = nn.ModuleList(map(NoResidual, model.encoder))
        model.decoder = nn.ModuleList(map(NoResidual, model.decoder))
    if part == "feed-forward":
        for layer in [*model.encoder, *model.decoder]:
            layer.feed_forward = Silence()
    for layer in model.decoder:
        if part == "mask":
            layer.self_attention = NoMask(layer.self_attention)
        if part == "cross-attention":
            layer.cross_attention = Silence()
    return model


def train(model, steps, lr=3e-3, warmup=0, batch=32, shuffled=False):
    """Adam on fresh numbers, teacher forcing; the rate rises over `warmup` steps. Returns the loss of every step."""
    optimizer, losses = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98)), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min(1, (step + 1) / (warmup + 1))
        src, tgt = numbers(batch, shuffled=shuffled)
        logits = model(src, tgt[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tgt[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def right_words(model, batch=200, shuffled=False):
    """The share of right words: under teacher forcing, and when the model hears only what it said itself."""
    src, tgt = numbers(batch, shuffled=shuffled)
    forced = model(src, tgt[:, :-1]).argmax(-1)
    said = tgt[:, :1]
    for _ in range(src.shape[1]):
        said = torch.cat([said, model(src, said)[:, -1:].argmax(-1)], dim=1)
    both = (forced, said[:, 1:])
    return [(words == tgt[:, 1:]).float().mean().item() for words in both]


def small(n_layers, norm_first=True):
    """A Transformer of width 32 for the ten digits."""
    sizes = {"d_model": 32, "n_heads": 4, "n_layers": n_layers, "d_ff": 64}
    return Transformer(ModelConfig(14, 14, **sizes, dropout=0.0, norm_first=norm_first))


PARTS = ["nothing", "positions", "mask", "cross-attention", "feed-forward", "residual"]
SHUFFLED = {"shuffled answers": "nothing", "shuffled answers, no mask": "mask"}
DEEP = {  # name: (norm first, warm-up, learning rate)
    "pre-norm": (True, False, 1e-2),
    "pre-norm, warm-up": (True, True, 1e-2),
    "post-norm": (False, False, 1e-2),
    "post-norm, warm-up": (False, True, 1e-2),
    "post-norm, small steps": (False, False, 3e-3),
}


def run(name: str, seed: int, steps: int, depth: int, warmup: int) -> dict:
    """One row: a part removed from two layers, or a deep stack with one norm and one warm-up."""
    torch.manual_seed(seed)
    if name not in DEEP:
        model, options = without(SHUFFLED.get(name, name), small(2)), {"shuffled": name in SHUFFLED}
    else:
        norm_first, warm, lr = DEEP[name]
        model, options = small(depth, norm_first), {"lr": lr, "warmup": warmup * warm}
    losses = torch.tensor(train(model, steps, **options))
    forced, alone = right_words(model, shuffled=name in SHUFFLED)
    curve = [round(part.mean().item(), 4) for part in losses.split(10)]
    return {"name": name, "seed": seed, "curve": curve, "forced": forced, "alone": alone}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300, help="updates of the models of two layers")
    parser.add_argument("--deep-steps", type=int, default=300, help="updates of the deep ones")
    parser.add_argument("--depth", type=int, default=8, help="layers of the deep encoders, and of their decoders")
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--out", type=Path, help="default: data/experiments/ablations.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    todo = [(name, seed) for seed in args.seeds for name in [*PARTS, *SHUFFLED, *DEEP]]
    rows = []
    for name, seed in tqdm(todo):
        steps = args.deep_steps if name in DEEP else args.steps
        rows.append(run(name, seed, steps, args.depth, args.warmup))
    settings = {key: getattr(args, key) for key in ("seeds", "steps", "deep_steps", "depth", "warmup")}
    record("ablations", argv, rows, args.out, **settings)


if __name__ == "__main__":
    main()
