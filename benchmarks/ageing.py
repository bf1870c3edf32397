"""Does a training slow with its age? Target tokens a second, with memory in small pages and in huge ones.

Every batch is new, as in a real training; benchmarks/training.py repeats a few. `make train` asks for huge pages
(utils/recipe.py). Both ways of a precision run side by side, with one thread each. Why one is faster is not measured.

python -m benchmarks.ageing --updates 1200
"""

import argparse
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from benchmarks.common import CPU, positive, record, say, table
from utils.config import ROOT
from utils.recipe import HUGE_PAGES
from utils.runtime import ahead, computing_seconds
from utils.training import parse_arguments, prepare

PAGES = {"small": {}, "huge": HUGE_PAGES}


def rates(precision: str, updates: int, every: int, options: list[str]) -> list[float]:
    """Target tokens a second of each `every` updates of a teacher of `make train`."""
    flags = ["--precision", precision, "--numbers", "10000", "--steps", str(updates), "--threads", "1", *options]
    trainer, found = prepare(parse_arguments(flags)).trainer, []
    with closing(ahead(trainer.steps())) as steps:
        while len(found) < updates // every:
            began, tokens = computing_seconds(CPU), trainer.progress.tokens
            for _ in range(every):
                step = next(steps)
                trainer.train_step(step.batches, step.n_tokens)
            found.append(round((trainer.progress.tokens - tokens) / (computing_seconds(CPU) - began), 1))
    return found


def side_by_side(precision: str, arguments: list[str]) -> dict[str, list[float]]:
    """`rates` of two processes at a time, by how their memory is paged."""
    command = [sys.executable, "-m", "benchmarks.ageing", "--alone", precision, *arguments]
    inherited = {name: value for name, value in os.environ.items() if name not in HUGE_PAGES}
    running = {
        pages: subprocess.Popen(command, cwd=ROOT, env=inherited | setting, stdout=subprocess.PIPE, text=True)
        for pages, setting in PAGES.items()
    }
    answers = {pages: process.communicate()[0] for pages, process in running.items()}
    if any(process.returncode for process in running.values()):
        raise SystemExit("A training of the benchmark failed; the reason stands above.")
    return {pages: json.loads(answer) for pages, answer in answers.items()}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ageing", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--updates", type=positive, default=1200)
    add("--every", type=positive, default=150, help="updates to one figure")
    add("--precisions", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    add("--alone", metavar="PRECISION", help="print the rates of this one training, in this process")
    add("--out", type=Path, help="default: benchmarks/results")
    add("--options", nargs=argparse.REMAINDER, default=[], help="passed on to the training")
    args = parser.parse_args(argv)
    if args.updates < args.every:
        parser.error(f"--updates {args.updates} gives no figure: it must be at least --every {args.every}.")
    if args.alone:
        print(json.dumps(rates(args.alone, args.updates, args.every, args.options)))
        return
    same = ["--updates", str(args.updates), "--every", str(args.every), "--options", *args.options]
    found = {}
    for precision in args.precisions:
        say(precision)
        found[precision] = side_by_side(precision, same)
    ends = range(args.every, args.updates + 1, args.every)
    lines = [
        [f"{precision}, {pages} pages", *(f"{rate:,.0f}" for rate in row)]
        for precision, both in found.items()
        for pages, row in both.items()
    ]
    text = (
        "## Ageing\n\nTarget tokens a second of the updates up to each number, of computing time; one thread each, two "
        "processes at a time.\n\n" + table(["update", *(f"{end:,}" for end in ends)], lines)
    )
    record("ageing", argv, text, args.out, every=args.every, tokens_per_second=found)


if __name__ == "__main__":
    main()
