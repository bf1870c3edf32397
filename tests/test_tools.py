"""The commands behind `make run`, `make lab` and `make test`, on small lessons made for the purpose."""

import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import jupyter_client
import nbformat
import pytest
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import lab, rules, run_again, run_lessons

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


@pytest.mark.slow
def test_a_twin_becomes_a_notebook_that_agrees_with_it(course, monkeypatch):
    twin, path = course / "notebooks/text/02_small.md", course / "notebooks/02_small.ipynb"
    twin.write_text(TWIN)
    assert run(monkeypatch, "--check") == 1, "there is no notebook yet"
    assert run(monkeypatch, "02") == 0
    assert twin.read_bytes() == run_lessons.as_jupytext_writes(twin).encode() != TWIN.encode()
    assert twin.stat().st_mtime >= path.stat().st_mtime, "JupyterLab refuses to open a notebook newer than its text"
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


@pytest.mark.slow
def test_a_failing_cell_is_shown_and_nothing_is_written(course, monkeypatch, capsys):
    path = course / "notebooks/03_broken.ipynb"
    (course / "notebooks/text/03_broken.md").write_text("```{code-cell}\na = 1\n```\n\n```{code-cell}\na / 0\n```\n")
    path.write_text("the notebook as it was")
    assert run(monkeypatch, "03") == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said and "a / 0" in said and "cell 1" in said
    assert path.read_text() == "the notebook as it was"
    assert [p.name for p in (course / "notebooks").iterdir() if p.is_file()] == ["03_broken.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["02_self_attention", "solutions/02_self_attention"])
def test_saving_in_jupyterlab_leaves_the_twin_as_it_is(tmp_path, monkeypatch, name):
    """Opened in the repository's root, with a kernel or without; a change by hand changes its line alone."""
    path, twin = f"notebooks/{name}.ipynb", f"notebooks/text/{name}.md"
    for file in ("pyproject.toml", twin, path):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    notebook = run_lessons.read_twin(tmp_path / twin)
    nbformat.write(notebook, tmp_path / path)
    before = (tmp_path / twin).read_text()
    monkeypatch.chdir(tmp_path)
    manager = build_sync_jupytext_contents_manager_class(LargeFileManager)(root_dir=str(tmp_path))
    kernels = {"name": "python", "version": "3.12.1", "file_extension": ".py", "pygments_lexer": "ipython3"}
    for language in (None, kernels):
        model = manager.get(path)
        if language:
            model["content"].metadata["language_info"] = nbformat.from_dict(language)
        manager.save(model, path)
        assert (tmp_path / twin).read_text() == before
    model["content"].cells[0].source += " By hand."
    manager.save(model, path)
    lines = zip(before.splitlines(), (tmp_path / twin).read_text().splitlines(), strict=True)
    assert [new for old, new in lines if old != new] == [notebook.cells[0].source.splitlines()[-1] + " By hand."]


def test_an_unknown_lesson_gets_a_sentence(course):
    with pytest.raises(SystemExit, match="no lesson.*'99'"):
        run_lessons.twins(["99"])


def test_only_progress_bars_are_dropped_from_stderr():
    bar = new_output("stream", name="stderr", text="\r  0%|          | 0/10\r100%|####| 10/10 [00:01<00:00, 9.9it/s]\n")
    warning = new_output("stream", name="stderr", text="UserWarning: Glyph 20013 missing\n")
    assert run_lessons.is_progress_bar(bar) and not run_lessons.is_progress_bar(warning)


# ---- make soak: cells run again ----------------------------------------------------------------------------

CELLS = [
    "import random, sys, time\nrandom.seed(0)\nx, many = 1, []",
    "print(x)",  # x is 2 at the end
    "y = 10\nprint(y, round(time.time() % 100, 3), 's')",
    "y = y + 1\nprint(y, 'draws')",
    "many.append(y)\nprint(len(many))",
    "print(random.random())",
    "print(random.random() < 2, file=sys.stderr)",
    "x = 2\ndel sys",
    "time.sleep(0.6)\nprint(time.time())",
    "time.time()",
    "z = 3\nprint(z)",
]


@pytest.mark.slow
def test_cells_that_say_something_else_when_run_again_are_named(tmp_path, monkeypatch):
    """A name with two values, a number that grows, a list that grows, a draw without a seed, a name that is gone."""
    monkeypatch.setattr(run_again, "SECONDS", 0.5)  # one cell takes longer
    cells = [new_code_cell(source) for source in CELLS]
    cells[9].metadata["tags"] = ["nbval-ignore-output"]
    found, n = run_again.differences(new_notebook(cells=[*cells, new_markdown_cell("The end.")]), tmp_path)
    assert n == len(CELLS) - 1
    assert [line.split()[1] for line in found] == ["1", "3", "4", "5", "6", "7"], found
    assert "'1\\n'" in found[0] and "'2\\n'" in found[0] and "NameError" in found[-1]


def test_all_lessons_are_run_again():
    every = [path.stem for path in sorted((run_lessons.NOTEBOOKS).glob("*.ipynb"))]
    assert [twin.stem for twin in run_again.lessons([])] == every and len(every) >= 8
    assert [twin.stem for twin in run_again.lessons(["02"])] == ["02_self_attention"], "no solutions"


# ---- make lab: the learner's copies --------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["ZH", "zh_CN", "en "])
def test_a_language_that_there_is_not_is_told_with_those_that_there_are(monkeypatch, asked):
    monkeypatch.setenv("TRANSFORMER_COURSE_LANGUAGE", asked)
    monkeypatch.setattr(lab, "copy", lambda *_: pytest.fail("copied the English lessons"))
    with pytest.raises(SystemExit, match=rf"no language '{asked}': ask for en \(English\) or zh \(中文\)\."):
        lab.main()


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
@pytest.mark.parametrize(
    ("environment", "given", "asked"),
    [
        ({}, [], None),
        ({}, ["LANGUAGE=zh"], "zh"),
        ({}, ["LANGUAGE=zh_CN"], "zh_CN"),
        ({"LANGUAGE": "zh"}, [], "zh"),
        ({"LANGUAGE": "zh_CN:zh"}, [], None),  # a desktop's, which its user did not write
        ({"LANGUAGE": "de:en"}, ["LANGUAGE=zh"], "zh"),
    ],
)
def test_make_lab_passes_on_the_language_that_was_written(environment, given, asked):
    env = {name: value for name, value in os.environ.items() if name != "LANGUAGE"} | environment
    done = subprocess.run(["make", "-n", "lab", *given], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    printed = done.stdout.splitlines()[-1]  # after what sets up the course, where it is not set up yet
    found = re.fullmatch(r"(?:TRANSFORMER_COURSE_LANGUAGE='(.*)' )?\S+python tools/lab\.py", printed)
    assert found[1] == asked


@pytest.fixture
def small(tmp_path):
    """A course of two lessons, a solution and a data card, and the folder for the copies."""
    for path, content in {
        "notebooks/01_first.ipynb": "first ](../notebooks/solutions/01_first.ipynb) ](../data/README.md#splits)",
        "notebooks/02_second.ipynb": "second ](01_first.ipynb) ](https://example.com/../a)",
        "notebooks/solutions/01_first.ipynb": "solved ](../01_first.ipynb) ](../../data/README.md)",
        "data/README.md": "card",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    return tmp_path, tmp_path / "work"


def test_links_lead_to_the_same_files_from_the_copies(small):
    assert lab.course_files(small[0]) == {
        "01_first.ipynb": b"first ](solutions/01_first.ipynb) ](data/README.md#splits)",
        "02_second.ipynb": b"second ](01_first.ipynb) ](https://example.com/../a)",
        "solutions/01_first.ipynb": b"solved ](../01_first.ipynb) ](../data/README.md)",
        "data/README.md": b"card",
    }


def test_a_copy_that_was_changed_is_never_overwritten(small, capsys):
    root, work = small
    lab.copy(lab.course_files(root), work)
    assert capsys.readouterr().out.count("copied") == 4
    lab.copy(lab.course_files(root), work)
    assert capsys.readouterr().out == ""

    (work / "01_first.ipynb").write_text("my answers")
    for name in ("01_first", "02_second"):
        (root / "notebooks" / f"{name}.ipynb").write_text(f"{name}, revised")
    lab.copy(lab.course_files(root), work)
    said = capsys.readouterr().out
    assert "01_first.ipynb: the course has another version" in said
    assert (work / "01_first.ipynb").read_text() == "my answers"
    assert "renewed 02_second.ipynb" in said and "solutions" not in said
    assert (work / "02_second.ipynb").read_text() == "02_second, revised", "nothing of the learner's was in it"

    (work / "01_first.ipynb").rename(work / "my_01.ipynb")
    lab.copy(lab.course_files(root), work)
    assert (work / "01_first.ipynb").read_text() == "01_first, revised"
    assert (work / "my_01.ipynb").read_text() == "my answers"
    assert sorted(p.relative_to(work).as_posix() for p in work.rglob("*.*") if p.name != lab.RECORD) == [
        *("01_first.ipynb", "02_second.ipynb", "data/README.md", "my_01.ipynb", "solutions/01_first.ipynb")
    ]


def test_an_interrupted_copy_leaves_no_half_lesson(small, monkeypatch):
    root, work = small
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        lab.copy(lab.course_files(root), work)
    assert not [path for path in work.rglob("*.ipynb") if not path.name.startswith(".")]
    monkeypatch.undo()
    lab.copy(lab.course_files(root), work)
    assert (work / "02_second.ipynb").read_bytes() == (root / "notebooks" / "02_second.ipynb").read_bytes()


def test_the_contents_stand_beside_the_lesson_until_the_learner_moves_them(tmp_path):
    folder = lab.open_contents(tmp_path)
    (workspace,) = folder.iterdir()
    assert "@jupyterlab/toc:plugin" in workspace.read_text()
    workspace.write_text(json.dumps({"metadata": {"id": "default"}, "data": {}}))
    assert lab.open_contents(tmp_path) == folder and "@jupyterlab/toc:plugin" not in workspace.read_text()


def test_a_file_with_the_name_of_a_module_is_named(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "solutions").mkdir()  # a folder without code
    for name in ("utils.py", "random.py", "torch/__init__.py", "my_transformer.py", "solutions/utils.py", "data.py"):
        (tmp_path / name).write_text("")
    assert [line.split()[0] for line in lab.shadowing(tmp_path)] == ["random.py", "torch", "utils.py"]


# ---- make lab: JupyterLab itself -----------------------------------------------------------------------------


UNSET = ("PYTHONPATH", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # learners have none of these


class Server:
    """JupyterLab as `make lab` starts it, over its copies in `work`."""

    def __init__(self, work: Path, folder: Path):
        self.work, self.runtime = work, folder / "runtime"
        code = f"from pathlib import Path; from tools import lab; lab.WORK = Path({str(work)!r}); lab.main()"
        folders = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("RUNTIME", "DATA", "CONFIG")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "--no-browser", "--port=0"],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name not in UNSET} | folders,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while not (found := list(self.runtime.glob("jpserver-*.json"))):
            assert self.process.poll() is None, self.process.stdout.read()
            time.sleep(0.05)
        time.sleep(0.1)
        self.about = json.loads(found[0].read_text())

    def get(self, path: str, body: dict | None = None) -> dict:
        """Ask the server; HTTPError where it has nothing there."""
        request = urllib.request.Request(
            self.about["url"] + urllib.parse.quote(path, safe="/?=&@"),
            headers={"Authorization": f"token {self.about['token']}"},
            data=None if body is None else json.dumps(body).encode(),
        )
        return json.load(urllib.request.urlopen(request, timeout=60))

    def run(self, path: str, *cells: str) -> list[str]:
        """What each cell prints in a fresh kernel of the notebook `path`."""
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        kernel = self.get("api/sessions", body)["kernel"]["id"]
        client = jupyter_client.BlockingKernelClient(connection_file=str(self.runtime / f"kernel-{kernel}.json"))
        client.load_connection_file()
        client.start_channels(hb=False)  # on a busy machine its heart seems to stop
        try:
            client.wait_for_ready(timeout=300)
            return [self.printed(client, cell) for cell in cells]
        finally:
            client.stop_channels()

    @staticmethod
    def printed(client: jupyter_client.BlockingKernelClient, cell: str) -> str:
        """What a cell prints, its error among it."""
        said = []

        def hear(message):
            said.extend([message["content"].get("text", ""), *message["content"].get("traceback", ())])

        client.execute_interactive(cell, output_hook=hear, timeout=300)
        return "".join(said)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    work = folder / "work"
    work.mkdir()
    (work / "utils.py").write_text("mine = 1\n")
    (work / "my_transformer.py").write_text("layers = 2\n")
    server = Server(work, folder)
    yield server
    server.process.terminate()
    server.process.communicate()


def links(markdown: str) -> list[str]:
    return re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", re.sub(r"`[^`]*`", "", markdown))


@pytest.mark.slow
def test_every_link_leads_somewhere_in_the_learners_jupyterlab(server):
    found, dead = 0, []
    for name in lab.course_files():
        kind = "notebook" if name.endswith(".ipynb") else "file"
        content = server.get(f"api/contents/{name}?type={kind}")["content"]
        for target in links(content if kind == "file" else rules.markdown(nbformat.from_dict(content))):
            path, found = posixpath.normpath(posixpath.join(posixpath.dirname(name), target)), found + 1
            try:
                server.get(f"api/contents/{path}?content=0")
            except urllib.error.HTTPError as error:
                dead.append(f"{name}: {target} ({error.code})")
    assert not dead and found >= 19


@pytest.mark.slow
def test_jupyterlab_trusts_the_lessons_and_reads_cards(server):
    cells = server.get("api/contents/02_self_attention.ipynb")["content"]["cells"]
    assert all(cell["metadata"]["trusted"] for cell in cells if cell["cell_type"] == "code")
    layout = server.get("lab/api/workspaces/default")["data"]["layout-restorer:data"]
    assert layout["left"]["current"] == "@jupyterlab/toc:plugin"
    settings = server.get("lab/api/settings/@jupyterlab/docmanager-extension:plugin")
    assert settings["schema"]["properties"]["defaultViewers"]["default"]["markdown"] == "Markdown Preview"


@pytest.mark.slow
def test_a_learners_file_cannot_take_the_place_of_the_courses(server):
    """It is named before the first cell runs; modules with names of their own are found."""
    first, waits, own, later = server.run(
        "01_sequence_models.ipynb",
        "import os; waits = os.environ.get('GOMP_SPINCOUNT'); import utils; print(utils.__file__)",
        "print(waits == os.environ.get('GOMP_SPINCOUNT'))",
        "import my_transformer; print(my_transformer.layers)",
        "open('tqdm.py', 'w').close(); import tqdm; print(tqdm.tqdm.__name__)",
    )
    told, found = first.splitlines()
    assert told.startswith("utils.py is not what `import utils` finds") and found == str(ROOT / "utils/__init__.py")
    assert waits == "True\n", "what `import utils` says of threads is said before torch is loaded"
    assert own == "2\n" and later == "tqdm\n"
    assert server.run("01_sequence_models.ipynb", "1")[0].startswith("tqdm.py is not what")
    (server.work / "tqdm.py").unlink()


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


@pytest.mark.slow
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
