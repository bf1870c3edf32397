"""Copies for Colab: their first cell fetches the course on Colab, and does nothing elsewhere."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools import colab

PREPARED = "from pathlib import Path\nimport sys\nPath('prepared').write_text(' '.join(sys.argv[1:]))\n"


def git(folder: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=a learner", "-c", "user.email=learner@example.org"]
    subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True)


def repository(folder: Path, program: str) -> str:
    """The address of a repository whose tools/colab.py is the program, and which has a folder notebooks."""
    for name in ("tools", "notebooks"):
        (folder / name).mkdir(parents=True)
        (folder / name / "colab.py").write_text(program)
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "a course"]):
        git(folder, *arguments)
    return folder.as_uri()


def run(code: str, home: Path, on_colab: bool = True) -> subprocess.CompletedProcess:
    """Run the cell in a process that takes itself for Colab."""
    home.mkdir(exist_ok=True)
    if on_colab:
        (home / "packages" / "google" / "colab").mkdir(parents=True, exist_ok=True)
    environ = os.environ | {"HOME": str(home), "PYTHONPATH": str(home / "packages")}
    code += "\nprint('in', os.getcwd())"
    return subprocess.run([sys.executable, "-c", code], cwd=home, env=environ, capture_output=True, text=True)


def test_on_colab_the_cell_fetches_the_course_once_and_prepares_it(tmp_path):
    cell, home = colab.CELL.format(url=repository(tmp_path / "there", PREPARED)), tmp_path / "home"
    twice = cell + "\n" + cell
    done = run(twice, home)
    course = home / "transformer-course"
    assert done.stdout.splitlines()[-1] == f"in {course / 'notebooks'}", done.stderr
    assert (course / "prepared").read_text() == "--here"
    assert not (course / "notebooks" / "transformer-course").exists()


def test_elsewhere_the_cell_does_nothing(tmp_path):
    done = run(colab.CELL.format(url="file:///nowhere"), tmp_path / "home", on_colab=False)
    assert done.stdout == f"in {tmp_path / 'home'}\n" and done.returncode == 0


def test_the_cell_fails_with_one_sentence(tmp_path):
    done = run(colab.CELL.format(url=(tmp_path / "nowhere").as_uri()), tmp_path / "home")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("git could not fetch the course (fatal: ")
    assert done.stderr.endswith("): run this cell again.\n")
    program = "raise SystemExit('Colab could not install zhplot==1.0.0 (no network): run this cell again.')"
    done = run(colab.CELL.format(url=repository(tmp_path / "there", program)), tmp_path / "home")
    assert done.stderr == "Colab could not install zhplot==1.0.0 (no network): run this cell again.\n"


def test_only_what_is_missing_is_installed_and_never_torch_or_jupyter(monkeypatch):
    def nothing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    assert colab.missing() == [], "this environment has them all"
    monkeypatch.setattr(importlib.metadata, "distribution", nothing)
    names = {pin.split("==")[0] for pin in colab.missing()}
    assert {"zhplot", "jaxtyping", "tokenizers", "opencc-python-reimplemented"} <= names
    assert not names & {"torch", "jupyter", "jupyterlab"}


@pytest.mark.parametrize("failing", ["pip", "utils.corpus"])
def test_what_colab_cannot_do_is_said_in_one_sentence(failing, monkeypatch):
    ran = []

    def run(command, **_):
        ran.append(command)
        return subprocess.CompletedProcess(command, int(failing in command), "", "much to tell\nno network\n")

    monkeypatch.setattr(colab, "missing", lambda: ["zhplot==1.0.0"])
    monkeypatch.setattr(colab.subprocess, "run", run)
    with pytest.raises(SystemExit, match=r"^Colab could not (install zhplot==1.0.0|fetch the corpus) \(no network\): "):
        colab.prepare()
    assert len(ran) == (1 if failing == "pip" else 2)


@pytest.mark.slow
def test_copies_have_the_cell_the_outputs_and_links_into_the_repository(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_REPOSITORY", "github.com/OWNER/course")
    monkeypatch.setattr(colab, "OUT", tmp_path / "colab")
    colab.main()
    lessons = sorted((colab.ROOT / "notebooks").glob("[0-9][0-9]*.ipynb"))
    assert [path.name for path in sorted((tmp_path / "colab").glob("*.ipynb"))] == [path.name for path in lessons]
    for lesson in lessons:
        there, here = (nbformat.read(path, 4) for path in (tmp_path / "colab" / lesson.name, lesson))
        nbformat.validate(there)
        first, *others = there.cells
        assert "git" in first.source and "https://github.com/OWNER/course" in first.source
        assert [c.get("outputs") for c in others] == [c.get("outputs") for c in here.cells]
        compile(first.source, lesson.name, "exec")
    page = (tmp_path / "colab" / "README.md").read_text(encoding="utf-8")
    assert f"https://colab.research.google.com/github/OWNER/course/blob/colab/{lessons[0].name}" in page
    assert f"https://mybinder.org/v2/gh/OWNER/course/HEAD?labpath=notebooks/{lessons[0].name}" in page


def test_links_lead_into_the_repository():
    page = "https://github.com/OWNER/course/blob/HEAD"
    text = (
        "[a](../data/README.md#splits) ![b](images/map.png) [c](https://x.org) [d](#here) [e](02_b.ipynb) f[x](src, y)"
    )
    assert colab.absolute(text, page) == (
        f"[a]({page}/data/README.md#splits) ![b]({page}/notebooks/images/map.png) [c](https://x.org) [d](#here) "
        f"[e]({page}/notebooks/02_b.ipynb) f[x](src, y)"
    )


def test_where_the_repository_lives_is_one_setting(monkeypatch):
    monkeypatch.delenv("COURSE_REPOSITORY", raising=False)
    monkeypatch.setattr(colab, "settings", lambda: {"tool": {"course": {"repository": ""}}})
    with pytest.raises(SystemExit, match="Say where the repository lives"):
        colab.repository()
    monkeypatch.setattr(colab, "settings", lambda: {"tool": {"course": {"repository": "github.com/OWNER/NAME"}}})
    assert colab.repository() == "https://github.com/OWNER/NAME"
