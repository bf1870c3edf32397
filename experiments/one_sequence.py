"""Encoder and decoder, or one decoder for both: who translates better at equal parameters and updates? (lesson 09)

The same pairs, tokens and recipe for all: a Transformer of 3 + 3 layers, a decoder-only one of 7 (84 d^2 weights in the
layers of both), and the same whose source tokens ask the whole source. Each rate is a row; choose on dev. Writes
data/experiments/one_sequence.json; runs are kept in data/cache/runs/one_sequence/ and go on where they were.

python -m experiments.one_sequence
"""

import argparse

from experiments import add_training_arguments, record, rows_left, train_and_score
from utils import corpus
from utils.config import ROOT

ARMS = {
    "encoder and decoder": "--n-layers 3",
    "decoder only": "--model decoder-only --n-layers 7",
    "decoder only, prefix": "--model decoder-only --n-layers 7 --prefix",
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[1.5e-3])
    add_training_arguments(parser, "one_sequence")
    args = parser.parse_args(argv)
    out, test = args.out or ROOT / "data/experiments/one_sequence.json", corpus.load().test
    keys = [(name, lr, seed) for seed in args.seeds for lr in args.rates for name in ARMS]
    rows, left = rows_left(out, keys, ("name", "lr", "seed"), steps=args.steps)
    for name, lr, seed in left:
        options = f"--d-model 128 --d-ff 512 --steps {args.steps} --seed {seed} --lr {lr}".split()
        folder = args.runs / f"{name.replace(', ', '-').replace(' ', '-')}-{lr}-{seed}"
        row, _ = train_and_score([*options, *args.options, *ARMS[name].split()], folder, test)
        rows.append({"name": name, "lr": lr, "seed": seed, **row})
        record("one_sequence", argv, rows, out, steps=args.steps)


if __name__ == "__main__":
    main()
