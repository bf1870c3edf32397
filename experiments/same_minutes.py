"""RNN with attention against Transformer, and the dictionary glosses left out: the same minutes for each (lesson 08).

Every variant gets the same sentences, the same recipe and the same minutes of computing, one thread each; then it
translates the test split. Writes data/experiments/same_minutes.json. Runs are kept in data/cache/runs/ and go on where
they were, so the command may be interrupted.

python -m experiments.same_minutes --minutes 20 --seeds 0
"""

import argparse
from pathlib import Path

from experiments import add_training_arguments, record, train_and_score
from utils import corpus
from utils.evaluation import PLAIN_SEARCH, compounds

VARIANTS = {
    "transformer": [],
    "rnn": ["--model", "rnn"],
    "transformer without glosses": ["--glosses", "0"],
}


def run(name: str, options: list[str], minutes: float, seed: int, folder: Path, test: list[corpus.TestItem]) -> dict:
    """Train one variant and score it: one row of the result."""
    row, translator = train_and_score(["--minutes", str(minutes), "--seed", str(seed), *options], folder, test)
    right = sum(right for _, _, right in compounds(translator, **PLAIN_SEARCH))
    return {"name": name, "seed": seed, "minutes": minutes, **row, "compounds_right": right}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    add_training_arguments(parser, "same_minutes")
    args = parser.parse_args(argv)
    test = corpus.load().test
    rows = [
        run(name, options + args.options, args.minutes, seed, args.runs / f"{name.replace(' ', '-')}-{seed}", test)
        for seed in args.seeds
        for name, options in VARIANTS.items()
    ]
    record("same_minutes", argv, rows, args.out, minutes=args.minutes, seeds=args.seeds)


if __name__ == "__main__":
    main()
