"""Data of any size: what millions of pairs cost before the first training step, in time and in memory.

A file of synthetic pairs is prepared as `--pairs` does it, in a process of its own; a second process opens what the
first one made.

python -m benchmarks.data --lines 2000000
"""

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import BENCH, PeerError, last_line, positive, record, say, table
from utils import pairs
from utils.batching import EpochBatches
from utils.config import ROOT
from utils.fetch import fetched

LIMITS = {"second start": 10.0, "epoch": 5.0, "bytes": 1.5e9}  # what the course promises for two million pairs
BATCHES = 200


def write_pairs(path: Path, n: int, seed: int = 0) -> None:
    """n lines, each two sentences of Tatoeba as it comes; one target in fifty is the same, which makes a large family.

    The same lines every time.
    """
    with fetched("tatoeba.tsv").open(encoding="utf-8-sig", newline="") as file:
        rows = [(zh, en) for _, zh, _, en in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            (zh, en), (zh_2, en_2) = draw.choice(rows), draw.choice(rows)
            file.write(f"{zh}{zh_2}\t{'I do not know.' if i % 50 == 0 else f'{en} {en_2}'}\n")


def peak_bytes() -> int:
    """The most memory that this process has had at one moment, what it maps of files included (peak RSS)."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux getrusage counts what the process had that started this one, before exec
        lines = status.read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def start(path: str, cache: str, batch_tokens: int) -> None:
    """What a training does before its first step and some batches on; prints what each took, as JSON."""
    began = time.perf_counter()
    prepared = pairs.prepare(path, cache=cache)
    ready = time.perf_counter()
    found = {
        "prepare": ready - began,
        "computing": time.process_time(),
        "peak_when_ready": peak_bytes(),
        "report": prepared.report.removeprefix(f"{path}: "),
    }
    data = EpochBatches(prepared.train.src, prepared.train.tgt, batch_tokens)
    data.fingerprint()
    found["fingerprint"] = time.perf_counter() - ready
    began = time.perf_counter()
    epoch = data.indices(0)
    found["epoch"] = time.perf_counter() - began
    began = time.perf_counter()
    for indices in epoch[:BATCHES]:
        data.batch(indices)
    found["batch"] = (time.perf_counter() - began) / len(epoch[:BATCHES])
    print(json.dumps(found | {"peak": peak_bytes(), "batches": len(epoch)}))


def in_process(path: Path, cache: Path, batch_tokens: int) -> dict:
    """`start` in a process of its own, and the seconds of the whole process, imports included."""
    code = f"from benchmarks.data import start; start({str(path)!r}, {str(cache)!r}, {batch_tokens})"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise PeerError(f"stopped: {last_line(done.stderr)}")
    return json.loads(done.stdout) | {"process": time.perf_counter() - began}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--lines", type=positive, default=2_000_000)
    add("--batch-tokens", type=positive, default=2500)
    add("--out", type=Path, help="default: benchmarks/results")
    args = parser.parse_args(argv)

    BENCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BENCH) as folder:  # on the disk of the course: /tmp may be memory
        path, cache = Path(folder) / "pairs.tsv", Path(folder) / "cache"
        say(f"writing {args.lines:,} pairs")
        write_pairs(path, args.lines)
        starts = {}
        for name in ("first start", "second start"):
            say(name)
            starts[name] = in_process(path, cache, args.batch_tokens)
        size = {"file": path.stat().st_size, "cache": sum(f.stat().st_size for f in cache.rglob("*") if f.is_file())}

    rows = {
        "pairs ready, s": lambda found: f"{found['prepare']:.1f}",
        "of it computing, all threads and imports, s": lambda found: f"{found['computing']:.1f}",
        "fingerprint, s": lambda found: f"{found['fingerprint']:.1f}",
        "order of an epoch, s": lambda found: f"{found['epoch']:.1f}",
        "a batch, ms": lambda found: f"{1000 * found['batch']:.2f}",
        "peak memory when ready, GB": lambda found: f"{found['peak_when_ready'] / 1e9:.2f}",
        "peak memory, GB": lambda found: f"{found['peak'] / 1e9:.2f}",
    }
    limits = {
        "pairs ready, s": f"second: {LIMITS['second start']:.0f}",
        "order of an epoch, s": f"{LIMITS['epoch']:.0f}",
    }
    limits["peak memory, GB"] = f"{LIMITS['bytes'] / 1e9:.1f}"
    lines = [[row, *(cell(found) for found in starts.values()), limits.get(row, "")] for row, cell in rows.items()]
    text = "\n\n".join(
        [
            "## Data",
            f"{args.lines:,} lines, {size['file'] / 1e6:,.0f} MB; prepared {size['cache'] / 1e6:,.0f} MB. Batches of "
            f"{args.batch_tokens:,} tokens. Limits are for two million pairs.",
            table(["", *starts, "limit"], lines),
            starts["first start"]["report"],
        ]
    )
    record("data", argv, text, args.out, lines=args.lines, batch_tokens=args.batch_tokens, size=size, starts=starts)


if __name__ == "__main__":
    main()
