"""Who keeps one label, and who finds the right one among four? Recall at every distance, eight layers (lesson 01).

Sentences of 5 to 33 words hold labels, a name with a color each, among fillers; the last word asks for one name. With
one label it is enough to keep it; with four the answer depends on the question. About the same number of parameters and
the same updates for all. Writes data/experiments/recall.json.

python -m experiments.recall --seeds 1 2 3
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from experiments import record
from utils.attention import attention

NAMES = ["Ann", "Bob", "Cy", "Dee", "Eve", "Flo", "Gus", "Hal"]
COLORS = ["red", "green", "blue", "yellow", "black", "white", "pink", "brown"]
FILLERS = ["so", "well", "you", "know", "I", "mean", "um", "and"]
WORDS = [f"{name}:{color}" for name in NAMES for color in COLORS] + FILLERS + [f"{name}?" for name in NAMES]
LONGEST = 33  # words of a sentence in training
# The better of 0.003 and 0.01 for each layer and game, in runs of 400 updates from seed 0 (up to 65 words).
FAST = {("mean, hidden layer", 4), ("GRU", 4), ("self-attention", 4)}


def questions(distances, n, labels):
    """Sentences of n words: `labels` different names, each with a color, among fillers; the last word asks for one.

    distances (B,), from 1 to n - 1: how far before the end its label stands -> tokens (B, n), color (B,)
    """
    rows = torch.arange(len(distances))
    names = torch.rand(len(rows), 8).argsort(dim=1)[:, :labels]
    colors = torch.randint(8, names.shape)
    order = torch.rand(len(rows), n - 1)
    order[rows, distances - 1] = -1
    places = n - 2 - order.argsort(dim=1)[:, :labels]
    tokens = torch.randint(64, 72, (len(rows), n))
    tokens.scatter_(1, places, 8 * names + colors)
    tokens[:, -1] = 72 + names[:, 0]
    return tokens, colors[:, 0]


class CausalCNN(nn.Module):
    """One filter bank per entry of `dilations`, zeros on the left: (B, n, width) -> (B, n, width).

    Output i sees input i and the (kernel - 1) * sum(dilations) inputs before it.
    """

    def __init__(self, width, kernel, dilations):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(width, width, kernel, dilation=dilation) for dilation in dilations)

    def forward(self, a):
        a = a.mT  # (B, width, n): Conv1d wants the words last
        for conv in self.convs:
            left = conv.dilation[0] * (conv.kernel_size[0] - 1)
            a = torch.relu(conv(F.pad(a, (left, 0))))
        return a.mT


class SelfAttention(nn.Module):
    """Every output asks every input: (..., n, width) -> (..., n, width)."""

    def __init__(self, width):
        super().__init__()
        self.W_q, self.W_k, self.W_v = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, a):
        return attention(self.W_q(a), self.W_k(a), self.W_v(a))[0]


class Mean(nn.Module):
    """The baseline: every output is the mean of all inputs, (B, n, width) -> (B, n, width)."""

    def forward(self, a):
        return a.mean(dim=1, keepdim=True).expand_as(a)


def identity_start(layer):
    """An nn.RNN whose matrix from state to state starts as the identity."""
    nn.init.eye_(layer.weight_hh_l0)
    return layer


LAYERS = {
    "mean": lambda: (148, Mean()),
    "mean, hidden layer": lambda: (78, nn.Sequential(Mean(), nn.Linear(78, 78), nn.ReLU())),
    "RNN": lambda: (61, nn.RNN(61, 61, batch_first=True)),
    "RNN, identity": lambda: (61, identity_start(nn.RNN(61, 61, batch_first=True))),
    "GRU": lambda: (39, nn.GRU(39, 39, batch_first=True)),
    "CNN": lambda: (23, CausalCNN(23, kernel=5, dilations=(1, 1, 1, 1))),
    "dilated CNN": lambda: (26, CausalCNN(26, kernel=5, dilations=(1, 2, 4))),
    "self-attention": lambda: (53, SelfAttention(53)),
}


class Recall(nn.Module):
    """Embed the words, run one layer, name the color at the last position: (B, n) -> (B, 8)."""

    def __init__(self, width, layer):
        super().__init__()
        self.embed, self.layer = nn.Embedding(len(WORDS), width), layer
        self.name = nn.Linear(width, len(COLORS))

    def forward(self, tokens):
        b = self.layer(self.embed(tokens))
        b = b[0] if isinstance(b, tuple) else b  # nn.RNN and nn.GRU also return their last state
        return self.name(b[:, -1])


def train(model, updates, labels, lr, longest=LONGEST):
    """Cross-entropy on sentences of all lengths, the asked label at all distances."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(updates):
        n = torch.randint(5, longest + 1, ()).item()
        tokens, color = questions(torch.randint(1, n, (64,)), n, labels)
        optimizer.zero_grad()
        F.cross_entropy(model(tokens), color).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def accuracy(model, distances, n, labels):
    """Share of right answers in sentences of n words, one for each of the distances (B,)."""
    tokens, color = questions(distances, n, labels)
    return (model(tokens).argmax(-1) == color).float().mean().item()


def run(name: str, labels: int, seed: int, updates: int, lengths: list[int]) -> dict:
    """Train one layer from one seed; test it at every distance, and at lengths it has never seen."""
    torch.manual_seed(seed)
    model, lr = Recall(*LAYERS[name]()), 1e-2 if (name, labels) in FAST else 3e-3
    train(model, updates, labels, lr)
    by_distance = [accuracy(model, torch.full((200,), t), LONGEST, labels) for t in range(1, LONGEST)]
    by_length = [accuracy(model, torch.randint(1, n, (400,)), n, labels) for n in lengths]
    row = {"layer": name, "labels": labels, "seed": seed, "lr": lr}
    row["parameters"] = sum(p.numel() for p in model.parameters())
    return row | {"by_distance": [round(x, 4) for x in by_distance], "by_length": [round(x, 4) for x in by_length]}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--lengths", type=int, nargs="+", default=[5, 9, 17, 33, 65, 129])
    parser.add_argument("--out", type=Path, help="default: data/experiments/recall.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    every = [(name, labels, seed) for labels in (1, 4) for name in LAYERS for seed in args.seeds]
    rows = [run(*one, args.updates, args.lengths) for one in every]
    record("recall", argv, rows, args.out, updates=args.updates, longest=LONGEST, lengths=args.lengths)


if __name__ == "__main__":
    main()
