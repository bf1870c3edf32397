"""Does adding need the feed-forward networks? A digit plus its neighbor, modulo 10, with and without them (lesson 07).

The task: of a number of six Chinese digits, say in English words, from the last place on, each digit plus the one after
it (the last plus the first), modulo 10. A row holds the training curve (means of ten steps) and the share of right
words under teacher forcing. Writes data/experiments/sums.json.

python -m experiments.sums
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from experiments import record
from experiments.ablations import small, without
from utils.tokenizer import BOS

DIGIT = 4  # the id of zero: pad, bos, eos and unk come before it


def sums(batch, n=6):
    """src (batch, n), random digits, and tgt (batch, 1 + n): <bos>, then the sums of neighbors, backwards."""
    digits = torch.randint(10, (batch, n))
    added = (digits + digits.roll(-1, dims=1)) % 10
    return digits + DIGIT, F.pad((added + DIGIT).flip(1), (1, 0), value=BOS)


def run(removed: str, seed: int, steps: int) -> dict:
    """One row: trained from this seed, a part removed or "nothing"."""
    torch.manual_seed(seed)
    model, losses = without(removed, small(2)), []
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 50)
        src, tgt = sums(64)
        loss = F.cross_entropy(model(src, tgt[:, :-1]).flatten(0, 1), tgt[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        src, tgt = sums(500)
        right = (model(src, tgt[:, :-1]).argmax(-1) == tgt[:, 1:]).float().mean().item()
    curve = [round(part.mean().item(), 4) for part in torch.tensor(losses).split(10)]
    return {"removed": removed, "seed": seed, "curve": curve, "right": round(right, 4)}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="default: data/experiments/sums.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    todo = [(removed, seed) for seed in args.seeds for removed in ("nothing", "feed-forward")]
    rows = [run(removed, seed, args.steps) for removed, seed in tqdm(todo)]
    record("sums", argv, rows, args.out, seeds=args.seeds, steps=args.steps)


if __name__ == "__main__":
    main()
