"""Who comes first, 我 or 你? Six ways to say where a word stands, on lengths seen and never seen (lesson 05).

Every scheme gets the same little encoder, the same sentences of 4 to 16 words and the same steps; then it is
asked about longer ones. Writes data/experiments/positions.json: a row for each scheme and seed.

python -m experiments.positions
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from experiments import record
from utils.attention import merge_heads, split_heads
from utils.positional import alibi, rotary, sinusoidal

SCHEMES = ("none", "sinusoidal", "learned", "rotary", "ALiBi", "ALiBi, signed")
LENGTHS = (4, 8, 16, 32, 64)  # trained on up to 16


def sentences(batch, n):
    """Sentences of n words with one 我 (id 0) and one 你 (id 1) in each: words (batch, n), their places (batch, 2)."""
    words = torch.randint(2, 20, (batch, n))
    places = torch.rand(batch, n).argsort(dim=1)[:, :2]  # two different places each
    return words.scatter(1, places, torch.tensor([0, 1]).expand(batch, 2)), places


class Layer(nn.Module):
    """Heads that may know places (rotary, ALiBi), then a small network; each adds to what was there."""

    def __init__(self, scheme, d, n_heads):
        super().__init__()
        self.scheme, self.n_heads = scheme, n_heads
        self.in_proj, self.out_proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.network = nn.Sequential(nn.Linear(d, 2 * d), nn.ReLU(), nn.Linear(2 * d, d))

    def forward(self, x):
        q, k, v = (split_heads(part, self.n_heads) for part in self.in_proj(x).chunk(3, dim=-1))
        if self.scheme == "rotary":
            q, k = rotary(q), rotary(k)
        scores = q @ k.mT / q.shape[-1] ** 0.5  # (B, H, n, n)
        if self.scheme.startswith("ALiBi"):
            slopes = 2.0 ** -torch.arange(2, 2 * self.n_heads + 1, 2)  # (H,): 1/4, 1/16, 1/64, 1/256
            scores = scores + alibi(x.shape[1], slopes, slopes.flip(0) if "signed" in self.scheme else slopes)
        x = x + self.out_proj(merge_heads(scores.softmax(-1) @ v))
        return x + self.network(x)


class Encoder(nn.Module):
    """Two layers over words whose places come in by one of the schemes: (B, n) -> a logit for each word, (B, n)."""

    def __init__(self, scheme, d=32, n_heads=4, longest=64):
        super().__init__()
        self.scheme = scheme
        self.embedding, self.positions = nn.Embedding(20, d), nn.Embedding(longest, d)
        self.layers = nn.Sequential(Layer(scheme, d, n_heads), Layer(scheme, d, n_heads))
        self.read = nn.Linear(d, 1)

    def forward(self, words):
        x = self.embedding(words)  # (B, n, d)
        if self.scheme == "sinusoidal":
            x = x + sinusoidal(*x.shape[1:])
        if self.scheme == "learned":
            x = x + self.positions.weight[: x.shape[1]]
        return self.read(self.layers(x)).squeeze(-1)


def train(scheme, seed, steps, batch=64, lr=3e-3):
    """An encoder whose vector of 我 says whether 你 comes later, learned from sentences of 4 to 16 words."""
    torch.manual_seed(seed)
    model = Encoder(scheme)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        words, places = sentences(batch, n=torch.randint(4, 17, ()).item())
        says = model(words).gather(1, places[:, :1]).squeeze(1)  # (batch,): the logit of 我
        loss = F.binary_cross_entropy_with_logits(says, (places[:, 0] < places[:, 1]).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def ask(model, n, batch=1000):
    """New sentences of n words, each of them forwards and backwards: right or not (2 batch,), places (2 batch, 2)."""
    torch.manual_seed(1)
    words, places = sentences(batch, n)
    words, places = torch.cat([words, words.flip(1)]), torch.cat([places, n - 1 - places])
    says = model(words).gather(1, places[:, :1]).squeeze(1)
    return (says > 0) == (places[:, 0] < places[:, 1]), places


def groups(right, places, seen=16):
    """Shares of right answers by what training had seen: both places; only their distance; not even that."""
    near = places.amax(dim=1) < seen
    apart = (places[:, 0] - places[:, 1]).abs() >= seen
    return [right[chosen].float().mean().item() for chosen in (near, ~near & ~apart, apart)]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--questions", type=int, default=1000, help="sentences for each length, asked twice")
    parser.add_argument("--out", type=Path, help="default: data/experiments/positions.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    for scheme, seed in tqdm([(scheme, seed) for scheme in SCHEMES for seed in args.seeds]):
        model = train(scheme, seed, args.steps)
        right = {n: round(ask(model, n, args.questions)[0].float().mean().item(), 4) for n in LENGTHS}
        longest = [round(share, 4) for share in groups(*ask(model, LENGTHS[-1], args.questions))]
        rows.append({"scheme": scheme, "seed": seed, "right": right, "longest": longest})
    record("positions", argv, rows, args.out, steps=args.steps, seeds=args.seeds, lengths=LENGTHS)


if __name__ == "__main__":
    main()
