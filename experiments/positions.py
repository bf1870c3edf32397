"""Who comes first, 我 or 你? Ways to say where a word stands, on lengths seen and never seen (lesson 05).

Every scheme gets the same little encoder, the same sentences of 4 to 16 words and the same steps; then it is asked
about longer ones: by length, and at 64 words about every pair of places. Controls: no positions, a mask alone, rotary
with other bases; and in each trained rotary model one hand at a time is made slower or faster, all weights as they are.
Writes data/experiments/positions.json: a row for each scheme and seed.

python -m experiments.positions
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from experiments import record
from utils import positional
from utils.attention import causal_mask, merge_heads, split_heads

BASES = {"rotary": 1e4, "rotary, base 100": 1e2, "rotary, base 10^8": 1e8}
SCHEMES = ("none", "mask alone", "sinusoidal", "learned", *BASES, "ALiBi", "ALiBi, signed")
LENGTHS = (4, 8, 16, 32, 64, 512)  # trained on up to 16
PACES = (0.5, 2.0)  # for one hand of a trained rotary model


def sentences(batch, n):
    """Sentences of n words, one 我 (id 0) and one 你 (id 1) in each.

    Returns words (batch, n) and their places (batch, 2).
    """
    words = torch.randint(2, 20, (batch, n))
    places = torch.rand(batch, n).argsort(dim=1)[:, :2]  # two different places each
    return words.scatter(1, places, torch.tensor([0, 1]).expand(batch, 2)), places


def turn(x, speeds):
    """Rotary with speeds (d/2,) of one's own: pair i of row p turned by p speeds[i]."""
    angle = torch.arange(x.shape[-2])[:, None] * speeds  # (n, d/2)
    sin, cos, one, two = angle.sin(), angle.cos(), x[..., 0::2], x[..., 1::2]
    turned = [cos * one - sin * two, sin * one + cos * two]
    return torch.stack(turned, dim=-1).flatten(-2)


class Layer(nn.Module):
    """Heads that may know places, then a small network; each adds to what was there."""

    def __init__(self, scheme, d, n_heads, base):
        super().__init__()
        self.scheme, self.n_heads, half = scheme, n_heads, d // n_heads // 2
        self.speeds = base ** (-torch.arange(half) / half)  # (d_head/2,): of the hands
        self.in_proj, self.out_proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.network = nn.Sequential(nn.Linear(d, 2 * d), nn.ReLU(), nn.Linear(2 * d, d))

    def forward(self, x):
        parts = self.in_proj(x).chunk(3, dim=-1)
        q, k, v = (split_heads(part, self.n_heads) for part in parts)
        if self.scheme.startswith("rotary"):
            q, k = turn(q, self.speeds), turn(k, self.speeds)
        scores = q @ k.mT / q.shape[-1] ** 0.5  # (B, H, n, n)
        if self.scheme.startswith("ALiBi"):
            slopes = 4.0 ** -torch.arange(1, self.n_heads + 1)  # 1/4, 1/16, 1/64, 1/256
            right = slopes.flip(0) if "signed" in self.scheme else slopes
            scores = scores + positional.alibi(x.shape[1], slopes, right)
        if self.scheme == "mask alone":
            scores = scores.masked_fill(~causal_mask(x.shape[1]), -torch.inf)
        x = x + self.out_proj(merge_heads(scores.softmax(-1) @ v))
        return x + self.network(x)


class Encoder(nn.Module):
    """Two layers over words, places by one of the schemes: (B, n) -> logits (B, n)."""

    def __init__(self, scheme, base=1e4, d=32, n_heads=4, longest=512):
        super().__init__()
        self.scheme = scheme
        self.embedding, self.positions = nn.Embedding(20, d), nn.Embedding(longest, d)
        self.layers = nn.Sequential(Layer(scheme, d, n_heads, base), Layer(scheme, d, n_heads, base))
        self.read = nn.Linear(d, 1)

    def forward(self, words):
        x = self.embedding(words)  # (B, n, d)
        if self.scheme == "sinusoidal":
            x = x + positional.sinusoidal(*x.shape[1:])
        if self.scheme == "learned":
            x = x + self.positions.weight[: x.shape[1]]
        return self.read(self.layers(x)).squeeze(-1)


def train(scheme, seed, steps, base=1e4, batch=64, lr=3e-3):
    """An encoder whose vector of 我 says whether 你 comes later: 4 to 16 words."""
    torch.manual_seed(seed)
    model = Encoder(scheme, base)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        words, places = sentences(batch, n=torch.randint(4, 17, ()).item())
        says = model(words).gather(1, places[:, :1]).squeeze(1)  # the logit of 我
        comes_first = (places[:, 0] < places[:, 1]).float()
        loss = F.binary_cross_entropy_with_logits(says, comes_first)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def ask(model, words, places):
    """Each sentence forwards and backwards: right or not, and the places asked about.

    words (batch, n), places (batch, 2) -> (2 batch,), (2 batch, 2)
    """
    places = torch.cat([places, words.shape[1] - 1 - places])
    words = torch.cat([words, words.flip(1)])
    says = torch.cat([model(part) for part in words.split(250)])
    says = says.gather(1, places[:, :1]).squeeze(1)
    return (says > 0) == (places[:, 0] < places[:, 1]), places


def all_pairs(n, stride=1):
    """New sentences of n words, one for each pair of places up to their order."""
    torch.manual_seed(2)
    places = torch.combinations(torch.arange(n))[::stride]
    words = torch.randint(2, 20, (len(places), n))
    return words.scatter(1, places, torch.tensor([0, 1]).expand_as(places)), places


def by_distance(right, places):
    """Percent of right answers at distance 1, 2, ...: a list."""
    apart = (places[:, 0] - places[:, 1]).abs()
    chosen = [right[apart == distance] for distance in range(1, apart.max() + 1)]
    return [round(100 * found.float().mean().item()) for found in chosen]


def by_blocks(right, places, width=4):
    """Percent of right answers by the places of 我 (rows) and of 你, `width` each."""
    blocks = places.max().item() // width + 1
    found = [[[] for _ in range(blocks)] for _ in range(blocks)]
    for answer, (first, second) in zip(right.tolist(), (places // width).tolist(), strict=True):
        found[first][second].append(answer)
    return [[round(100 * sum(cell) / len(cell)) for cell in row] for row in found]


def set_pace(model, hand, factor):
    """One hand of a rotary model turns `factor` times as fast, in all layers; nothing else changes."""
    for layer in model.layers:
        layer.speeds[hand] *= factor


def examine(scheme, seed, steps, questions):
    """Train one model and ask it everything: a row of the result."""
    model, right = train(scheme, seed, steps, BASES.get(scheme, 1e4)), {}
    for n in LENGTHS:
        torch.manual_seed(1)
        share = ask(model, *sentences(questions if n < 512 else questions // 4, n))[0].float().mean().item()
        right[n] = round(100 * share, 1)
    pairs = all_pairs(64)
    answers = ask(model, *pairs)
    row = {"scheme": scheme, "seed": seed, "right": right, "by_distance": by_distance(*answers)}
    row["by_blocks"] = by_blocks(*answers)
    if scheme == "rotary":
        row["other_paces"] = []
        for hand in range(len(model.layers[0].speeds)):
            for factor in PACES:
                set_pace(model, hand, factor)
                row["other_paces"].append(
                    {"hand": hand, "factor": factor, "by_distance": by_distance(*ask(model, *pairs))}
                )
                set_pace(model, hand, 1 / factor)
    return row


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--questions", type=int, default=500, help="sentences for each length, asked twice")
    parser.add_argument("--out", type=Path, help="default: data/experiments/positions.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = [
        examine(scheme, seed, args.steps, args.questions)
        for scheme, seed in tqdm([(scheme, seed) for scheme in SCHEMES for seed in args.seeds])
    ]
    record("positions", argv, rows, args.out, steps=args.steps, seeds=args.seeds, lengths=LENGTHS)


if __name__ == "__main__":
    main()
