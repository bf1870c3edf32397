"""The long experiments behind some figures: each script writes its data/experiments/NAME.json through `record`."""

import json
import subprocess
from pathlib import Path

from utils.checkpoint import write_text_atomically
from utils.config import ROOT
from utils.training import machine


def record(name: str, argv: list[str], runs: list[dict], out: Path | None = None, **settings) -> Path:
    """Write the rows that an experiment found, the command, the commit and the machine; returns the file's path."""
    out = out or ROOT / "data/experiments" / f"{name}.json"
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    result = {
        "command": f"python -m experiments.{name} {' '.join(argv)}".strip(),
        "commit": git.stdout.strip(),
        "machine": machine(),
        **settings,
        "runs": runs,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(out, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return out
