"""Income minus costs: one head of attention cannot subtract, two heads of half the width can (lesson 04).

Every word has a name and holds a number; the word "profit" asks, and the number of "income" minus that of "costs" is
wanted. Words are found by their names: queries and keys see nothing else. Each variant is trained from several seeds;
its mean squared error on fresh sentences is compared with the floor of 1 that the lesson derives for one head.
Writes data/experiments/two_heads.json.

python -m experiments.two_heads
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from experiments import record
from utils.attention import attention, merge_heads, split_heads

N_NAMES = 15  # 0 profit, 1 income, 2 costs, and others that play no part


def sentences(batch, others=5):
    """Sentences of profit, income, costs and some other words: inputs (batch, 8, 16), targets (batch,)."""
    rest = 3 + torch.rand(batch, N_NAMES - 3).argsort(dim=1)[:, :others]  # different words, (batch, others)
    names = torch.cat([torch.tensor([0, 1, 2]).expand(batch, 3), rest], dim=1)
    numbers = torch.randn(batch, 3 + others)
    numbers[:, 0] = 0  # who asks holds nothing yet
    x = torch.cat([F.one_hot(names, N_NAMES), numbers[..., None]], dim=-1)
    return x, numbers[:, 1] - numbers[:, 2]


class Subtractor(nn.Module):
    """One layer of attention and a linear read-out: what does "profit" hear? (B, T, 16) -> (B,)."""

    def __init__(self, n_heads, width=16, softmax=True, keys_read_numbers=False):
        super().__init__()
        self.n_heads, self.softmax, self.keys_read_numbers = n_heads, softmax, keys_read_numbers
        self.W_q, self.W_k, self.W_v = (nn.Linear(N_NAMES + 1, width, bias=False) for _ in range(3))
        self.W_o = nn.Linear(width, 1, bias=False)

    def forward(self, x):
        names = x * (torch.arange(x.shape[-1]) < N_NAMES)  # the numbers hidden
        seen = x if self.keys_read_numbers else names
        q, k, v = self.W_q(names[:, :1]), self.W_k(seen), self.W_v(x)  # only "profit" asks
        q, k, v = (split_heads(part, self.n_heads) for part in (q, k, v))
        if self.softmax:
            heard = attention(q, k, v)[0]
        else:
            heard = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 @ v  # scores as weights: they may be negative
        return self.W_o(merge_heads(heard)).flatten()  # (B,)


def train(model, steps, rate=0.1):
    """Adam, steps falling to zero, scores at `rate` times the values' speed; the error on fresh sentences."""
    scores, values = [model.W_q.weight, model.W_k.weight], [model.W_v.weight, model.W_o.weight]
    groups = [{"params": scores, "lr": 0.03 * rate}, {"params": values, "lr": 0.03}]
    optimizer = torch.optim.Adam(groups)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    for _ in range(steps):
        x, target = sentences(64)
        optimizer.zero_grad()
        (model(x) - target).square().mean().backward()
        optimizer.step()
        falling.step()
    with torch.no_grad():
        x, target = sentences(50_000)
        return (model(x) - target).square().mean().item()


VARIANTS = {  # name: (options of the model, options of the training)
    "1 head": (dict(n_heads=1), {}),
    "1 head, four times as wide": (dict(n_heads=1, width=64), {}),
    "2 heads": (dict(n_heads=2), {}),
    "4 heads": (dict(n_heads=4), {}),
    "2 heads, scores learn as fast as values": (dict(n_heads=2), dict(rate=1.0)),
    "1 head without softmax": (dict(n_heads=1, softmax=False), {}),
    "1 head, keys read the numbers": (dict(n_heads=1, keys_read_numbers=True), {}),
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="default: data/experiments/two_heads.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    for name, (options, speed) in tqdm(VARIANTS.items()):
        for seed in args.seeds:
            torch.manual_seed(seed)
            model = Subtractor(**options)
            parameters = sum(p.numel() for p in model.parameters())
            error = train(model, args.steps, **speed)
            rows.append({"name": name, "seed": seed, "parameters": parameters, "error": error})
    record("two_heads", argv, rows, args.out, steps=args.steps, seeds=args.seeds)


if __name__ == "__main__":
    main()
