"""RNN with attention against Transformer, and the dictionary glosses left out: the same minutes for each (lesson 08).

Every variant gets the same sentences, the same recipe and the same minutes of computing, one thread each; then it
translates the test split. Writes data/experiments/same_minutes.json. Runs are kept in data/cache/runs/ and go on where
they were, so the command may be interrupted.

python -m experiments.same_minutes --minutes 20 --seeds 0
"""

import argparse
import json
import sys
from pathlib import Path

from experiments import record
from utils import corpus
from utils.config import ROOT
from utils.evaluation import compounds, evaluate
from utils.training import main as train
from utils.translate import load_translator

VARIANTS = {
    "transformer": [],
    "rnn": ["--model", "rnn"],
    "transformer without glosses": ["--glosses", "0"],
}


def run(name: str, options: list[str], minutes: float, seed: int, folder: Path, test: list[corpus.TestItem]) -> dict:
    """Train one variant and score it: one row of the result."""
    arguments = ["--out", str(folder), "--minutes", str(minutes), "--seed", str(seed), "--threads", "1", *options]
    if train(arguments) != 0:
        raise SystemExit(f"The run '{name}' did not finish; the same command goes on from there.")
    log = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    translator = load_translator(folder, "cpu")
    scores = evaluate(translator, test)
    kept = {key: log[key] for key in ("parameters", "pairs", "history")}
    found = {key: scores[key] for key in ("bleu", "chrf", "bleu_multi")}
    right = sum(right for _, _, right in compounds(translator))
    return {"name": name, "seed": seed, "minutes": minutes, **kept, **found, "compounds_right": right}


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
