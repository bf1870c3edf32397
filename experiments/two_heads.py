"""Income minus costs: one head of attention cannot subtract, two heads of half the width can (lesson 04).

Every word has a name and holds a number; the word "profit" asks, and the number of "income" minus that of "costs" is
wanted. Words are found by their names: queries and keys see nothing else. The lesson derives a floor of 1 for one head
under conditions; here each of them is dropped, alone. Each variant is trained from several seeds, two of them from
many; its mean squared error on fresh sentences is kept, and how its output moves with the two numbers, on average.
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
from utils.attention import attention
from utils.attention import merge_heads as merge
from utils.attention import split_heads as split

N_NAMES = 15  # 0 profit, 1 income, 2 costs, and others that play no part


def sentences(batch, others=5, signs=False):
    """Sentences of profit, income, costs and some other words: inputs (batch, 8, 16), targets (batch,)."""
    rest = 3 + torch.rand(batch, N_NAMES - 3).argsort(dim=1)[:, :others]  # different words
    names = torch.cat([torch.tensor([0, 1, 2]).expand(batch, 3), rest], dim=1)  # (batch, 8)
    numbers = torch.randn(batch, 3 + others)
    if signs:
        numbers = numbers.sign()  # +1 or -1 instead of any number
    numbers[:, 0] = 0  # who asks holds nothing yet
    x = torch.cat([F.one_hot(names, N_NAMES), numbers[..., None]], dim=-1)
    return x, numbers[:, 1] - numbers[:, 2]


class Subtractor(nn.Module):
    """One layer of attention and a read-out: what does "profit" hear? (batch, 8, 16) -> (batch,)."""

    def __init__(self, n_heads, width=16, softmax=True, keys_read_numbers=False, before=None, behind=None):
        super().__init__()
        self.n_heads, self.softmax = n_heads, softmax
        self.keys_read_numbers = keys_read_numbers
        self.to_q, self.to_k, self.to_v = (nn.Linear(N_NAMES + 1, width, bias=False) for _ in range(3))
        self.before = before or nn.Identity()
        self.to_out = behind or nn.Linear(width, 1, bias=False)

    def forward(self, x):
        names = x * (torch.arange(x.shape[-1]) < N_NAMES)  # the numbers hidden
        seen = x if self.keys_read_numbers else names
        q, k, v = self.to_q(names[:, :1]), self.to_k(seen), self.to_v(self.before(x))
        q, k, v = (split(part, self.n_heads) for part in (q, k, v))
        if self.softmax:
            heard = attention(q, k, v)[0]
        else:
            heard = q @ k.mT / q.shape[-1] ** 0.5 @ v  # scores as weights: they may be negative
        return self.to_out(merge(heard)).flatten()


class TwoLayers(nn.Module):
    """Two layers of one head; with `keep`, each word adds what it hears to what it was. (batch, 8, 16) -> (batch,)."""

    def __init__(self, keep=True):
        super().__init__()
        self.keep = keep
        self.to_q, self.to_k, self.to_v = (
            nn.ModuleList(nn.Linear(N_NAMES + 1, N_NAMES + 1, bias=False) for _ in range(2)) for _ in range(3)
        )
        self.to_out = nn.Linear(N_NAMES + 1, 1, bias=False)

    def forward(self, x):
        names = x * (torch.arange(x.shape[-1]) < N_NAMES)
        for to_q, to_k, to_v in zip(self.to_q, self.to_k, self.to_v, strict=True):
            heard = attention(to_q(names), to_k(names), to_v(x))[0]
            x = x + heard if self.keep else heard
        return self.to_out(x[:, 0]).flatten()


def mean_of_all() -> Subtractor:
    """The baseline: a query of zeros, which stays one (train it with rate=0), hears all words alike."""
    model = Subtractor(1)
    nn.init.zeros_(model.to_q.weight)
    return model


def network(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, 64), nn.ReLU(), nn.Linear(64, n_out))


def train(model, steps, rate=0.1, signs=False):
    """Adam, steps falling to zero, scores at `rate` times the values' speed; the error on fresh sentences."""
    ask, tell = [], []
    for name, p in model.named_parameters():
        (ask if "to_q" in name or "to_k" in name else tell).append(p)
    optimizer = torch.optim.Adam([{"params": ask, "lr": 0.03 * rate}, {"params": tell, "lr": 0.03}])
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    for _ in range(steps):
        x, target = sentences(64, signs=signs)
        optimizer.zero_grad()
        (model(x) - target).square().mean().backward()
        optimizer.step()
        falling.step()
    with torch.no_grad():
        x, target = sentences(50_000, signs=signs)
        return (model(x) - target).square().mean().item()


def factors(model, batch=1000) -> list[float]:
    """How the output moves with the numbers of income and of costs, at zero, on average over sentences."""
    x, _ = sentences(batch)
    x[..., -1] = 0
    x.requires_grad_()
    return torch.autograd.grad(model(x).sum(), x)[0][:, 1:3, -1].mean(dim=0).tolist()


SIZE = N_NAMES + 1
VARIANTS = {  # name: (a new model, options of the training)
    "the mean of all words": (mean_of_all, dict(rate=0.0)),
    "1 head": (lambda: Subtractor(1), {}),
    "1 head, four times as wide": (lambda: Subtractor(1, width=64), {}),
    "2 heads": (lambda: Subtractor(2), {}),
    "4 heads": (lambda: Subtractor(4), {}),
    "2 heads, scores as fast as values": (lambda: Subtractor(2), dict(rate=1.0)),
    "1 head without softmax": (lambda: Subtractor(1, softmax=False), {}),
    "1 head, keys read the numbers": (lambda: Subtractor(1, keys_read_numbers=True), {}),
    "1 head, a network before": (lambda: Subtractor(1, before=network(SIZE, SIZE)), {}),
    "1 head, a network behind": (lambda: Subtractor(1, behind=network(16, 1)), {}),
    "1 head, numbers +1 or -1": (lambda: Subtractor(1), dict(signs=True)),
    "1 head, a network behind, numbers +1 or -1": (lambda: Subtractor(1, behind=network(16, 1)), dict(signs=True)),
    "2 layers of 1 head": (lambda: TwoLayers(), {}),
    "2 layers of 1 head, each word replaced": (lambda: TwoLayers(keep=False), {}),
}
OFTEN = "2 heads", "2 heads, scores as fast as values"  # how many fail? Three seeds do not tell


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(3)))
    parser.add_argument("--many", type=int, default=40, help="seeds for the two rows whose failures are counted")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="default: data/experiments/two_heads.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    for name, (make, options) in tqdm(VARIANTS.items()):
        more = range(max(args.seeds) + 1, args.many) if name in OFTEN else ()
        for seed in [*args.seeds, *more]:
            torch.manual_seed(seed)
            model = make()
            parameters = sum(p.numel() for p in model.parameters())
            error = train(model, args.steps, **options)
            row = {"name": name, "seed": seed, "parameters": parameters, "error": error}
            rows.append(row | {"factors": factors(model)})
    record("two_heads", argv, rows, args.out, steps=args.steps, seeds=args.seeds)


if __name__ == "__main__":
    main()
