"""`make test`: lint, the tests of the package, then every lesson under strict nbval; one summary at the end.

    python tools/check.py              all of it
    python tools/check.py lint quick   only these parts: `make lint` and `make quick` are such calls
    python tools/check.py elsewhere    the lessons as on another processor (a part of `make soak`)

Each part runs even when one before it failed, so that one call shows all there is to mend.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
PYTHON = [sys.executable, "-m"]
PYTEST = [*PYTHON, "pytest", "-n", "2", "-q", "-p", "no:cacheprovider"]
# worksteal: neighbours stay on one process, and what they share is made once.
TESTS = [*PYTEST, "--dist", "worksteal", "tests"]
LESSONS = [
    # Lessons in another language have the code of the English ones: one of them is a sample.
    [*PYTEST, "--nbval", "--dist", "loadfile", "notebooks", "--ignore=notebooks/zh"],
    [*PYTEST, "--nbval", "notebooks/zh/02_self_attention.ipynb", "--dist", "loadfile"],
]
PARTS = {
    "lint": [[*PYTHON, "ruff", "check", "."], [*PYTHON, "ruff", "format", "--check", "."]],
    "tests": [TESTS],
    "lessons": LESSONS,
    "quick": [[*TESTS, "-m", "not slow"]],
    "elsewhere": LESSONS,
}
# With the kernels of an old processor sums round otherwise: a number that then differs hangs on the machine.
OLD_PROCESSOR = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
ALL = ["lint", "tests", "lessons"]


def run(command: list[str], env: dict[str, str]) -> tuple[int, int]:
    """Run one command; return its numbers of tests passed and failed (a failed command without tests counts as one)."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        xml = [f"--junitxml={report}"] if "pytest" in command else []
        good = subprocess.run(command + xml, cwd=ROOT, env=env, stdin=subprocess.DEVNULL).returncode == 0
        if not report.exists():
            return 0, int(not good)
        suite = ElementTree.parse(report).getroot().find("testsuite").attrib
    failed = int(suite["failures"]) + int(suite["errors"])
    passed = int(suite["tests"]) - failed - int(suite["skipped"])
    return passed, max(failed, int(not good))


def main() -> int:
    parts = sys.argv[1:] or ALL
    if unknown := [part for part in parts if part not in PARTS]:
        raise SystemExit(f"no part named {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    if not (ROOT / "tests").is_dir():
        raise SystemExit("This copy of the course comes without its tests, which hold solved exercises.")
    # Two processes at a time, each with one thread that sleeps while it waits: on two cores,
    # more threads, or threads that spin, make everything several times slower.
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONDONTWRITEBYTECODE": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    env.pop("MPLBACKEND", None)  # the lessons draw with the notebook's own backend

    lines, passed, failed = [], 0, 0
    for part in parts:
        print(f"\n== {part}", flush=True)
        start = time.monotonic()
        here = env | OLD_PROCESSOR if part == "elsewhere" else env
        counts = [run(command, here) for command in PARTS[part]]
        ok, bad = (sum(column) for column in zip(*counts, strict=True))
        passed, failed = passed + ok, failed + bad
        lines.append(f"  {part:8s} {'FAILED' if bad else 'ok    '} {ok:5d} passed {time.monotonic() - start:6.0f} s")
    print("\n== summary", *lines, f"{passed} passed, {failed} failed", sep="\n", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
