"""Write the lock (requirements.txt) and environment.yml anew from the names in pyproject.toml.

    python3.11 tools/lock.py           newest versions of everything but what is held back
    python3.11 tools/lock.py --keep    only rewrite environment.yml from the lock that is there

The names are installed into a fresh virtual environment under the oldest Python that the course
supports, because what installs there also resolves on the newer ones (tests/test_environment.py
evaluates every dependency's markers for each supported Python and system).
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Held back: torch is the version that the course was measured with; soupsieve 3 leaves out the early
# releases of Python 3.11, one of which is the python3 of Debian 12.
HELD = {"torch": "2.13.0", "soupsieve": "2.10"}
# What other systems need beside what a Linux machine installs: pip's freeze cannot see these.
ELSEWHERE = {"appnope": 'sys_platform == "darwin"', "pywinpty": 'sys_platform == "win32"'}
# torch's own CUDA libraries: pip adds them on Linux machines whose torch was built for CUDA.
CUDA = re.compile(r"^(nvidia|cuda|triton)\b")

HEAD = """\
# The lock: every package of the course, pinned. Written by tools/lock.py, not by hand.
# torch's CUDA libraries are not in it: where torch needs them, pip adds them by itself.
"""
ENVIRONMENT = """\
# The same environment for conda and Binder, written by tools/lock.py from pyproject.toml and the lock.
name: transformer-course
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
{pins}
      - -e .
"""


def canonical(name: str) -> str:
    """The name by which an index knows a package: `Jinja2` and `jinja2` are one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct_names() -> list[str]:
    """The packages that the course itself asks for, in alphabetical order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return sorted(project["dependencies"] + project["optional-dependencies"]["dev"])


def read_lock(path: Path = ROOT / "requirements.txt") -> dict[str, str]:
    """The lock as {canonical name: version}; environment markers are left out."""
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(), flags=re.MULTILINE)
    return {canonical(name): version for name, version in pins}


def freeze() -> dict[str, str]:
    """Install the direct names into a clean environment and return every package with its version."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [f"{folder}/bin/python", "-m", "pip"]
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        held = [f"{name}=={version}" for name, version in HELD.items()]
        subprocess.run([*pip, "install", *direct_names(), *held], check=True)
        # Without their dependencies, and from a wheel made for another system: only the version is wanted.
        newest = {
            name: subprocess.run([*pip, "index", "versions", name], check=True, capture_output=True, text=True)
            .stdout.split("(")[1]
            .split(")")[0]
            for name in ELSEWHERE
        }
        lines = subprocess.run([*pip, "freeze", "--all"], check=True, capture_output=True, text=True).stdout
    frozen = dict(line.split("==") for line in lines.split() if "==" in line)
    frozen = {canonical(name): version.split("+")[0] for name, version in frozen.items()}  # 2.13.0+cpu -> 2.13.0
    wanted = {name: version for name, version in frozen.items() if name != "pip" and not CUDA.match(name)}
    return wanted | newest


def main() -> None:
    if "--keep" not in sys.argv:
        pins = freeze()
        lines = [
            f"{name}=={pins[name]}" + (f" ; {ELSEWHERE[name]}" if name in ELSEWHERE else "") for name in sorted(pins)
        ]
        (ROOT / "requirements.txt").write_text(HEAD + "\n".join(lines) + "\n")
    lock = read_lock()
    pins = "\n".join(f"      - {name}=={lock[name]}" for name in direct_names())
    (ROOT / "environment.yml").write_text(ENVIRONMENT.format(pins=pins))


if __name__ == "__main__":
    main()
