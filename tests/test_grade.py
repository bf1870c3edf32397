"""The grader: verdicts as planted, whatever a submission does; and the handout, which holds no solution."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.handed_in import LESSONS, SOLVED, a_class, exercises, filled, lesson, solutions

from tools import handout
from tools.grading import command, report
from tools.grading.cells import Notebook, Unreadable, find
from tools.grading.submissions import Row, Submission, exercises_of, jobs, submissions
from utils import checks, language
from utils.config import ROOT

OPTIONS = {"seed": 0, "seconds": 60, "capstone": {"steps": 0}, "capstone_seconds": 60}


def a_notebook(*cells: str, title: str = "# 02 · A lesson") -> dict:
    found = [{"cell_type": "markdown", "source": title}]
    return {"nbformat": 4, "cells": found + [{"cell_type": "code", "source": cell} for cell in cells]}


@pytest.fixture
def read(tmp_path):
    """A function that makes a notebook of cells."""

    def read(*cells: str, **more) -> Notebook:
        (tmp_path / "one.ipynb").write_text(json.dumps(a_notebook(*cells, **more)), encoding="utf-8")
        return Notebook.read(tmp_path / "one.ipynb")

    return read


def code(answer) -> list[str]:
    """The statements that are run for an answer, each on a line, then the expression."""
    return [statement.text.partition("\n")[0] for statement in answer.statements] + [answer.expression]


def scores_in(notebook: Notebook, course: Notebook | None = None):
    return find(notebook, "lesson02.scores", ("q", "K"), course)


# ---- which statements are run ------------------------------------------------------------------------------

SCORES = "def scores(q, K):\n    return K @ q"
CHECK = "checks.lesson02.scores(scores)"


def test_only_what_an_answer_needs_is_run(read):
    notebook = read(
        "import math\nimport torch, os\nmodel = train_for_hours()",
        "d = 4\nroot = math.sqrt(d)\nd = 5",
        "def helper(K):\n    model = K\n    return other(model) / root",
        "def other(K):\n    return K[0]",
        "%matplotlib inline\n!pip install something\nwhile True: pass",
        "def scores(q, K):\n    return [helper(k) for k in K] + torch.zeros(1)\nprint(scores(1, 2))",
        CHECK,
        "other = 3\nroot = 7",
    )
    assert code(scores_in(notebook)) == [
        "import math",
        "import torch, os",
        "d = 4",
        "root = math.sqrt(d)",
        "def helper(K):",
        "def other(K):",
        "def scores(q, K):",
        "scores",
    ]


@pytest.mark.parametrize(
    ("before", "run"),
    [
        ("table = {}\ntable['a'] = 1\nother = {}", ["table = {}", "table['a'] = 1"]),
        ("table = 1\nif table:\n    table = 2", ["table = 1", "if table:"]),
        ("table = 1\nif True:\n    table = 2", ["table = 1", "if True:"]),
        ("table = 1\ntable += 1", ["table = 1", "table += 1"]),
        ("table = 1\ntable = 2", ["table = 2"]),
        ("from numpy import *", ["from numpy import *"]),
        ("try:\n    import table\nexcept ImportError:\n    table = 0", ["try:"]),
        ("class T:\n    n = 3\ntable = T()\ntable.n = 4", ["class T:", "table = T()", "table.n = 4"]),
        ("f = lambda: n\nn = 3\ntable = [f() for _ in 'a']", ["f = lambda: n", "n = 3", "table = [f() for _ in 'a']"]),
        ("%%time\ntable = 1", ["table = 1"]),
    ],
)  # fmt: skip
def test_names_come_from_where_python_would_take_them(read, before: str, run: list[str]):
    notebook = read(before, "def scores(q, K):\n    return table", CHECK)
    assert code(scores_in(notebook)) == [*run, "def scores(q, K):", "scores"]


def test_what_the_check_is_given_is_graded(read):
    named = read("def mine(q, K):\n    return K @ q", "checks.lesson02.scores(mine)")
    assert code(scores_in(named)) == ["def mine(q, K):", "mine"]
    direct = read("a = 3", "checks.lesson02.scores(lambda q, K: a * K @ q, seed=4)")
    assert code(scores_in(direct)) == ["a = 3", "lambda q, K: a * K @ q"]
    again = read("from utils.checks import lesson02", SCORES, "lesson02.scores(scores)", "scores = 5")
    assert code(scores_in(again)) == ["def scores(q, K):", "scores"]


def test_an_answer_below_its_check_counts_and_an_empty_one_does_not(read):
    stub = "def scores(q, K):\n    '''to do'''\n    ..."
    assert code(scores_in(read(stub, CHECK, SCORES))) == ["def scores(q, K):", "scores"]
    assert scores_in(read(stub, CHECK)).verdict == "not attempted"
    assert code(scores_in(read(SCORES, stub, CHECK)))[-2:] == ["def scores(q, K):", "scores"]
    assert code(scores_in(read(SCORES))) == ["def scores(q, K):", "scores"], "a check that is not there takes nothing"


def test_what_is_not_there_is_said(read):
    other = scores_in(read("def my_scores(q, K):\n    return 1", CHECK))
    assert other.verdict == "missing" and "Cell 2 defines my_scores(q, K): was it renamed?" in other.words
    broken = scores_in(read("import math", "def scores(q, K):\n    return (", CHECK))
    assert (broken.verdict, broken.words) == (
        "error",
        "Python cannot read its cell: '(' was never closed in line 2 (cell 3).",
    )
    assert scores_in(read("x = 1")).words == "There is no scores in the notebook."


def test_the_lessons_own_function_is_no_answer(read):
    of_course = read(SCORES, "from utils import checks")
    assert scores_in(read(SCORES, "from utils import checks", CHECK), of_course).verdict == "missing"
    assert scores_in(read(SCORES, "from utils import checks", SCORES, CHECK), of_course).expression == "scores"
    assert scores_in(read(SCORES.replace("K @ q", "q @ K"), CHECK), of_course).expression == "scores"
    stub, broken_in_play = "def scores(q, K):\n    ...", SCORES.replace("K @ q", "0")
    played = read(broken_in_play, "from utils import checks", stub, CHECK)
    assert scores_in(played, of_course).verdict == "not attempted"
    above = read("from utils import checks", SCORES, stub, CHECK)
    assert scores_in(above, of_course).verdict == "not attempted"
    assert scores_in(above).expression == "scores"


@pytest.mark.parametrize(
    "cell",
    ["(" * 10_000, "-" * 100_000 + "1", "a" + ".b" * 40_000, "x = 1\0", "x" * 200_000, "return 3", "await x", "\ud800"],
    ids=lambda cell: cell[:8],
)
def test_a_cell_that_python_cannot_read_spoils_no_other(read, cell: str):
    notebook = read(cell, SCORES, CHECK)
    assert scores_in(notebook).expression == "scores"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b'{"cells": 3}', b'{"worksheets": [3]}', b"\xff\xfe", b"[" * 100_000, b"<html>"],
    ids=lambda content: repr(content[:12]),
)
def test_a_file_that_is_no_notebook_gets_a_line(tmp_path, content: bytes):
    path = tmp_path / "some one.ipynb"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match="^it is not a notebook: "):
        Notebook.read(path)
    todo, rows = jobs(Submission("some one", path, path.name), OPTIONS)
    assert not todo and [row.verdict for row in rows] == ["unreadable"] and "not a notebook" in rows[0].words


def test_old_and_odd_notebooks_are_read(tmp_path):
    path = tmp_path / "old.ipynb"
    cells = [{"cell_type": "code", "input": ["def scores(q, K):\n", "    return K @ q"]}, 3, {}, {"cell_type": "code"}]
    path.write_text("\ufeff" + json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}), encoding="utf-8")
    assert code(scores_in(Notebook.read(path))) == ["def scores(q, K):", "scores"]
    (tmp_path / "link.ipynb").symlink_to(path)
    (tmp_path / "folder.ipynb").mkdir()
    for name in ("link", "folder"):
        with pytest.raises(Unreadable, match="not a file"):
            Notebook.read(tmp_path / f"{name}.ipynb")


def test_the_lesson_is_known_by_its_title_its_checks_or_its_functions(read):
    of = lambda lesson: [name for name in checks.EXERCISES if name.startswith(f"lesson{lesson}.")]  # noqa: E731
    assert exercises_of(read()) == of("02")
    assert exercises_of(read("checks.lesson03.self_attention(f)")) == [*of("02"), "lesson03.self_attention"]
    assert exercises_of(read("checks.lesson03.self_attention(f)", title="Homework")) == of("03")
    assert exercises_of(read("def rotary(x):\n    pass", title="")) == of("05")
    assert exercises_of(read("x = 1", title="# 99 · No lesson")) == []


@pytest.mark.slow
def test_every_lesson_as_it_ships_is_not_attempted(tmp_path):
    for number in LESSONS:
        (tmp_path / f"{number}.ipynb").write_text(json.dumps(lesson(number)), encoding="utf-8")
        todo, rows = jobs(Submission("x", tmp_path / f"{number}.ipynb", "x"), OPTIONS)
        assert not todo and {row.verdict for row in rows} == {"not attempted"}
        assert [row.name for row in rows] == list(exercises(number))


def test_files_and_learners(tmp_path):
    for name in (
        "one.ipynb", "deep/down/one.ipynb", "deep/helper.py", "my_transformer.py", "deep/my_transformer (2).py",
        "notes.txt", "model.py", "deep/.ipynb_checkpoints/one.ipynb", "__MACOSX/one.ipynb", "._one.ipynb",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("class MultiHeadAttention:\n    pass\n" if name == "model.py" else "x = 1\n")
    found, others = submissions(tmp_path)
    assert {(one.learner, one.name) for one in found} == {
        ("one", "one.ipynb"),
        ("deep", "deep/down/one.ipynb"),
        ("my_transformer", "my_transformer.py"),
        ("deep", "deep/my_transformer (2).py"),
        ("model", "model.py"),
    }
    assert others == ["notes.txt"]


# ---- the report --------------------------------------------------------------------------------------------


def row(learner: str, verdict: str, *mistakes: str, exercise: str = "lesson02.scores", file: str = "a") -> Row:
    return Row(learner, file, exercise, verdict, list(mistakes), "scores: said <b>so</b>")


def test_the_better_one_of_two_counts_and_the_order_is_the_courses():
    rows = [
        row("b", "passed", exercise="capstone.attention"),
        row("b", "wrong", "no scaling"),
        row("b", "passed", file="b"),
        row("a", "unreadable", exercise="", file="x"),
        row("a", "unreadable", exercise="", file="y"),
        row("a", "missing", exercise="lesson02.attend"),
        row("a", "error", "it does not end", exercise="lesson01.rnn_step"),
    ]
    kept = [(row.learner, row.exercise, row.verdict) for row in command.better(rows)]
    assert kept == [
        ("a", "", "unreadable"),
        ("a", "", "unreadable"),
        ("a", "lesson01.rnn_step", "error"),
        ("a", "lesson02.attend", "missing"),
        ("b", "lesson02.scores", "passed"),
        ("b", "capstone.attention", "passed"),
    ]


def test_the_report_counts_and_escapes(tmp_path):
    rows = [
        row("=cmd()", "wrong", "no scaling", "$d$ & <i>"),
        row("王 小明", "wrong", "no scaling"),
        row("a/b", "passed"),
    ]
    rows += [row("A_b", "unreadable", "it is not a notebook", exercise="", file="\ud800.ipynb")]
    report.make_room(tmp_path / "report")
    report.write(tmp_path / "report", rows, ["<notes>.txt"], seed=7)
    assert report.by_mistake(rows)[0] == ("02 scores", "no scaling", 2, 3)
    index = (tmp_path / "report" / "index.html").read_text("utf-8")
    assert "<td>no scaling</td><td>2 of 3</td>" in index and "&lt;notes&gt;.txt" in index and "<i>" not in index
    assert "no sandbox" in index and (tmp_path / "report" / "mistakes.png").stat().st_size > 5000
    pages = {path.name for path in (tmp_path / "report" / "learners").iterdir()}
    assert pages == {"cmd.html", "王_小明.html", "a_b.html", "A_b_2.html"} and all(
        f"learners/{x}" in index for x in pages
    )
    assert "✗ scores: said &lt;b&gt;so" in (tmp_path / "report" / "learners" / "cmd.html").read_text("utf-8")
    grades = list(csv.DictReader((tmp_path / "report" / "grades.csv").open(encoding="utf-8-sig")))
    assert list(grades[0]) == ["learner", "lesson", "exercise", "verdict", "stars", "mistake"]
    assert [x["learner"] for x in grades] == ["'=cmd()", "王 小明", "a/b", "A_b"]
    assert list(grades[0].values())[1:] == ["02", "scores", "wrong", "1", "no scaling; $d$ & <i>"]

    report.make_room(tmp_path / "report")
    report.write(tmp_path / "report", rows[:1], [], seed=7)
    assert [path.name for path in (tmp_path / "report" / "learners").iterdir()] == ["cmd.html"], "no page of before"


def test_what_the_grader_refuses_gets_a_sentence(tmp_path, capsys):
    def refused(*arguments) -> str:
        assert command.main([str(argument) for argument in arguments]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    assert "There is no folder" in refused(tmp_path / "none", "--out", tmp_path / "out")
    handed_in, mine = tmp_path / "in", tmp_path / "mine"
    handed_in.mkdir()
    assert "There is no notebook" in refused(handed_in, "--out", tmp_path / "out")
    (handed_in / "a.ipynb").write_text("{}")
    assert "not in the folder of submissions" in refused(handed_in, "--out", handed_in / "out")
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    assert "holds other files" in refused(handed_in, "--out", mine)
    assert "is a file" in refused(handed_in, "--out", mine / "thesis.txt")
    assert "Cannot make the folder" in refused(handed_in, "--out", mine / "thesis.txt" / "out")
    assert not (tmp_path / "out").exists() and [path.name for path in mine.iterdir()] == ["thesis.txt"]


# ---- the whole run -----------------------------------------------------------------------------------------


def grade(folder: Path, out: Path, *options: str) -> dict[tuple[str, str], dict]:
    """Run the command; the rows of its CSV by learner and exercise. No temporary folder is left behind."""
    line = [sys.executable, "tools/grade.py", str(folder), "--out", str(out), "--no-training", *options]
    with tempfile.TemporaryDirectory() as tmp:  # not tmp_path: the socket of a process has room for a short path only
        done = subprocess.run(line, cwd=ROOT, env=os.environ | {"TMPDIR": tmp}, capture_output=True, text=True)
        left = list(Path(tmp).glob("grade-*"))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    assert not left
    with (out / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    lessons = {row["lesson"]: f"lesson{row['lesson']}" if row["lesson"].isdigit() else row["lesson"] for row in rows}
    return {(row["learner"], f"{lessons[row['lesson']]}.{row['exercise']}"): row for row in rows}


def state(*folders: Path) -> dict[str, str]:
    """What lies in the folders, with what it holds."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_submissions_get_the_verdicts_that_were_planted(tmp_path):
    """Fifteen of them; with ALL_SUBMISSIONS=1 in the environment five for each lesson, which takes minutes."""
    lessons = LESSONS if os.environ.get("ALL_SUBMISSIONS") else ["02", "08", "08b"]
    handed_in, precious = tmp_path / "handed_in", tmp_path / "precious"
    handed_in.mkdir()
    precious.mkdir()
    (precious / "notes.txt").write_text("not yours")
    planted = a_class(handed_in, precious, lessons)
    assert len(list(handed_in.rglob("*.ipynb"))) == 5 * len(lessons)
    before = state(handed_in, precious, ROOT / "utils")
    graded = grade(handed_in, tmp_path / "report", "--seconds", "60")
    assert state(handed_in, precious, ROOT / "utils") == before
    got = {key: ": ".join(filter(None, (row["verdict"], row["mistake"]))) for key, row in graded.items()}
    amiss = {key: (got[key], verdict) for key, verdict in planted.items() if not as_planted(got[key], verdict)}
    assert not amiss


def as_planted(got: str, planted: str) -> bool:
    return got.startswith(planted) if planted else not got.startswith("passed")


@pytest.mark.slow
def test_a_run_can_be_repeated_and_a_learners_modules_come_along(tmp_path):
    folder, right = tmp_path / "in", solutions("02")
    for learner in ("one", "two"):
        (folder / learner).mkdir(parents=True)
    (folder / "one" / "mine.py").write_text("from math import sqrt\n")
    (folder / "one" / "torch.py").write_text("1 / 0\n")
    mine = "from mine import sqrt\nimport torch\ndef scores(q, K):\n    return K @ q / sqrt(len(q))"
    (folder / "one" / "a.ipynb").write_text(json.dumps(filled("02", right | {"scores": mine})))
    two = {"scores": "half = undefined\n" + mine.replace("sqrt(len(q))", "half")}
    two["softmax"] = "many = sum(1 for _ in iter(int, 1))\ndef softmax(z):\n    return many"
    (folder / "two" / "a.ipynb").write_text(json.dumps(filled("02", right | two)))
    graded = grade(folder, tmp_path / "first")
    assert {row["verdict"] for (learner, _), row in graded.items() if learner == "one"} == {"passed"}
    assert graded["two", "lesson02.scores"]["mistake"] == "the code that it needs stops: NameError"
    assert graded["two", "lesson02.softmax"]["mistake"] == "the code that it needs does not end"
    page = (tmp_path / "first" / "learners" / "two.html").read_text("utf-8")
    assert "stopped with NameError: name &#x27;undefined&#x27; is not defined\nin the line: half = undefined" in page
    grade(folder, tmp_path / "again", "--jobs", "1")
    again = {path.replace("again", "first"): content for path, content in state(tmp_path / "again").items()}
    assert state(tmp_path / "first") == again


@pytest.mark.slow
def test_capstones_get_a_line_for_each_part(tmp_path):
    folder, solved = tmp_path / "in", SOLVED.read_text(encoding="utf-8")
    folder.mkdir()
    hidden = "scores.masked_fill(~mask"
    assert hidden in solved
    files = {
        "right": solved,
        "wrong": solved.replace(hidden, "scores.masked_fill(mask"),
        "begun": solved.partition("class MultiHeadAttention")[0],
        "broken": "def attention(q, k, v, mask=None:\n    return q",
        "endless": "def attention(q, k, v, mask=None):\n    return q\nwhile True:\n    pass",
        "exits": "import os\ndef attention(q, k, v, mask=None):\n    os._exit(0)",
    }
    for name, text in files.items():
        if name == "begun":  # in a notebook, as where there is no file beside it
            cells = ["%%writefile my_transformer.py\nimport math\nimport torch\nfrom torch import nn\n"]
            cells += ["%%writefile -a my_transformer.py\n" + text]
            (folder / f"{name}.ipynb").write_text(json.dumps(a_notebook(*cells, title="# Capstone")), encoding="utf-8")
        else:
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
    graded = grade(folder, tmp_path / "report")
    verdicts = {name: {key[1][9:]: row["verdict"] for key, row in graded.items() if key[0] == name} for name in files}
    assert list(verdicts["right"].values()).count("passed") == 9
    assert verdicts["wrong"]["attention"] == "wrong" and verdicts["wrong"]["MultiHeadAttention"] == "not attempted"
    assert graded["wrong", "capstone.attention"]["mistake"] == "the mask is inverted"
    assert verdicts["begun"]["attention"] == "passed" and verdicts["begun"]["LayerNorm"] == "missing"
    assert verdicts["broken"] == verdicts["endless"] == verdicts["exits"] == {"file": "error"}
    assert "Python cannot read" in graded["broken", "capstone.file"]["mistake"]
    assert "had not ended" in graded["endless", "capstone.file"]["mistake"]
    assert graded["exits", "capstone.file"]["mistake"] == "its process ended"


# ---- the handout -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("handout") / "course"
    assert handout.main(["--out", str(out)]) == 0
    return out


@pytest.mark.slow
def test_the_handout_holds_no_solution(handed_out):
    texts = {path: path.read_text("utf-8") for path in handed_out.rglob("*") if path.suffix in (".md", ".py", ".ipynb")}
    assert len(texts) > 50 and (handed_out / "utils" / "checks" / "lessons" / "lesson01.py") in texts
    for number in LESSONS:
        for name, source in solutions(number).items():
            body = source[source.index(f"def {name}(") :].partition("\n")[2].rstrip()
            stored = json.dumps(body)[1:-1]
            for path, text in texts.items():
                if "checks" not in path.parts and body.count("\n") > 1:
                    assert body not in text and stored not in text, f"{path} holds the solution of {name}"
    assert not any("solutions" in path.parts or "tests" in path.parts for path in handed_out.rglob("*"))


def test_the_handouts_links_lead_somewhere(handed_out):
    for path in [*handed_out.rglob("*.md"), *handed_out.rglob("*.ipynb")]:
        text = path.read_text("utf-8")
        if path.suffix == ".ipynb":
            text = "\n".join("".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "markdown")
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text):
            there = path.parent / target
            assert (
                "://" in target or there.exists() or not (ROOT / path.relative_to(handed_out).parent / target).exists()
            ), f"{path.name} links to {target}"


def test_the_handouts_figures_have_their_captions_in_every_language(handed_out):
    """A figure that is drawn again takes its caption from the catalogue of its lesson, so that is handed out."""
    catalogues = list(language.CATALOGUES.glob("zh/*.md"))
    assert len(catalogues) >= 11
    for path in catalogues:
        there = handed_out / path.relative_to(ROOT)
        here, found = (
            {key: text for key, text in language.read_catalogue(one).items() if key[0] != "en"} for one in (path, there)
        )
        assert here == found, path.name


def test_a_handout_overwrites_nothing(handed_out, capsys, monkeypatch, tmp_path):
    before = state(handed_out)
    assert handout.main(["--out", str(handed_out)]) == 1
    assert "is there already" in capsys.readouterr().err and state(handed_out) == before
    monkeypatch.setattr(handout, "ROOT", tmp_path)
    with pytest.raises(OSError, match="clone of its repository"):
        handout.files(tmp_path)


def test_the_handout_says_why_it_has_no_tests(handed_out):
    done = subprocess.run([sys.executable, "tools/check.py"], cwd=handed_out, capture_output=True, text=True)
    assert done.returncode and "comes without its tests" in done.stderr


def test_nothing_handed_out_imports_what_is_left_out(handed_out):
    """Such as `make site`, which the handed-out README offers."""
    for path in handed_out.rglob("*.py"):
        found = re.findall(
            r"^ *from (utils|tools|experiments|benchmarks)(\.[\w.]+)? import (.+)", path.read_text("utf-8"), re.M
        )
        for package, inside, names in found:
            module = package + inside
            places = [module] if inside else [f"{module}.{name.split()[0]}" for name in names.split(", ")]
            for place in places:
                there = ROOT / place.replace(".", "/")
                if there.with_suffix(".py").exists() or there.is_dir():
                    here = handed_out / place.replace(".", "/")
                    assert here.with_suffix(".py").exists() or here.is_dir(), f"{path.name} imports {place}"


@pytest.mark.parametrize("tongue", ["", "zh"])
def test_the_handouts_site_lists_the_pages_that_it_has(handed_out, tmp_path, tongue):
    sources = tmp_path / "sources"
    code = "import pathlib, shutil, sys; from tools import build_site as site; folder = pathlib.Path(sys.argv[1]);"
    code += "shutil.copytree(site.WEBSITE, folder); site.write_sources(folder, True, tongue=sys.argv[2])"
    done = subprocess.run([sys.executable, "-c", code, sources, tongue], cwd=handed_out, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    trees = re.findall(r"```\{toctree\}\n(?::.*\n)+\n((?:[^`].*\n)+)```", (sources / "index.md").read_text("utf-8"))
    assert len(trees) == 2
    for entry in "".join(trees).splitlines():
        assert list(sources.glob(f"{entry}.*")), f"the contents name {entry}, which is not handed out"
