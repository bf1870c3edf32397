"""The commands behind `make run`, `make lab` and `make test`, on small lessons made for the purpose."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import lab, run_lessons

ROOT = Path(__file__).resolve().parents[1]

TWIN = """\
# A lesson

```{code-cell}
import sys
x = 6 * 7
print(x)
print("\\r 50%|#    | 1/2 [00:01<00:01]", file=sys.stderr)
```

What it shows.

```{code-cell}
---
mystnb:
  image:
    alt: >-
      A line that rises
      from 0 to 1.
tags: [nbval-ignore-output]
---
import matplotlib.pyplot as plt
_ = plt.plot([0, 1])
plt.show()
```
"""


@pytest.fixture(autouse=True)
def kernels_of_this_python(monkeypatch):
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """An empty course: a folder with notebooks/text/, to which the tools are pointed."""
    (tmp_path / "notebooks" / "text").mkdir(parents=True)
    monkeypatch.setattr(run_lessons, "ROOT", tmp_path)
    monkeypatch.setattr(run_lessons, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(run_lessons, "TEXT", tmp_path / "notebooks" / "text")
    return tmp_path


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["run_lessons.py", *arguments])
    return run_lessons.main()


# ---- make run ----------------------------------------------------------------------------------------------


def test_a_twin_becomes_a_notebook_that_agrees_with_it(course, monkeypatch):
    twin, path = course / "notebooks/text/02_small.md", course / "notebooks/02_small.ipynb"
    twin.write_text(TWIN)
    assert run(monkeypatch, "--check") == 1, "there is no notebook yet"
    assert run(monkeypatch, "02") == 0
    assert twin.read_bytes() == run_lessons.as_jupytext_writes(twin).encode() != TWIN.encode()
    notebook = nbformat.read(path, 4)

    assert notebook.metadata == run_lessons.METADATA
    assert [cell.id for cell in notebook.cells] == [f"02_small-00{i}" for i in range(4)]
    number, figure = notebook.cells[1], notebook.cells[3]
    assert [out.text for out in number.outputs] == ["42\n"], "the progress bar is not stored"
    assert (number.execution_count, figure.execution_count) == (1, 2)
    assert figure.metadata.tags == ["nbval-ignore-output"]
    assert figure.outputs[0].metadata["image/png"]["alt"] == "A line that rises from 0 to 1."

    assert run(monkeypatch, "--check") == 0
    written = twin.read_text()
    twin.write_text(written.replace("6 * 7", "6 * 9"))
    assert run(monkeypatch, "--check") == 1, "a stale twin, or a stale notebook, is noticed"
    twin.write_text(TWIN)
    assert run(monkeypatch, "--check") == 1, "so is a style other than jupytext's"
    assert run(monkeypatch, "--format") == 0 and twin.read_text() == written


def test_a_failing_cell_is_shown_and_nothing_is_written(course, monkeypatch, capsys):
    path = course / "notebooks/03_broken.ipynb"
    (course / "notebooks/text/03_broken.md").write_text("```{code-cell}\na = 1\n```\n\n```{code-cell}\na / 0\n```\n")
    path.write_text("the notebook as it was")
    assert run(monkeypatch, "03") == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said and "a / 0" in said and "cell 1" in said
    assert path.read_text() == "the notebook as it was"
    assert [p.name for p in (course / "notebooks").iterdir() if p.is_file()] == ["03_broken.ipynb"]


def test_an_unknown_lesson_gets_a_sentence(course):
    with pytest.raises(SystemExit, match="no lesson.*'99'"):
        run_lessons.twins(["99"])


def test_only_progress_bars_are_dropped_from_stderr():
    bar = new_output("stream", name="stderr", text="\r  0%|          | 0/10\r100%|####| 10/10 [00:01<00:00, 9.9it/s]\n")
    warning = new_output("stream", name="stderr", text="UserWarning: Glyph 20013 missing\n")
    assert run_lessons.is_progress_bar(bar) and not run_lessons.is_progress_bar(warning)


# ---- make lab ----------------------------------------------------------------------------------------------


def test_lessons_are_copied_once_and_never_overwritten(tmp_path, capsys):
    source, work = tmp_path / "notebooks", tmp_path / "work"
    source.mkdir()
    (source / "01_first.ipynb").write_text("first")
    assert lab.copy_lessons(source, work) == [work / "01_first.ipynb"]
    assert "copied 01_first.ipynb" in capsys.readouterr().out

    (work / "01_first.ipynb").write_text("my answers")
    (source / "02_second.ipynb").write_text("second")
    lab.copy_lessons(source, work)
    said = capsys.readouterr().out
    assert "02_second.ipynb" in said and "01_first.ipynb" not in said, "an unchanged lesson is not mentioned"

    (source / "01_first.ipynb").write_text("first, revised")
    lab.copy_lessons(source, work)
    assert "01_first.ipynb: the course has another version" in capsys.readouterr().out
    assert (work / "01_first.ipynb").read_text() == "my answers"

    (work / "01_first.ipynb").rename(work / "my_01.ipynb")
    lab.copy_lessons(source, work)
    assert (work / "01_first.ipynb").read_text() == "first, revised"
    assert sorted(p.name for p in work.iterdir()) == [
        ".copied.json",
        "01_first.ipynb",
        "02_second.ipynb",
        "my_01.ipynb",
    ]


def test_an_interrupted_copy_leaves_no_half_lesson(tmp_path, monkeypatch):
    source, work = tmp_path / "notebooks", tmp_path / "work"
    source.mkdir()
    (source / "01_first.ipynb").write_text("first")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        lab.copy_lessons(source, work)
    assert not list(work.glob("*.ipynb"))
    monkeypatch.undo()
    lab.copy_lessons(source, work)
    assert (work / "01_first.ipynb").read_text() == "first"


# ---- strict nbval ------------------------------------------------------------------------------------------

SVG = '<svg xmlns="http://www.w3.org/2000/svg" id="{}"/>'
CODE = """\
import random, sys, time
from IPython.display import SVG
print("the answer is", 6 * 7)
print("it took", round(time.time() % 100, 3), "s")
print(random.random(), file=sys.stderr)
SVG('<svg xmlns="http://www.w3.org/2000/svg" id="%s"/>' % random.random())"""


def stored(answer: int) -> nbformat.NotebookNode:
    """CODE as it could have been stored by another run: with other times, another stderr, another SVG."""
    outputs = [
        new_output("stream", name="stdout", text=f"the answer is {answer}\nit took 0.5 s\n"),
        new_output("stream", name="stderr", text="0.25\n"),
        new_output(
            "execute_result",
            execution_count=1,
            metadata={},
            data={"text/plain": "<IPython.core.display.SVG object>", "image/svg+xml": SVG.format(0.75)},
        ),
    ]
    cell = new_code_cell(CODE, execution_count=1, outputs=outputs)
    return new_notebook(cells=[new_markdown_cell("# One"), cell], metadata=run_lessons.METADATA)


def test_strict_nbval_sees_a_wrong_number_and_nothing_else(tmp_path):
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "conftest.py", tmp_path)
    shutil.copy(ROOT / "tests" / "nbval_sanitize.cfg", tmp_path / "tests")
    nbformat.write(stored(42), tmp_path / "right.ipynb")
    nbformat.write(stored(43), tmp_path / "wrong.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "-q",
        "-p",
        "no:cacheprovider",
        "-rA",
        str(tmp_path),
    ]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "1 failed, 1 passed" in said, said
    assert "PASSED right.ipynb" in said and "FAILED wrong.ipynb" in said, said
    assert "the answer is 43" in said, "the difference is shown"
