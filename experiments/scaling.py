"""More data, or more parameters? BLEU on the test split for sizes of both, the same steps each (lesson 08).

Writes data/experiments/scaling.json; runs are kept in data/cache/runs/ and go on where they were.

python -m experiments.scaling --steps 1500 --seeds 0
"""

import argparse
import random
import sys
from pathlib import Path

from experiments import record, train_and_score
from utils import corpus
from utils.config import ROOT

WIDTHS = (64, 128, 256)  # d_model; d_ff is four times as wide
SHARES = (1, 4, 16)  # all training pairs, a quarter, a sixteenth


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--shares", type=int, nargs="+", default=SHARES)
    parser.add_argument("--runs", type=Path, default=ROOT / "data/cache/runs/scaling")
    parser.add_argument("--out", type=Path, help="default: data/experiments/scaling.json")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="passed on to every training run")
    argv = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(argv)
    whole, runs = corpus.load(), []
    args.runs.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        shuffled = random.Random(seed).sample(whole.train, len(whole.train))
        for share in args.shares:
            pairs = args.runs / f"share-{share}-{seed}.tsv"
            chosen = shuffled[: len(shuffled) // share]
            pairs.write_text("".join(f"{pair.zh}\t{pair.en}\n" for pair in chosen), encoding="utf-8")
            for width in args.widths:
                folder = args.runs / f"share-{share}-width-{width}-{seed}"
                sizes = ["--d-model", str(width), "--d-ff", str(4 * width)]
                options = ["--pairs", str(pairs), "--steps", str(args.steps), "--seed", str(seed), *sizes]
                row = train_and_score([*options, *args.options], folder, whole.test)
                runs.append({"d_model": width, "share": share, "seed": seed, **row})
    record("scaling", argv, runs, args.out, steps=args.steps, seeds=args.seeds)


if __name__ == "__main__":
    main()
