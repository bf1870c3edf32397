"""`make bench`: this course against other implementations; ageing, quality and data only where --only names them.

Each peer gets an environment of its own in .bench/; one that cannot be installed or run stands in the table with the
reason. The tables are printed and kept in benchmarks/results/. Each part is a command of its own, too, which knows more
options: `python -m benchmarks.training --help`.

make bench ARGS="--only training --peers torch,x-transformers --rounds 5"
make bench ARGS="--only quality --updates 1000 --minutes 10"
"""

import argparse
import sys
import time
from importlib import import_module

import torch

from benchmarks.common import positive, refuse_unknown

# The parts, each a module with a `main`, and which of the options below it knows.
PARTS = {
    "training": ("rounds", "threads", "peers"),
    "sharing": ("rounds", "threads"),
    "decoding": ("rounds", "threads", "peers"),
    "growth": ("threads",),
    "ageing": ("updates",),
    "gpu": ("rounds",),
    "quality": ("updates", "minutes"),
    "data": (),
}
DEFAULT = "training,sharing,decoding,growth,gpu"


def arguments(part: str, args: argparse.Namespace) -> list[str]:
    """The command line of one part: the options given that it knows, and those of the peers that it has."""
    found = []
    for option in PARTS[part]:
        value = getattr(args, option)
        if option == "peers" and value is not None:
            value = ",".join(peer for peer in value.split(",") if peer in import_module(f"benchmarks.{part}").PEERS)
        if value is not None:
            found += [f"--{option}", str(value)]
    return found


def who_knows(option: str) -> str:
    """The parts that have this option."""
    return ", ".join(part for part, options in PARTS.items() if option in options)


def main(argv: list[str] | None = None) -> None:
    with_peers = [part for part, options in PARTS.items() if "peers" in options]
    every = sorted({peer for part in with_peers for peer in import_module(f"benchmarks.{part}").PEERS})
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", default=DEFAULT, help=f"with commas, of {', '.join(PARTS)}; default: {DEFAULT}")
    add("--peers", help=f"with commas, of {', '.join(every)}; default: all but ours-compile")
    add("--rounds", type=positive, help=f"turns of each peer: {who_knows('rounds')}")
    add("--threads", type=positive, help=f"CPU threads of each, default: all cores: {who_knows('threads')}")
    add("--updates", type=int, help=f"updates of each training: {who_knows('updates')}")
    add("--minutes", type=float, help=f"minutes of computing of each training: {who_knows('minutes')}")
    args = parser.parse_args(argv)
    names = args.only.split(",")
    refuse_unknown(names, PARTS, "benchmark")
    refuse_unknown(filter(None, (args.peers or "").split(",")), every, "peer")
    for name in names:
        if name == "gpu" and not torch.cuda.is_available():
            print("GPU: skipped, PyTorch finds none on this machine.\n")
            continue
        print(f"== {name}", file=sys.stderr, flush=True)
        began = time.perf_counter()
        import_module(f"benchmarks.{name}").main(arguments(name, args))
        print(f"== {name}: {(time.perf_counter() - began) / 60:.1f} minutes", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
