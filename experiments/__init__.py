"""The long experiments behind some figures: each script writes its data/experiments/NAME.json through `record`."""

import json
import subprocess
from pathlib import Path

from utils import training
from utils.checkpoint import write_text_atomically
from utils.config import ROOT
from utils.corpus import TestItem
from utils.evaluation import evaluate
from utils.translate import load_translator


def record(name: str, argv: list[str], runs: list[dict], out: Path | None = None, **settings) -> Path:
    """Write the rows that an experiment found, the command, the commit and the machine; returns the file's path."""
    out = out or ROOT / "data/experiments" / f"{name}.json"
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    result = {
        "command": f"python -m experiments.{name} {' '.join(argv)}".strip(),
        "commit": git.stdout.strip(),
        "machine": training.machine(),
        **settings,
        "runs": runs,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(out, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return out


def train_and_score(options: list[str], folder: Path, test: list[TestItem]) -> dict:
    """Train one model on one thread in `folder` (or go on there), translate the test items: one row of a result."""
    if training.main(["--out", str(folder), "--threads", "1", *options]) != 0:
        raise SystemExit(f"The run in {folder} did not finish; the same command goes on from there.")
    log = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    scores = evaluate(load_translator(folder, "cpu"), test)
    kept = {key: log[key] for key in ("parameters", "pairs", "history")}
    return kept | {key: scores[key] for key in ("bleu", "chrf", "bleu_multi")}
