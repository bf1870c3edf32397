"""Two processes on one machine: the rate of our training step alone and beside another torch process.

A lesson beside `make train`, say, each with a thread for every core. Threads that wait for one another spin for a
while before they sleep, and so take the cores from who could use them. How long they spin is set before torch loads:
`import utils` says it, unless the user has (see utils/__init__.py). Measured by the clock on the wall.

python -m benchmarks.sharing --rounds 3 --settings GOMP_SPINCOUNT=1000 OMP_WAIT_POLICY=PASSIVE
"""

import argparse
import os
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

from benchmarks.common import BENCH, PeerError, Worker, course_settings, positive, record, say, spread, table
from benchmarks.training import batches, sizes, write_job

DEFAULT = {"GOMP_SPINCOUNT": "300000"}  # what GNU's OpenMP does by itself, said aloud so that `import utils` leaves it


def pair(text: str) -> tuple[str, str]:
    """NAME=VALUE of the command line."""
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def readable(settings: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "nothing set"


def rate(worker: Worker, seconds: float, neighbor: Worker | None = None) -> float:
    """Target tokens a second of one worker, while a neighbor works from before its first step to after its last."""
    if neighbor is not None:
        neighbor.send({"seconds": 1.5 * seconds + 3})
    found = worker.ask({"seconds": seconds})
    if neighbor is not None:
        neighbor.answer()
    return found["tokens"] / found["seconds"]


def measure(ways: dict[str, dict[str, str]], job: Path, threads: int, rounds: int, seconds: float) -> dict:
    """Rates by way of waiting: alone, beside a process that waits in the same way, beside one with torch's default.

    The first way is torch's default. The ways take turns; the first round warms up and is left out.
    """
    found: dict[str, dict[str, list[float]]] = {name: {} for name in ways}
    with ExitStack() as stack:

        def start(settings: dict[str, str]) -> Worker:
            return stack.enter_context(closing(Worker("ours", "benchmarks.peers.training", job, threads, settings)))

        workers = {name: start(settings) for name, settings in ways.items()}
        neighbors = {name: start(settings) for name, settings in ways.items()}
        default = next(iter(ways))
        for round_ in range(rounds + 1):
            for name in ways:
                rates = {"alone": rate(workers[name], seconds)}
                rates["beside the same"] = rate(workers[name], seconds, neighbors[name])
                rates["beside the default"] = rates["beside the same"]
                if name != default:
                    rates["beside the default"] = rate(workers[name], seconds, neighbors[default])
                for case, value in rates.items():
                    if round_ > 0:
                        found[name].setdefault(case, []).append(value)
            say(f"round {round_ + 1} of {rounds + 1}")
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rounds", type=positive, default=3)
    add("--seconds", type=float, default=10.0, help="of each measurement")
    add("--batch-tokens", type=positive, default=1500)
    add("--settings", type=pair, nargs="*", default=[], metavar="NAME=VALUE", help="environment variables to try, too")
    add("--threads", type=positive, default=os.cpu_count())
    add("--out", type=Path, help="default: benchmarks/results")
    args = parser.parse_args(argv)

    ways = {"torch's default": DEFAULT, "this course": course_settings()}
    ways |= {f"{name}={value}": {name: value} for name, value in args.settings}
    rows = batches(2, args.batch_tokens)
    job = write_job(
        BENCH / "sharing.json", sizes=sizes(), batches=rows, threads=args.threads, batch_tokens=args.batch_tokens
    )
    try:
        found = measure(ways, job, args.threads, args.rounds, args.seconds)
    except PeerError as error:
        raise SystemExit(f"Our own program {error}") from None
    lines = []
    for name, rates in found.items():
        alone, same, default = (rates[case] for case in ("alone", "beside the same", "beside the default"))
        label = name if name == readable(ways[name]) else f"{name} ({readable(ways[name])})"
        cells = [label, f"{median(alone):,.0f}"]
        cells += [f"{median(alone) / median(found[next(iter(ways))]['alone']):.2f}"]
        for beside in (same, default):
            cells += [f"{median(beside):,.0f}", spread([b / a for b, a in zip(beside, alone, strict=True)])]
        lines.append(cells)
    header = ["how threads wait", "alone, tokens/s", "of torch's default"]
    header += ["beside one that waits alike, tokens/s", "of alone", "beside torch's default, tokens/s", "of alone"]
    text = f"""## Beside another torch process

Our training step in float32, {args.threads} threads, on batches of at most {args.batch_tokens} tokens, alone and \
beside a second process that trains the same model with as many threads on the same {os.cpu_count()} cores; \
{args.rounds} rounds in turns, {args.seconds:g} s each, by the clock on the wall.

{table(header, lines)}

Shares: median (smallest..largest) over the rounds. Half of the cores for each would be 0.50."""
    record("sharing", argv, text, args.out, threads=args.threads, settings=ways, tokens_per_second=found)


if __name__ == "__main__":
    main()
