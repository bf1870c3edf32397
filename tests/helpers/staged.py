"""A stage of a recipe for tests: writes `pairs.tsv` from its needs, counts its calls, fails as often as it is told."""

import argparse
import os
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("needs", nargs="*", type=Path)
parser.add_argument("--out", type=Path)
parser.add_argument("--text", default="")
parser.add_argument("--fails", type=int, default=0)
parser.add_argument("--sleeps", action="store_true")
parser.add_argument("--threads")
args = parser.parse_args()
calls = args.out / "calls.txt"
n = len(calls.read_text().splitlines()) + 1 if calls.exists() else 1
with calls.open("a") as file:
    file.write(f"threads {args.threads}\n")
(args.out / "tunables.txt").write_text(os.environ.get("GLIBC_TUNABLES", ""))
while args.sleeps and n == 1:
    time.sleep(0.05)
if n <= args.fails:
    sys.exit(3)
(args.out / "pairs.tsv").write_text("+".join([args.text, *((need / "pairs.tsv").read_text() for need in args.needs)]))
