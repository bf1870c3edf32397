"""`make test`: lint, the tests of the package, then every lesson under strict nbval; one summary at the end.

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
PYTEST = [sys.executable, "-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider"]


def run(command: list[str], env: dict[str, str]) -> tuple[bool, int, int]:
    """Run one part; return whether it went well, and its numbers of tests passed and failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        xml = [f"--junitxml={report}"] if "pytest" in command else []
        good = subprocess.run(command + xml, cwd=ROOT, env=env, stdin=subprocess.DEVNULL).returncode == 0
        if not report.exists():
            return good, 0, 0 if good else 1
        suite = ElementTree.parse(report).getroot().find("testsuite").attrib
    failed = int(suite["failures"]) + int(suite["errors"])
    passed = int(suite["tests"]) - failed - int(suite["skipped"])
    return good, passed, max(failed, int(not good))


def main() -> int:
    # Two processes at a time, each with one thread that sleeps while it waits: on two cores,
    # more threads, or threads that spin, make everything several times slower.
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONDONTWRITEBYTECODE": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    env.pop("MPLBACKEND", None)  # the lessons draw with the notebook's own backend
    # worksteal: neighbours stay on one process, and what they share is made once.
    tests = [*PYTEST, "--dist", "worksteal", "tests"]
    parts = {"lint": [sys.executable, "-m", "ruff", "check", "."], "tests": tests}
    if list((ROOT / "notebooks").rglob("*.ipynb")):
        parts["lessons"] = [*PYTEST, "--nbval", "--dist", "loadfile", "notebooks"]

    lines, passed, failed = [], 0, 0
    for name, command in parts.items():
        print(f"\n== {name}", flush=True)
        start = time.monotonic()
        good, ok, bad = run(command, env)
        passed, failed = passed + ok, failed + bad
        lines.append(f"  {name:8s} {'ok    ' if good else 'FAILED'} {ok:5d} passed {time.monotonic() - start:6.0f} s")
    print("\n== summary", *lines, f"{passed} passed, {failed} failed", sep="\n", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
