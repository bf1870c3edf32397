"""A look-up game for attention, with and without 1/sqrt(d): what makes an unscaled layer fail (lesson 02).

Eight of 32 words hold a random number each, and one of the eight is asked for: which number does it hold? Queries and
keys of length 256 are learned from the squared error alone. Each variant is trained at five learning rates from three
seeds; the best rate of each is chosen on 1,000 questions and reported on 1,000 others. Guessing is right once in eight.
Writes data/experiments/look_up.json; what stands there already is kept (delete it to run all again).

python -m experiments.look_up
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from experiments import record, rows_left, seeds_of
from utils.config import ROOT

ADAM, SGD = (0.01, 0.03, 0.1, 0.3, 1.0), (3.0, 10.0, 30.0, 100.0, 300.0)


def learn_to_look_up(scale, lr, seed, start=1.0, plain=False, clip=None, steps=120):
    """Shares of right answers: of 1,000 questions to choose by, of 1,000 others.

    Adam, or plain steps along the gradient, cut to the length `clip` if one is given.
    """
    torch.manual_seed(seed)
    Q, K = ((start * torch.randn(32, 256)).requires_grad_() for _ in range(2))
    optimizer = (torch.optim.SGD if plain else torch.optim.Adam)([Q, K], lr)

    def play(batch):
        shown = torch.rand(batch, 32).argsort(dim=1)[:, :8]  # (batch, 8), all different
        numbers = torch.randn(batch, 8)
        share = ((Q[shown[:, :1]] * K[shown]).sum(-1) * scale).softmax(-1)  # the first is asked for
        return share, (share * numbers).sum(-1) - numbers[:, 0]

    for _ in range(steps):
        optimizer.zero_grad()
        play(64)[1].square().mean().backward()
        if clip:
            nn.utils.clip_grad_norm_([Q, K], clip)
        optimizer.step()
    with torch.no_grad():
        return [(play(1000)[0].argmax(-1) == 0).float().mean().item() for _ in range(2)]


VARIANTS = {  # name: (rates, options)
    "divided by √d": (ADAM, dict(scale=1 / 16)),
    "no scaling": (ADAM, dict(scale=1)),
    "no scaling, 16 times smaller scores at the start": (ADAM, dict(scale=1, start=0.25)),
    "divided by √d, 16 times larger scores at the start": (ADAM, dict(scale=1 / 16, start=4.0)),
    "no scaling, ten times the steps": (ADAM, dict(scale=1, steps=1200)),
    "divided by √d, plain steps": (SGD, dict(scale=1 / 16, plain=True)),
    "no scaling, plain steps": (SGD, dict(scale=1, plain=True)),
    "divided by √d, plain steps, cut": (SGD, dict(scale=1 / 16, plain=True, clip=0.1)),
    "no scaling, plain steps, cut": (SGD, dict(scale=1, plain=True, clip=0.1)),
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--out", type=Path, help="default: data/experiments/look_up.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    out = args.out or ROOT / "data/experiments/look_up.json"
    keys = [(name, lr, seed) for name, (rates, _) in VARIANTS.items() for lr in rates for seed in args.seeds]
    rows, left = rows_left(out, keys, ("name", "lr", "seed"), steps=args.steps)
    for name, lr, seed in tqdm(list(left)):
        options = VARIANTS[name][1]
        steps = args.steps * options.get("steps", 120) // 120
        chosen_by, reported = learn_to_look_up(lr=lr, seed=seed, **options | {"steps": steps})
        rows.append({"name": name, "lr": lr, "seed": seed, "dev": chosen_by, "test": reported})
        record("look_up", argv, rows, out, steps=args.steps, seeds=seeds_of(rows))


if __name__ == "__main__":
    main()
