"""The long experiments behind some figures: each script writes its data/experiments/NAME.json through `record`."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from utils import provenance, training
from utils.config import ROOT
from utils.corpus import TestItem
from utils.evaluation import evaluate
from utils.files import write_text_atomically
from utils.translate import Translator, load_translator


def record(name: str, argv: list[str] | None, runs: list[dict], out: Path | None = None, **settings) -> Path:
    """Write the rows that an experiment found, with its settings, command, commit and machine; returns the path."""
    out = out or ROOT / "data/experiments" / f"{name}.json"
    return provenance.record(f"experiments.{name}", argv, out, settings | {"runs": runs})


def add_training_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """What every experiment understands that trains translators: where its runs and its result go, further options."""
    add = parser.add_argument
    add("--runs", type=Path, default=ROOT / "data/cache/runs" / name)
    add("--out", type=Path, help=f"default: data/experiments/{name}.json")
    add("--options", nargs=argparse.REMAINDER, default=[], help="passed on to every training run")


def write_pairs(path: Path, pairs: Iterable) -> None:
    """Sentence pairs (anything with .zh and .en) as the file that `python -m utils.training --pairs` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, "".join(f"{pair.zh}\t{pair.en}\n" for pair in pairs))


def train_and_score(options: list[str], folder: Path, test: list[TestItem]) -> tuple[dict, Translator]:
    """Train one model in `folder` (or go on there), translate the test: a row of a result, and the model.

    On one thread of the CPU, also where there is a GPU: results of several machines are to be comparable.
    """
    if training.main(["--out", str(folder), "--device", "cpu", "--threads", "1", *options]) != 0:
        raise SystemExit(f"The run in {folder} did not finish; the same command goes on from there.")
    log = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    translator = load_translator(folder, "cpu")
    scores = evaluate(translator, test)
    kept = {key: log[key] for key in ("parameters", "pairs", "history")} | {"precision": log["training"]["precision"]}
    return kept | {key: scores[key] for key in ("bleu", "chrf", "bleu_multi")}, translator
