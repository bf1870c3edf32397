"""`make experiments`: run the long experiments behind some figures, or the named ones.

Each script in experiments/ is a command of its own, `python -m experiments.NAME`, that writes
data/experiments/NAME.json.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    scripts = [path.stem for path in sorted((ROOT / "experiments").glob("[a-z]*.py"))]
    names = sys.argv[1:] or scripts
    unknown = [name for name in names if name not in scripts]
    if unknown:
        raise SystemExit(f"no experiment named {', '.join(unknown)}; there are: {', '.join(scripts) or 'none yet'}")
    for name in names:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"experiments.{name}"], cwd=ROOT).returncode != 0:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
