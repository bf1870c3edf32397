"""The long experiments behind some figures: each script writes its data/experiments/NAME.json through `record`."""

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from utils import checkpoint, provenance, training
from utils.config import ROOT, TrainConfig, add_flags
from utils.corpus import TestItem
from utils.evaluation import PLAIN_SEARCH, evaluate
from utils.files import write_files, write_text_atomically
from utils.tokenizer import Tokenizer
from utils.trainer import Trainer
from utils.translate import Translator, load_translator

SCORES = ("bleu", "chrf", "bleu_multi")  # what a row of a result keeps of `evaluate`


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
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser, TrainConfig)
    asked = parser.parse_known_args(options)[0]
    refuse_longer(folder, log["training"], steps=asked.steps, minutes=asked.minutes)
    translator = load_translator(folder, "cpu")
    kept = {key: log[key] for key in ("parameters", "pairs", "history")} | {"precision": log["training"]["precision"]}
    return kept | graded(translator, test), translator


def refuse_longer(folder: Path, trained: dict, **asked) -> None:
    """A run that is there already stands for one of so many steps or minutes, or SystemExit, one sentence."""
    for limit, value in asked.items():
        if value is not None and trained[limit] != value:
            was = f"The run in {folder} was trained with {limit} {trained[limit]}, not {value}"
            raise SystemExit(f"{was}: keep the new one apart with --runs, or delete the folder.")


def graded(translator: Translator, test: list[TestItem]) -> dict[str, float]:
    """BLEU and chrF of the test translated by a search without what was chosen for the model that ships."""
    scores = evaluate(translator, test, **PLAIN_SEARCH)
    return {key: scores[key] for key in SCORES}


def rows_left(
    out: Path, keys: Iterable[tuple], names: tuple[str, ...], **settings
) -> tuple[list[dict], Iterator[tuple]]:
    """The rows that a result has already, and of the keys those that have no row; `names` are the fields of a key.

    The settings stand once in the file, for all of its rows. Raises SystemExit, one sentence, where it has others.
    """
    found = provenance.read(out)
    for name, value in json.loads(json.dumps(settings)).items():  # as a file has them: its tuples are lists
        if found and found.get(name) != value:
            there = f"{out} has runs whose {name} is {found.get(name)}, not {value}"
            raise SystemExit(f"{there}: keep the new ones apart (--out, and --runs where there is one).")
    rows = found.get("runs", [])
    done = {tuple(row[name] for name in names) for row in rows}
    return rows, (key for key in keys if key not in done)


def seeds_of(rows: list[dict]) -> list[int]:
    """The seeds of all rows, also of those that an earlier call made."""
    return sorted({row["seed"] for row in rows})


def train_kept(trainer: Trainer, tokenizer: Tokenizer, folder: Path, report: Callable[[Trainer], dict]) -> Trainer:
    """Train to the end in `folder`, or go on there: what `python -m utils.training` does, for any model and loss.

    The folder gets a checkpoint, its log, and the state to go on from; the trainer's model gets the averaged weights.
    """
    state = folder / "train_state.pt"
    if state.exists():
        trainer.load_state(torch.load(state, map_location="cpu", weights_only=True))

    def save(trainer: Trainer) -> None:
        buffer = io.BytesIO()
        torch.save(trainer.state(), buffer)
        log = {
            "command": provenance.command(f"experiments.{Path(sys.argv[0]).stem}", None, provenance.PLACES),
            "commit": provenance.commit(),
            "machine": provenance.machine(),
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
            "training": asdict(trainer.config),
            "history": trainer.progress.history,
        }
        files = checkpoint.model_files(trainer.weights(), trainer.model.config, tokenizer, half=True)
        files |= {"training.json": json.dumps(log, indent=1) + "\n"}
        write_files(folder, {"train_state.pt": buffer.getvalue()} | files)

    if trainer.fraction_done() < 1:
        folder.mkdir(parents=True, exist_ok=True)
        trainer.fit(report, save)
    log = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    refuse_longer(folder, log["training"], steps=trainer.config.steps)
    return averaged(trainer)


def averaged(trainer: Trainer) -> Trainer:
    """The same trainer, whose model now has the averaged weights."""
    with torch.no_grad():
        for name, p in trainer.model.named_parameters():
            p.copy_(trainer.weights()[name])
    return trainer
