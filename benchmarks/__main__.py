"""`make bench`: this course against other implementations, everything in one run.

Each peer gets an environment of its own in .bench/; one that cannot be installed or run stands in the table with the
reason. The tables are printed and kept in benchmarks/results/.

make bench ARGS="--only training --peers torch,x-transformers --rounds 5"
make bench ARGS="--only quality --minutes 20"
"""

import argparse
import sys

import torch

from benchmarks import decoding, gpu, growth, quality, training
from benchmarks.common import refuse_unknown

BENCHMARKS = {"training": training, "decoding": decoding, "growth": growth, "gpu": gpu, "quality": quality}
DEFAULT = "training,decoding,growth,gpu"
# Which of the options each benchmark knows.
OPTIONS = {
    "training": ("rounds", "threads"),
    "decoding": ("rounds", "threads"),
    "growth": ("threads",),
    "gpu": ("rounds",),
    "quality": ("minutes",),
}


def arguments(name: str, args: argparse.Namespace) -> list[str]:
    """The command line of one benchmark: the options given that it knows, and those of the peers that it has."""
    found = []
    for option in OPTIONS[name]:
        if (value := getattr(args, option)) is not None:
            found += [f"--{option}", str(value)]
    if args.peers is not None and hasattr(BENCHMARKS[name], "PEERS"):
        found += ["--peers", ",".join(peer for peer in args.peers.split(",") if peer in BENCHMARKS[name].PEERS)]
    return found


def main(argv: list[str] | None = None) -> None:
    every = sorted({peer for module in BENCHMARKS.values() for peer in getattr(module, "PEERS", [])})
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", default=DEFAULT, help=f"with commas, of {', '.join(BENCHMARKS)}; default: {DEFAULT}")
    add("--peers", help=f"with commas, of {', '.join(every)}; default: all but ours-compile")
    add("--rounds", type=int, help="turns of each peer")
    add("--threads", type=int, help="CPU threads of each; default: all cores")
    add("--minutes", type=float, help="minutes of computing for each recipe of `quality`")
    args = parser.parse_args(argv)
    names = args.only.split(",")
    refuse_unknown(names, BENCHMARKS, "benchmark")
    refuse_unknown(filter(None, (args.peers or "").split(",")), every, "peer")
    for name in names:
        if name == "gpu" and not torch.cuda.is_available():
            print("GPU: skipped, PyTorch finds none on this machine.\n")
            continue
        print(f"== {name}", file=sys.stderr, flush=True)
        BENCHMARKS[name].main(arguments(name, args))


if __name__ == "__main__":
    main()
