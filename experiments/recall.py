"""How far back can a layer remember? One color among fillers must be named at the end of the sentence (lesson 01).

Five layers with about the same number of parameters, the same recipe, the same steps; every distance is equally
frequent in training, and each is tested on its own. Writes data/experiments/recall.json.

python -m experiments.recall --seeds 0 1 2
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from experiments import record
from utils.attention import attention

COLORS = ["red", "green", "blue", "yellow", "black", "white", "pink", "brown"]
WORDS = COLORS + ["so", "well", "you", "know", "I", "mean", "um", "and", "?"]


def questions(distances, max_distance):
    """Sentences of fillers that end in "?"; the color stands `distances` words before it.

    distances (B,), each from 1 to max_distance -> tokens (B, max_distance + 1), color (B,)
    """
    rows, question = torch.arange(len(distances)), len(WORDS) - 1
    tokens = torch.randint(len(COLORS), question, (len(rows), max_distance + 1))
    color = torch.randint(len(COLORS), (len(rows),))
    tokens[:, -1] = question
    tokens[rows, max_distance - distances] = color
    return tokens, color


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
    """Every output asks every input: (B, n, width) -> (B, n, width)."""

    def __init__(self, width):
        super().__init__()
        self.W_q, self.W_k, self.W_v = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, a):
        return attention(self.W_q(a), self.W_k(a), self.W_v(a))[0]


LAYERS = {
    "RNN": lambda: (63, nn.RNN(63, 63, batch_first=True)),
    "GRU": lambda: (38, nn.GRU(38, 38, batch_first=True)),
    "CNN": lambda: (21, CausalCNN(21, kernel=5, dilations=(1, 1, 1, 1))),
    "dilated CNN": lambda: (21, CausalCNN(21, kernel=5, dilations=(1, 2, 4, 8))),
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


def train(model, steps, max_distance, batch=64, lr=1e-3):
    """Cross-entropy on questions of all distances, mixed."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(steps):
        tokens, color = questions(torch.randint(1, max_distance + 1, (batch,)), max_distance)
        optimizer.zero_grad()
        F.cross_entropy(model(tokens), color).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def accuracy(model, distance, max_distance, batch=500):
    """Share of right answers when the color stands `distance` words before the question mark."""
    tokens, color = questions(torch.full((batch,), distance), max_distance)
    return (model(tokens).argmax(-1) == color).float().mean().item()


def run(name: str, seed: int, steps: int, max_distance: int) -> dict:
    """Train one layer from one seed and test it at every distance: one row of the result."""
    torch.manual_seed(seed)
    model = Recall(*LAYERS[name]())
    train(model, steps, max_distance)
    shares = [accuracy(model, distance, max_distance) for distance in range(1, max_distance + 1)]
    parameters = sum(p.numel() for p in model.parameters())
    return {"model": name, "seed": seed, "parameters": parameters, "accuracy": shares}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--max-distance", type=int, default=64)
    parser.add_argument("--out", type=Path, help="default: data/experiments/recall.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = [run(name, seed, args.steps, args.max_distance) for seed in args.seeds for name in LAYERS]
    record("recall", argv, rows, args.out, steps=args.steps, max_distance=args.max_distance)


if __name__ == "__main__":
    main()
