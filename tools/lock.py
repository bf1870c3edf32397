"""`make lock`: write the lock (requirements.txt) and environment.yml from the names in pyproject.toml.

A second lock, requirements-site.txt, holds what `make site` needs beside the first.

    make lock                      add and remove what pyproject.toml asks for; other versions stay
    make lock ARGS=--upgrade       the newest version of everything but what [tool.uv] holds back

uv resolves once for every supported system and Python; it is installed for the purpose, in a folder that is removed.
"""

import itertools
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.txt"
SITE_LOCK = ROOT / "requirements-site.txt"
# torch's own CUDA libraries: pip adds them on Linux machines whose torch was built for CUDA.
CUDA = re.compile(r"^(nvidia|cuda|triton)\b")
PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = {
    "linux": {"platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "darwin": {"platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "win32": {"platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}
# The supported machines as what a dependency's marker is evaluated with.
MACHINES = {
    (python, system): {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
        **SYSTEMS[system],
    }
    for python, system in itertools.product(PYTHONS, SYSTEMS)
}

HEAD = """\
# The lock: every package of the course, pinned. Written by `make lock`, not by hand.
# torch's CUDA libraries are not in it: where torch needs them, pip adds them by itself.
"""
SITE_HEAD = """\
# What `make site` needs beside requirements.txt, pinned. Written by `make lock`, not by hand.
"""
ENVIRONMENT = """\
# The same environment for conda, written by `make lock` from pyproject.toml and the lock.
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


def direct_names() -> list[str]:
    """The packages that the course itself asks for, in alphabetical order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return sorted(project["dependencies"] + project["optional-dependencies"]["dev"])


def read_lock(path: Path = LOCK) -> dict[str, Requirement]:
    """A lock by canonical name."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, lines)}


def version(pin: Requirement) -> str:
    return str(pin.specifier).removeprefix("==")


def resolve(begin: str, *options: str) -> list[str]:
    """The pins that uv finds for every system, beginning from the lock `begin`."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "--target", folder, "uv"], check=True)
        found = Path(folder) / "found.txt"
        found.write_text(begin)
        # The versions that install on the oldest Python: one for all, as the lessons' outputs are compared.
        command = [Path(folder) / "bin" / "uv", "pip", "compile", "pyproject.toml", "--extra", "dev", "--universal"]
        command += ["--python-version", PYTHONS[0], "--fork-strategy", "fewest"]
        command += ["--no-annotate", "--no-header", "--quiet", *options, "--output-file", found]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        return found.read_text().splitlines()


def pinned(line: str) -> str | None:
    """A line of uv's as the lock has it: with a marker only where the supported machines differ, or not at all."""
    pin = Requirement(line)
    needed = {pin.marker is None or pin.marker.evaluate(machine) for machine in MACHINES.values()}
    if CUDA.match(pin.name) or True not in needed:
        return None
    return line if False in needed else line.split(" ;")[0]


def main() -> None:
    lines = filter(None, map(pinned, resolve(LOCK.read_text(), *sys.argv[1:])))
    LOCK.write_text(HEAD + "\n".join(lines) + "\n")
    lock = read_lock()
    both = LOCK.read_text() + (SITE_LOCK.read_text() if SITE_LOCK.exists() else "")
    found = filter(None, map(pinned, resolve(both, "--extra", "site", *sys.argv[1:])))
    more = {canonicalize_name(Requirement(pin).name): pin for pin in found}
    if torn := [pin for name, pin in more.items() if name in lock and pin not in LOCK.read_text().splitlines()]:
        raise SystemExit(f"`make site` would need other versions than the lock's: {', '.join(torn)}.")
    SITE_LOCK.write_text(SITE_HEAD + "".join(f"{pin}\n" for name, pin in more.items() if name not in lock))
    pins = "\n".join(f"      - {name}=={version(lock[canonicalize_name(name)])}" for name in direct_names())
    (ROOT / "environment.yml").write_text(ENVIRONMENT.format(pins=pins))


if __name__ == "__main__":
    main()
