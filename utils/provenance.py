"""Where a result comes from: command, commit and machine, kept in one file with what was found; and reading it back."""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from utils.config import ROOT
from utils.files import write_files

CPU = torch.device("cpu")
PLACES = ("--out", "--runs")  # options that say where a result and its runs lie, and nothing of what was found


def command(module: str, argv: list[str] | None, without: tuple[str, ...] = ()) -> str:
    """What to type in the root of the course to run `module` again, without some of the options that have a value.

    argv as its `main` got it: None means this process's own command line. Paths in the course are told from its root.
    """
    words, kept = iter(sys.argv[1:] if argv is None else argv), []
    for word in words:
        if word in without:
            next(words, None)  # its value
        elif word.partition("=")[0] not in without:
            kept.append(word.replace(f"{ROOT}{os.sep}", ""))
    return shlex.join(["python", "-m", module, *kept])


def commit() -> str:
    """The commit of the course that computes; empty where git does not know it."""
    try:
        git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    except OSError:  # no git on this machine
        return ""
    return git.stdout.strip()


def machine(device: torch.device = CPU) -> str:
    """A line on what computes: the GPU or the processor, threads, cores, and the versions of PyTorch and Python."""
    threads = torch.get_num_threads()
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif (cpuinfo := Path("/proc/cpuinfo")).exists():  # on Linux the platform module knows the architecture alone
        models = re.findall(r"model name\s*: (.*)", cpuinfo.read_text())
        name = models[0] if models else name
    return (
        f"{platform.system()}, {name}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}"
    )


def record(
    module: str, argv: list[str] | None, path: Path, found: dict, tables: str = "", device: torch.device = CPU
) -> Path:
    """Write a result: `path` gets command, commit, machine and what was found, as JSON; returns the path.

    The command is that of the last call, without where it put things: rows from before may come from other options.
    `tables`, if any, are printed, and written with the same three lines into a file beside it that ends in .md.
    """
    about = {"command": command(module, argv, PLACES), "commit": commit(), "machine": machine(device)}
    files = {path.name: json.dumps(about | found, indent=1, ensure_ascii=False) + "\n"}
    if tables:
        tables += "\n\n" + "\n".join(f"{key}: {value}" for key, value in about.items()) + "\n"
        files[f"{path.stem}.md"] = tables
        print(tables)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_files(path.parent, files)
    return path


def experiment(name: str) -> list[dict]:
    """What `python -m experiments.NAME` found, a dict for each run; none where it has not been run (lesson 08b on)."""
    return runs(ROOT / "data/experiments" / f"{name}.json")


def runs(path: Path) -> list[dict]:
    """The runs in the file of an experiment; none where there is no file."""
    return read(path).get("runs", [])


def read(path: Path) -> dict:
    """All that the file of a result holds; nothing where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
