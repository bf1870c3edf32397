"""`make lab`: give the learner their own copies of the lessons in work/, and open JupyterLab there.

A copy is made once and never overwritten, so that a `git pull` never meets an answer somebody typed.
JupyterLab starts quietly: no news, no look for updates, no list of extensions from outside; the copies
are trusted, so that their stored outputs show before a cell is run.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
WORK = ROOT / "work"
RECORD = ".copied.json"  # which version of each lesson was copied: {file name: SHA-256}


def replace(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it: it is there whole, or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def copy_lessons(source: Path = NOTEBOOKS, work: Path = WORK) -> list[Path]:
    """Copy the lessons that `work` does not have yet, say so, and return all the learner's copies."""
    lessons = sorted(source.glob("[0-9][0-9]_*.ipynb"))
    work.mkdir(exist_ok=True)
    record = work / RECORD
    copied = json.loads(record.read_text()) if record.exists() else {}
    for lesson in lessons:
        mine, content = work / lesson.name, lesson.read_bytes()
        version = hashlib.sha256(content).hexdigest()
        if not mine.exists():
            replace(mine, content)
            copied[lesson.name] = version
            replace(record, json.dumps(copied, indent=1).encode())
            print(f"copied {lesson.name} into {work.name}/")
        elif copied.get(lesson.name) != version:
            print(f"{lesson.name}: the course has another version than the one you copied. Yours is as you")
            print("  left it; rename it and call `make lab` again to get the other one beside it.")
    return [work / lesson.name for lesson in lessons]


def trust(lessons: list[Path]) -> None:
    """Sign the lessons as they ship, so that JupyterLab shows the stored outputs of an untouched copy."""
    import nbformat
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    for lesson in lessons:
        notary.sign(nbformat.read(lesson, as_version=4))


def lab_arguments(work: Path, first: str | None) -> list[str]:
    """The command line of a quiet JupyterLab in `work` that opens the notebook `first`."""
    arguments = [
        f"--ServerApp.root_dir={work}",
        "--ServerApp.log_level=WARN",  # of its log, only the address remains
        "--LabApp.log_level=WARN",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        *sys.argv[1:],  # for example: python tools/lab.py --no-browser --port=9000
    ]
    if first:
        arguments.insert(0, f"--LabApp.default_url=/lab/tree/{first}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")  # in a container one is root, and the server listens to this machine only
    return arguments


def main() -> None:
    lessons = copy_lessons()
    # The news pop-up is an extension of JupyterLab's own: tools/jupyter/labconfig/ switches it off.
    config = [str(ROOT / "tools" / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, config))
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel before the user's own
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin slow down whatever else is running
    trust(sorted(NOTEBOOKS.glob("*.ipynb")))

    from jupyterlab.labapp import main as jupyterlab

    sys.argv = ["jupyter-lab", *lab_arguments(WORK, lessons[0].name if lessons else None)]
    jupyterlab()


if __name__ == "__main__":
    main()
