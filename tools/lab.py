"""`make lab`: give the learner their own copies of the lessons in work/, and open JupyterLab there.

The solutions and the data card come along, so that every link works. A copy that the learner changed is never
overwritten, so that a `git pull` never meets an answer somebody typed; an untouched one is renewed. JupyterLab starts
quietly: no news, no look for updates, no list of extensions from outside, and the contents of the lesson beside it; the
copies are trusted, so that their stored outputs show before a cell is run.
"""

import hashlib
import json
import os
import posixpath
import re
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path

from utils.language import language, unknown

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "work"
RECORD = ".copied.json"  # what was copied: {path in work/: SHA-256}


# ---- the learner's copies ------------------------------------------------------------------------------------


def course_files(root: Path = ROOT) -> dict[str, bytes]:
    """What the learner gets, by its path in work/: lessons, solutions and the data card."""
    notebooks = root / "notebooks"
    paths = [*notebooks.glob("[0-9][0-9]*.ipynb"), *notebooks.glob("solutions/*.ipynb"), root / "data" / "README.md"]
    paths += (notebooks / tongue()).rglob("*.ipynb") if tongue() else []
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(paths) if path.exists()}
    return {place(path): with_links(content, path) for path, content in found.items()}


def tongue() -> str:
    """The language that was asked for, where that is not English: the folder of its lessons."""
    return "" if language() == "en" else language()


def first_lesson(files: Iterable[str]) -> str | None:
    """The lesson to open: the first of the language that was asked for, else the first in English."""
    lessons = sorted(name for name in files if name.endswith(".ipynb"))
    return next((name for name in lessons if tongue() and name.startswith(f"{tongue()}/")), next(iter(lessons), None))


def place(path: str) -> str:
    """Where a file of the course stands in work/: the lessons at the top, everything else under its own path."""
    return path.removeprefix("notebooks/")


def with_links(content: bytes, path: str) -> bytes:
    """The file with links that lead to the same files from its place in work/."""

    def moved(link: re.Match) -> bytes:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link[1].decode()))
        return b"](" + posixpath.relpath(place(target), posixpath.dirname(place(path))).encode()

    return re.sub(rb"\]\((\.\./[^)#\s\\]+)", moved, content)


def replace(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it: it is there whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def copy(files: dict[str, bytes], work: Path) -> None:
    """Copy what `work` does not have yet, renew what the learner never changed, and leave the rest alone."""
    work.mkdir(exist_ok=True)
    record = work / RECORD
    copied = json.loads(record.read_text()) if record.exists() else {}
    for name, content in files.items():
        mine, version = work / name, hashlib.sha256(content).hexdigest()
        if mine.exists() and hashlib.sha256(mine.read_bytes()).hexdigest() != copied.get(name):
            if copied.get(name) != version:
                print(f"{name}: the course has another version than the one you copied. Yours is as you left it;")
                print("  rename it and call `make lab` again to get the other one beside it.")
        elif not mine.exists() or copied[name] != version:
            print(f"{'renewed' if mine.exists() else 'copied'} {name} in {work.name}/")
            replace(mine, content)
            copied[name] = version
            replace(record, json.dumps(copied, indent=1).encode())


def trust(notebooks: Iterable[bytes]) -> None:
    """Sign the lessons as they ship, so that JupyterLab shows the stored outputs of an untouched copy."""
    import nbformat
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    for content in notebooks:
        notary.sign(nbformat.reads(content.decode(), as_version=4))


def shadowing(folder: str | Path) -> list[str]:
    """A sentence for each Python file or package in `folder` that has the name of another module."""
    own = [*Path(folder).glob("*.py"), *(path.parent for path in Path(folder).glob("*/__init__.py"))]
    return [
        f"{path.name} is not what `import {path.stem}` finds: the course or Python has a module of that name, "
        "so rename your file."
        for path in sorted(own)
        if is_module(path.stem)
    ]


def is_module(name: str) -> bool:
    """Whether the course, Python or an installed package has a module of this name."""
    spec = PathFinder.find_spec(name, [str(ROOT), *filter(None, sys.path)])
    return name in sys.builtin_module_names or spec is not None and spec.has_location


# ---- JupyterLab ----------------------------------------------------------------------------------------------


def environment(environ: dict[str, str]) -> dict[str, str]:
    """What JupyterLab and its kernels are told."""
    # In tools/jupyter/: labconfig/ switches off the news pop-up, an extension of JupyterLab's own; kernels/ is ours.
    ours, paths = str(ROOT / "tools" / "jupyter"), ("JUPYTER_CONFIG_PATH", "JUPYTER_PATH")
    return {name: os.pathsep.join(filter(None, [ours, environ.get(name)])) for name in paths} | {
        "JUPYTER_PREFER_ENV_PATH": "1"  # this environment's kernel before the user's own
    }


def open_contents(work: Path) -> Path:
    """The folder of JupyterLab's workspaces: the first shows a lesson's contents, where the list of files would be.

    No setting does that. How the learner arranges the panels is kept there, too, and is not touched again.
    """
    from jupyterlab_server.workspaces_handler import WorkspacesManager

    manager = WorkspacesManager(str(work / ".workspaces"))
    if not manager.list_workspaces():
        contents = "@jupyterlab/toc:plugin"
        left = {"collapsed": False, "current": contents, "widgets": ["filebrowser", contents]}
        layout = {"main": {}, "left": left, "right": {"collapsed": True}}
        workspace = {"metadata": {"id": "default"}, "data": {"layout-restorer:data": layout}}
        manager.save("default", json.dumps(workspace))
    return manager.workspaces_dir


def lab_arguments(work: Path, first: str | None) -> list[str]:
    """The command line of a quiet JupyterLab in `work` that opens the notebook `first`."""
    arguments = [
        f"--ServerApp.root_dir={work}",
        "--ServerApp.log_level=WARN",  # of its log, only the address remains
        "--LabApp.log_level=WARN",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        f"--LabApp.workspaces_dir={open_contents(work)}",
        *sys.argv[1:],  # for example: python tools/lab.py --no-browser --port=9000
    ]
    if first:
        arguments.insert(0, f"--LabApp.default_url=/lab/tree/{first}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")  # in a container one is root, and the server listens to this machine only
    return arguments


def main() -> None:
    if sentence := unknown():
        sys.exit(sentence)
    files = course_files()
    copy(files, WORK)
    for sentence in shadowing(WORK):
        print(f"{WORK.name}/{sentence}")
    trust(content for name, content in files.items() if name.endswith(".ipynb"))
    os.environ |= environment(os.environ)

    from jupyterlab.labapp import main as jupyterlab

    sys.argv = ["jupyter-lab", *lab_arguments(WORK, first_lesson(files))]
    jupyterlab()


if __name__ == "__main__":
    main()
