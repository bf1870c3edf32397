"""More data, or more parameters? BLEU on the test split for sizes of both, the same steps each (lesson 08).

Writes data/experiments/scaling.json; runs are kept in data/cache/runs/ and go on where they were.

python -m experiments.scaling --steps 1500 --seeds 0
"""

import argparse
import random

from experiments import add_training_arguments, record, train_and_score, write_pairs
from utils import corpus

WIDTHS = (64, 128, 256)  # d_model; d_ff is four times as wide
SHARES = (1, 4, 16)  # all training pairs, a quarter, a sixteenth


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--shares", type=int, nargs="+", default=SHARES)
    add_training_arguments(parser, "scaling")
    args = parser.parse_args(argv)
    whole, runs = corpus.load(), []
    for seed in args.seeds:
        shuffled = random.Random(seed).sample(whole.train, len(whole.train))
        for share in args.shares:
            pairs = args.runs / f"share-{share}-{seed}.tsv"
            write_pairs(pairs, shuffled[: len(shuffled) // share])
            for width in args.widths:
                folder = args.runs / f"share-{share}-width-{width}-{seed}"
                sizes = ["--d-model", str(width), "--d-ff", str(4 * width)]
                options = ["--pairs", str(pairs), "--steps", str(args.steps), "--seed", str(seed), *sizes]
                row, _ = train_and_score([*options, *args.options], folder, whole.test)
                runs.append({"d_model": width, "share": share, "seed": seed, **row})
    record("scaling", argv, runs, args.out, steps=args.steps, seeds=args.seeds)


if __name__ == "__main__":
    main()
