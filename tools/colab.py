"""`make colab`: copies of the lessons for Google Colab, in build/colab/, with a first cell that fetches the course.

    python tools/colab.py            write the copies, and a page with links that open them in Colab and in Binder
    python tools/colab.py --here     what that cell runs on Colab, in a clone: install what is missing, fetch the corpus

Colab opens notebooks from a repository on GitHub, from Google Drive, or from your disk. For links that open a lesson
with one click, push build/colab/ to a branch `colab` of the repository that pyproject.toml names.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "colab"
THEIRS = {"torch", "jupyter", "jupyterlab"}  # Colab has its own, and another one would break it
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*\.[^)#\s]+)(?=[)#])")

CELL = """\
# On Google Colab: fetch the course and what Colab lacks. Anywhere else this cell does nothing.
import importlib, os, subprocess, sys
from importlib.util import find_spec

if find_spec("google") and find_spec("google.colab"):
    course = os.path.expanduser("~/transformer-course")
    if not os.path.isdir(course):
        command = ["git", "clone", "--quiet", "--depth", "1", "{url}", course]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip() or "it gave no reason").splitlines()[0]
            raise SystemExit(f"git could not fetch the course ({{reason}}): run this cell again.")
    print("Fetching what Colab lacks: about a minute.")
    done = subprocess.run([sys.executable, "tools/colab.py", "--here"], cwd=course, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    importlib.invalidate_caches()
    sys.path.insert(0, course)
    os.chdir(course + "/notebooks")
    print("Ready: the course is in", course)"""


def settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def repository() -> str:
    """Where the repository lives: [tool.course] of pyproject.toml, or the variable COURSE_REPOSITORY.

    Raises SystemExit with one sentence when neither says so.
    """
    found = os.environ.get("COURSE_REPOSITORY") or settings()["tool"]["course"]["repository"]
    if not found:
        raise SystemExit(
            "Say where the repository lives: `repository` in [tool.course] of pyproject.toml, as "
            "github.com/OWNER/NAME; Colab fetches the course from there."
        )
    return found if "://" in found else f"https://{found}"


# ---- on Colab ----


def missing() -> list[str]:
    """The packages that the course needs and this Python lacks, pinned as in the lock; never those that are Colab's."""
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M))
    found = []
    for name in settings()["project"]["dependencies"]:
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name not in THEIRS:
                found.append(f"{name}=={pins[name]}")
    return found


def prepare() -> None:
    """Install what is missing, and fetch the corpus. Raises SystemExit with one sentence."""
    packages = missing()
    steps = {"fetch the corpus": [sys.executable, "-m", "utils.corpus"]}
    if packages:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        steps = {"install " + ", ".join(packages): pip} | steps
    for what, command in steps.items():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip() or "it gave no reason").splitlines()[-1]
            raise SystemExit(f"Colab could not {what} ({reason}): run this cell again.")


# ---- the copies ----


def absolute(text: str, page: str) -> str:
    """Markdown of notebooks/ whose links to other files of the course lead into the repository."""
    return LINK.sub(lambda link: f"]({page}/{os.path.normpath(os.path.join('notebooks', link[1]))}", text)


def copy(lesson: Path, url: str):
    """The lesson with its outputs, and the cell above before all others."""
    import nbformat
    from nbformat.v4 import new_code_cell

    notebook = nbformat.read(lesson, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = absolute(cell.source, f"{url}/blob/HEAD")
    notebook.cells.insert(0, new_code_cell(CELL.format(url=url), id="colab"))
    return notebook


def links(names: list[str], url: str) -> str:
    """A page with a link for each lesson that opens it in Colab, and one that opens it in Binder."""
    place = url.split("://")[1].removesuffix(".git").removeprefix("github.com/")
    text = "# Open a lesson in your browser\n\n| lesson | | |\n| --- | --- | --- |\n"
    for name in names:
        colab = f"https://colab.research.google.com/github/{place}/blob/colab/{name}"
        binder = f"https://mybinder.org/v2/gh/{place}/HEAD?labpath=notebooks/{name}"
        text += f"| {Path(name).stem} | [Colab]({colab}) | [Binder]({binder}) |\n"
    return text


def main() -> None:
    import nbformat

    url = repository()
    OUT.mkdir(parents=True, exist_ok=True)
    lessons = sorted((ROOT / "notebooks").glob("[0-9][0-9]*.ipynb"))
    for lesson in lessons:
        nbformat.write(copy(lesson, url), OUT / lesson.name)
    (OUT / "README.md").write_text(links([lesson.name for lesson in lessons], url), encoding="utf-8")
    print(f"{len(lessons)} lessons for Colab in {OUT}")


if __name__ == "__main__":
    prepare() if sys.argv[1:] == ["--here"] else main()
