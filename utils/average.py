"""The mean of the weights of several models that began as one: often better than each (lesson 08b).

python -m utils.average CHECKPOINT ... --out FOLDER

Attention Is All You Need, section 6.1, averages the last checkpoints of one run. Of runs that go on from the same
weights with other data it is called a model soup (arXiv 2203.05482).
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from utils.checkpoint import CheckpointError, model_files
from utils.ensemble import load_models
from utils.files import make_folder, write_files
from utils.runtime import utf8_output


def write(checkpoints: list[Path], out: Path) -> dict:
    """Write the checkpoint `out`, each weight the mean over the checkpoints, and average.json, which tells of which.

    CheckpointError where their sizes or vocabularies differ.
    """
    models, tokenizer = load_models(checkpoints)
    config = models[-1].config
    for checkpoint, model in zip(checkpoints, models, strict=True):
        if replace(model.config, dropout=0.0) != replace(config, dropout=0.0):
            raise CheckpointError(
                f"{checkpoint} has other sizes or vocabularies than {checkpoints[-1]}: they have no mean."
            )
    states = [model.state_dict() for model in models]
    weights = {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]}
    log = {"mean of": [checkpoint.name for checkpoint in checkpoints], "minutes": 0.0}
    make_folder(out)
    files = model_files(weights, config, tokenizer, half=True)
    write_files(out, files | {"average.json": json.dumps(log) + "\n"})
    return log


def main(argv: list[str] | None = None) -> int:
    utf8_output()
    parser = argparse.ArgumentParser(prog="python -m utils.average", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", type=Path, nargs="+", help="checkpoint folders")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the mean")
    parser.add_argument("--threads", type=int, help="accepted as by every stage; one is enough")
    args = parser.parse_args(argv)
    try:
        print(json.dumps(write(args.checkpoints, args.out)))
    except (CheckpointError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
