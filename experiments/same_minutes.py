"""RNN with attention against Transformer, and the dictionary glosses left out: the same minutes for each (lesson 08).

Every variant gets the same sentences, the same recipe and the same minutes of computing, one thread each; then it
translates the test split. Writes data/experiments/same_minutes.json. Runs are kept in data/cache/runs/ and go on where
they were, so the command may be interrupted.

python -m experiments.same_minutes --minutes 20 --seeds 0
"""

import argparse
import sys
from pathlib import Path

from experiments import record, train_and_score
from utils import corpus
from utils.config import ROOT
from utils.evaluation import compounds
from utils.translate import load_translator

VARIANTS = {
    "transformer": [],
    "rnn": ["--model", "rnn"],
    "transformer without glosses": ["--glosses", "0"],
}


def run(name: str, options: list[str], minutes: float, seed: int, folder: Path, test: list[corpus.TestItem]) -> dict:
    """Train one variant and score it: one row of the result."""
    row = train_and_score(["--minutes", str(minutes), "--seed", str(seed), *options], folder, test)
    right = sum(right for _, _, right in compounds(load_translator(folder, "cpu")))
    return {"name": name, "seed": seed, "minutes": minutes, **row, "compounds_right": right}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "data/cache/runs/same_minutes")
    parser.add_argument("--out", type=Path, help="default: data/experiments/same_minutes.json")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="passed on to every training run")
    args = parser.parse_args(argv)
    test = corpus.load().test
    rows = [
        run(name, options + args.options, args.minutes, seed, args.runs / f"{name.replace(' ', '-')}-{seed}", test)
        for seed in args.seeds
        for name, options in VARIANTS.items()
    ]
    argv = sys.argv[1:] if argv is None else argv
    record("same_minutes", argv, rows, args.out, minutes=args.minutes, seeds=args.seeds)


if __name__ == "__main__":
    main()
