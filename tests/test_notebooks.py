"""Every lesson and solution keeps the rules of tools/rules.py, and every rule refuses what breaks it."""

import ast
import functools
import importlib
import inspect
import math
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from torch import Tensor, nn

from experiments import record
from tools import lab, rules
from tools.run_lessons import (
    METADATA,
    NOTEBOOKS,
    PLAY,
    TEXT,
    WIDGET,
    as_jupytext_writes,
    differences,
    notebook_of,
    read_twin,
    twins,
)
from utils import checks
from utils.corpus import TestItem

LESSONS = sorted(NOTEBOOKS.glob("*.ipynb"))
SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))


def stem(path: Path) -> str:
    return path.stem


@functools.cache
def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


# ---- the rules, on every notebook --------------------------------------------------------------------------


@pytest.mark.parametrize("rule", rules.OF_A_LESSON, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", LESSONS, ids=stem)
def test_lesson(path: Path, rule: Callable):
    assert not rule(read(path)), rule.__doc__


@pytest.mark.parametrize("rule", rules.STORED, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", SOLUTIONS, ids=stem)
def test_solution(path: Path, rule: Callable):
    assert not rule(read(path)), rule.__doc__


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=stem)
def test_twin_and_notebook_agree(path: Path):
    twin = TEXT / path.relative_to(NOTEBOOKS).with_suffix(".md")
    assert twin.exists(), f"{path.name} has no text twin"
    assert not differences(read_twin(twin), read(path)), "call `make run`"
    # JupyterLab, opened in the root, refuses a pair whose headers differ when the notebook is the newer file.
    header = jupytext.read(twin, fmt="md:myst").metadata["kernelspec"]
    assert header == read(path).metadata["kernelspec"], f"kernelspec in {twin.name}: {header}"


@pytest.mark.parametrize("twin", twins(), ids=lambda twin: str(twin.relative_to(TEXT)))
def test_a_twin_is_what_jupytext_writes(twin: Path):
    """To the byte: a lesson that is opened and saved through jupytext changes only where the hand changed it."""
    assert twin.read_bytes() == as_jupytext_writes(twin).encode(), "call `python tools/run_lessons.py --format`"


def test_every_twin_has_its_notebook_and_the_lessons_are_numbered():
    assert not [twin.name for twin in twins() if not notebook_of(twin).exists()], "call `make run`"
    numbers = [path.name.partition("_")[0] for path in LESSONS]
    assert [n for n in numbers if n.isdigit()] == [f"{n:02d}" for n in range(1, int(numbers[-1][:2]) + 1)]
    second_parts = [
        n for n in numbers if not n.isdigit()
    ]  # 08b belongs to 08: checks.lesson08 has the exercises of both
    assert all(n[:2] in numbers and n[2:] == "b" for n in second_parts)


def test_the_notebooks_are_small():
    sizes = {path.name: path.stat().st_size for path in LESSONS + SOLUTIONS}
    assert not {name: size for name, size in sizes.items() if size > rules.MAX_BYTES}
    assert sum(sizes.values()) < rules.MAX_BYTES_TOGETHER


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=stem)
def test_links_between_files_lead_somewhere(path: Path):
    """In the repository, and among the learner's copies, where `make lab` moves them along."""
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", rules.markdown(read(path))):
        leads_to = (path.parent / target).resolve()
        assert leads_to.exists(), f"a link to {target}, which does not exist"
        name = leads_to.relative_to(NOTEBOOKS.parent).as_posix()
        assert lab.place(name) in lab.course_files(), f"a link to {target}, which `make lab` does not copy"


# ---- each rule can fail ------------------------------------------------------------------------------------


def printed(text: str, source: str = "print(x)", count: int = 1, tags: tuple = (), **metadata):
    output = new_output("stream", name="stdout", text=text)
    return new_code_cell(source, execution_count=count, outputs=[output], metadata={"tags": list(tags), **metadata})


def displayed(data: dict, count: int = 1, tags: tuple = (), alt: str = ""):
    metadata = {"tags": list(tags)} | ({"mystnb": {"image": {"alt": alt}}} if alt else {})
    return new_code_cell(
        "fig", execution_count=count, metadata=metadata, outputs=[new_output("display_data", data=data)]
    )


def book(*cells, kernel: str = "python3"):
    copies = [cell | {"id": f"cell-{i}"} for i, cell in enumerate(cells)]
    metadata = METADATA | {"kernelspec": METADATA["kernelspec"] | {"name": kernel}}
    return nbformat.from_dict({"cells": copies, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


PNG = {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure size 640x480 with 1 Axes>"}
ALT = "Four bars, the second is the tallest."
ANIMATION = {"text/html": "<script>play()</script>", "text/plain": "<IPython.core.display.HTML object>"}
GIF = {"text/html": '<img alt="a" src="data:image/gif;base64,R0lGODlh//8=">', "text/plain": ANIMATION["text/plain"]}
IGNORE = ("nbval-ignore-output",)
GOOD = book(
    new_markdown_cell("# Good"),
    *(printed(f"{n}\n", count=n) for n in range(1, 10)),
    displayed(PNG, count=10, alt=ALT),
    displayed(ANIMATION, count=11, tags=IGNORE, alt=ALT),
    displayed(PNG, count=12, alt=ALT),
    displayed(GIF, count=13, tags=IGNORE, alt=ALT),
    printed("3 s\n", count=14, tags=IGNORE),
)
LONG = new_markdown_cell("word " * 151)


def quiz(*verdicts: str) -> str:
    """A question with one choice per verdict."""
    choices = "".join(f"<details><summary>x</summary>\n\n{verdict}. Why.\n\n</details>\n" for verdict in verdicts)
    return f"**1. Which?**\n\n{choices}\n"


BAD = {
    "counts out of order": (rules.executed_in_order, book(printed("1", count=2))),
    "a cell never run": (rules.executed_in_order, book(new_code_cell("x"))),
    "a stored error": (
        rules.executed_in_order,
        book(new_code_cell("x", execution_count=1, outputs=[new_output("error", ename="E", evalue="", traceback=[])])),
    ),
    "a skipped cell": (rules.no_escape_from_nbval, book(printed("1", tags=("nbval-skip",)))),
    "a cell that may fail": (rules.no_escape_from_nbval, book(printed("1", tags=("raises-exception",)))),
    "a comment to nbval": (rules.no_escape_from_nbval, book(printed("1", source="# NBVAL_IGNORE_OUTPUT\nx"))),
    "two of ten ignored": (rules.ignores_little, book(*[printed("1")] * 8, *[printed("1", tags=IGNORE)] * 2)),
    "a widget without a still": (
        rules.ignores_little,
        book(printed("1"), displayed({"text/plain": PLAY}, tags=IGNORE)),
    ),
    "an animation without a still": (
        rules.ignores_little,
        book(printed("1"), displayed(ANIMATION, tags=IGNORE)),
    ),
    "a GIF without a still": (rules.ignores_little, book(printed("1"), displayed(GIF, tags=IGNORE))),
    "a GIF without words": (rules.described_pictures, book(displayed(GIF, tags=IGNORE))),
    "a still that is ignored too": (
        rules.ignores_little,
        book(*[printed("1")] * 20, displayed(PNG, tags=IGNORE), displayed(ANIMATION, tags=IGNORE)),
    ),
    "nothing compared": (rules.compares_enough, book(*[new_code_cell("x", execution_count=1)] * 9)),
    "mostly figures": (rules.compares_enough, book(*[printed("1")] * 5, *[displayed(PNG, alt=ALT)] * 6)),
    "a path": (rules.clean_outputs, book(printed("saved to /home/me/model"))),
    "a Windows path": (rules.clean_outputs, book(printed("saved to C:\\me"))),
    "an address": (rules.clean_outputs, book(printed("<function f at 0x7f3a5c0d2e50>"))),
    "a gradient record": (rules.clean_outputs, book(printed("tensor(1., grad_fn=<AddBackward0>)"))),
    "a traceback": (rules.clean_outputs, book(printed("Traceback (most recent call last)"))),
    "a missing glyph": (rules.clean_outputs, book(printed("Glyph 20013 (\\N{CJK}) missing from font"))),
    "a version": (rules.clean_outputs, book(printed("torch 2.13.0+cpu"))),
    "stderr": (
        rules.clean_outputs,
        book(new_code_cell("x", outputs=[new_output("stream", name="stderr", text="oh")])),
    ),
    "an icon font": (
        rules.stays_offline,
        book(displayed({"text/html": '<link href="https://cdn.example.com/a.css">'})),
    ),
    "a remote script": (
        rules.stays_offline,
        book(displayed({"text/html": '<script src="//cdn.example.com/a.js">'})),
    ),
    "a remote picture": (
        rules.stays_offline,
        book(new_markdown_cell("![a cat](https://example.com/cat.png)")),
    ),
    "times in the metadata": (rules.normalized, book(printed("1", execution={"iopub.status.busy": "2026"}))),
    "a widget's id": (rules.normalized, book(displayed({WIDGET: {"model_id": "5f3a"}}))),
    "another kernel": (rules.normalized, book(kernel="mine")),
    "a figure without words": (rules.described_pictures, book(displayed(PNG))),
    "a drawing without words": (rules.described_pictures, book(displayed({"text/html": "<svg></svg>"}))),
    "prose with a bare picture": (rules.described_pictures, book(new_markdown_cell("![](images/a.png)"))),
    "a cell of 31 lines": (rules.short_cells, book(*[printed("1")] * 9, printed("1", source="x\n" * 31))),
    "long cells": (rules.short_cells, book(*[printed("1", source="x\n" * 12)] * 3, printed("1"))),
    "a long passage": (rules.short_passages, book(new_markdown_cell("# T"), LONG)),
    "no bones": (rules.has_the_bones, book(new_markdown_cell("# T"))),
    "no quiz": (rules.has_a_quiz, book(new_markdown_cell("# T"))),
    "two questions": (rules.has_a_quiz, book(new_markdown_cell(quiz("Right", "No", "No") * 2))),
    "two right choices": (rules.has_a_quiz, book(new_markdown_cell("## Quiz\n" + quiz("Right", "Right", "No") * 3))),
    "an unexplained choice": (rules.has_a_quiz, book(new_markdown_cell("## Quiz\n" + quiz("Right", "No", "") * 3))),
    "an asserted time": (rules.no_asserted_seconds, book(printed("1", source="assert seconds < 3"))),
}


@pytest.mark.parametrize("what", BAD)
def test_a_rule_refuses(what: str):
    rule, notebook = BAD[what]
    assert rule(notebook)


@pytest.mark.parametrize("rule", (*rules.STORED, rules.compares_enough, rules.short_passages), ids=lambda r: r.__name__)
def test_a_rule_accepts_what_is_good(rule: Callable):
    assert not rule(GOOD)


def test_a_good_quiz_is_accepted():
    good = "## Quiz\n\n" + quiz("Right", "No", "No") + quiz("No", "No", "Right") + quiz("No", "Right", "No", "No")
    assert not rules.has_a_quiz(book(new_markdown_cell(good + "## Exercises\n\n<summary>Hint 1</summary>\n\nThink.")))


def test_every_rule_has_a_notebook_that_breaks_it():
    assert {rule for rule, _ in BAD.values()} == set(rules.OF_A_LESSON)


def test_a_twin_keeps_its_headers_in_the_notebooks_order():
    """JupyterLab compares the twin's text with the notebook's, whose entries are stored sorted."""
    right, wrong = (book(printed("1", tags=IGNORE)) for _ in range(2))
    wrong.cells[0].metadata = nbformat.from_dict({"tags": list(IGNORE), "mystnb": {}})
    right.cells[0].metadata = nbformat.from_dict({"mystnb": {}, "tags": list(IGNORE)})
    assert not differences(right, right)
    assert differences(wrong, right)


# ---- same-as: what a lesson builds is what utils has -------------------------------------------------------


def tensors(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Random float64 tensors: close means equal but for the order of additions."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes]


def attention_cases(seed: int) -> list[tuple]:
    """Arguments for attention: one sequence, a batch with heads, and masks, an empty row among them."""
    q, k, v = tensors(seed, (5, 4), (7, 4), (7, 3))
    heads = tensors(seed + 1, *[(2, 3, 6, 4)] * 3)
    some = torch.rand(5, 7, generator=torch.Generator().manual_seed(seed)) < 0.5
    some[2] = False
    return [(q, k, v), tuple(heads), (q, k, v, some), (*heads, torch.ones(6, 6).tril().bool())]


def ids_cases(seed: int) -> list[tuple]:
    ids = torch.randint(0, 4, (3, 6), generator=torch.Generator().manual_seed(seed))
    return [(ids, 0), (ids, 3)]


def loss_cases(seed: int) -> list[tuple]:
    """Arguments for a label-smoothed loss over real tokens, with and without smoothing."""
    logits = tensors(seed, (9, 7))[0].float()
    target = torch.randint(1, 7, (9,), generator=torch.Generator().manual_seed(seed))
    return [(logits, target, 0.1), (logits, target, 0.0)]


# For each name that a lesson may tag: a function from a seed to argument tuples, on which both must agree.
CASES: dict[str, Callable[[int], list[tuple]]] = {
    "utils.attention.attention": attention_cases,
    "utils.attention.causal_mask": lambda seed: [(1,), (2,), (5 + seed,)],
    "utils.attention.padding_mask": ids_cases,
    "utils.attention.split_heads": lambda seed: [(tensors(seed, (2, 3, 12))[0], n_heads) for n_heads in (1, 3, 4)],
    "utils.attention.merge_heads": lambda seed: [(x,) for x in tensors(seed, (2, 3, 5, 4), (1, 1, 2, 3))],
    "utils.positional.sinusoidal": lambda seed: [(1, 2), (7 + seed, 8)],
    "utils.positional.shift_matrix": lambda seed: [(2, 1), (8, 3 + seed), (8, -5 - seed)],
    "utils.positional.rotary": lambda seed: [(x,) for x in tensors(seed, (7, 8), (2, 3, 5, 4))],
    "utils.positional.alibi": lambda seed: [(1, *tensors(seed, (2,), (2,))), (6, *tensors(seed, (3,), (3,)))],
    "utils.decoder_only.prefix_mask": lambda seed: [(1, 0), (5 + seed, 0), (5 + seed, 3), (4, 4)],
    "utils.scan.by_loop": lambda seed: [
        (decay.sigmoid(), a) for decay, a in (tensors(seed, (3,), (5, 3)), tensors(seed, (2, 7, 4), (2, 7, 4)))
    ],
    "utils.batching.pad": lambda seed: [([[5, 6], [7], [8, 9, 3 + seed]],)],
    "utils.dictionary.matches": lambda seed: [
        (said, TestItem("机器学习", ("machine learning", "a second one")))
        for said in ("Machine learning.", "to machine the learning", "The second one!", "machines learning", "")
    ],
    "utils.trainer.schedule": lambda seed: [(step / 50, step, 10 + seed, 0.5) for step in range(0, 60, 7)],
    "utils.loss.smoothed_loss": loss_cases,
}


def tagged() -> list[tuple[Path, int, str]]:
    """Every same-as tag as (notebook, cell, name in utils or experiments)."""
    return [
        (path, index, tag.removeprefix("same-as:"))
        for path in LESSONS + SOLUTIONS
        for index, cell in rules.code_cells(read(path))
        for tag in rules.tags(cell)
        if tag.startswith("same-as:")
    ]


def namespace_of(notebook: nbformat.NotebookNode, last: int) -> dict:
    """What the lesson has defined by cell `last`: imports, functions, classes, plain constants."""
    namespace = {"torch": torch, "nn": nn, "F": F, "math": math, "np": np, "Tensor": Tensor}
    for index, cell in rules.code_cells(notebook):
        if index > last:
            break
        lines = [line for line in cell.source.splitlines() if not line.lstrip().startswith(("%", "!"))]
        for node in ast.parse("\n".join(lines)).body:
            constant = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            if constant or isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)):
                exec(compile(ast.Module([node], type_ignores=[]), f"cell {index}", "exec"), namespace)
    return namespace


def defined_in(cell: nbformat.NotebookNode) -> list[str]:
    return [node.name for node in ast.parse(cell.source).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def the_lessons_own(path: Path, index: int, name: str) -> Callable:
    """The function that the tagged cell defines: by the name it has in utils, or else the cell's last."""
    notebook = read(path)
    names = defined_in(notebook.cells[index])
    assert names, f"{path.name}, cell {index}: tagged same-as:{name}, but the cell defines nothing"
    wanted = name.rsplit(".", 1)[1]
    return namespace_of(notebook, index)[wanted if wanted in names else names[-1]]


def in_utils(name: str) -> Callable:
    module, attribute = name.rsplit(".", 1)
    return getattr(importlib.import_module(module), attribute)


def assert_same(mine: Callable, theirs: Callable, cases: Callable[[int], list[tuple]]) -> None:
    for seed in range(5):
        for arguments in cases(seed):
            torch.testing.assert_close(mine(*arguments), theirs(*arguments))


def assert_same_code(cell: str, name: str) -> None:
    """What a lesson trains in small is what the experiment trained at length: the same code but for docstrings."""

    def code(source: str) -> str:
        node = next(node for node in ast.parse(source).body if getattr(node, "name", "") == name.rsplit(".", 1)[1])
        for inner in ast.walk(node):
            if isinstance(inner, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(inner) is not None:
                inner.body = inner.body[1:]
        return ast.unparse(node)

    assert code(cell) == code(textwrap.dedent(inspect.getsource(in_utils(name))))


@pytest.mark.parametrize("path, index, name", tagged(), ids=lambda value: getattr(value, "stem", str(value)))
def test_same_as(path: Path, index: int, name: str):
    if name.startswith("experiments."):
        return assert_same_code(read(path).cells[index].source, name)
    assert name in CASES, f"{path.name}, cell {index}: add cases for {name} to CASES in {Path(__file__).name}"
    assert_same(the_lessons_own(path, index, name), in_utils(name), CASES[name])


@pytest.mark.parametrize("path", LESSONS, ids=stem)
def test_the_tag_is_on_the_last_version(path: Path):
    """A later cell that defines the function again would leave the lesson with another than the tested.

    An exercise's stub may: it asks the learner to write the function once more.
    """
    cells = [(i, cell) for i, cell in rules.code_cells(read(path)) if not cell.source.endswith("\n    ...")]
    for index, cell in cells:
        if any(tag.startswith("same-as:") for tag in rules.tags(cell)):
            later = [i for i, other in cells if i > index and set(defined_in(other)) & set(defined_in(cell))]
            assert not later, f"cell {index} is tagged same-as:, but cells {later} define its function again"


@pytest.mark.parametrize("name", CASES)
def test_the_cases_suit_utils(name: str):
    assert_same(in_utils(name), in_utils(name), CASES[name])


def test_same_as_notices_a_difference(tmp_path):
    unscaled = "def attention(q, k, v, mask=None):\n    w = (q @ k.mT).softmax(-1)\n    return w @ v, w"
    cell = printed("", source=unscaled, tags=("same-as:utils.attention.attention",))
    nbformat.write(book(new_markdown_cell("# T"), cell), tmp_path / "lesson.ipynb")
    wrong = the_lessons_own(tmp_path / "lesson.ipynb", 1, "utils.attention.attention")
    with pytest.raises(AssertionError):
        assert_same(wrong, in_utils("utils.attention.attention"), attention_cases)


def test_same_as_notices_other_code_than_the_experiments():
    source = inspect.getsource(record)
    assert_same_code(source, "experiments.record")
    assert_same_code(source.replace('"""', "'''").replace("Write the rows", "Put down the rows"), "experiments.record")
    with pytest.raises(AssertionError):
        assert_same_code(source.replace("out or ROOT", "ROOT"), "experiments.record")


# ---- exercises ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", checks.EXERCISES)
def test_every_exercise_stands_in_its_lesson_and_is_solved(name: str):
    """A stub, its check, growing hints; and in solutions/ an answer that passes."""
    lesson, _, function = name.partition(".")
    call = f"checks.{name}({function})"
    paths = [path for path in LESSONS if path.name.startswith(lesson.removeprefix("lesson"))]
    (path,) = [path for path in paths if any(cell.source == call for _, cell in rules.code_cells(read(path)))]

    cells = [cell for _, cell in rules.code_cells(read(path))]
    at = next(i for i, cell in enumerate(cells) if cell.source == call)
    parameters = ", ".join(checks.EXERCISES[name].parameters)
    assert cells[at - 1].source.startswith(f"def {function}({parameters}):"), "the stub stands before its check"
    assert "not attempted yet" in str(cells[at].outputs)
    prose = rules.markdown(read(path))
    stars = "★" * checks.EXERCISES[name].stars
    assert re.search(rf"^### Exercise \d+: .*{stars} \(\d+ minutes\)$", prose, re.MULTILINE)

    solved = [cell for _, cell in rules.code_cells(read(NOTEBOOKS / "solutions" / path.name)) if cell.source == call]
    assert len(solved) == 1 and "✓" in str(solved[0].outputs)


@pytest.mark.parametrize("path", LESSONS, ids=stem)
def test_every_exercise_has_hints(path: Path):
    sections = re.findall(r"^### Exercise.*?(?=^##|\Z)", rules.markdown(read(path)), re.DOTALL | re.MULTILINE)
    assert sections and all(section.count("<summary>Hint") >= 2 for section in sections)


# ---- notebooks/README.md says where each idea, and each figure and formula of the lecture is -------------------

PLACES = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
FIGURES = [*map(str, range(1, 13)), "W^P", "seq2seq", "animation", "overview", "architecture", "norm"]
FORMULAS = ["embedding", "query", "score", "softmax", "output", "it", "scaling", "part", "Q", "K^T q", "A", "O", "GPU"]
FORMULAS += ["heads", "W^O", "e", "p", "context", "Layer Norm", "Batch Norm", "Add", "masked", "BERT", "example"]
FORMULAS += ["unseen"]


def sections_of(notebook: nbformat.NotebookNode) -> dict[str, set[str]]:
    """Each heading of level two or three, and what of the lecture (tags `lecture:`) is in its section."""
    found, heading = {}, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            prose = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
            for heading in re.findall(r"^##+ (.*?)\s*$", prose, flags=re.MULTILINE):
                found[heading] = set()
        elif heading:
            found[heading] |= {tag.removeprefix("lecture:") for tag in rules.tags(cell) if tag.startswith("lecture:")}
    return found


LINK = r"\[\d\db?\]\(([^)]+\.ipynb)\), \*(.+?)\* \|"  # a cell of the tables: lesson, section
LECTURE = {item: place for item, *place in re.findall(rf"^\| ([\w^ ]+) \|.*\| {LINK}$", PLACES, re.MULTILINE)}
IDEAS = re.findall(rf"^\| ([^|]+) \| {LINK} (?:`([\w.]+)` )?\|$", PLACES, re.MULTILINE)


@pytest.mark.parametrize("item", FIGURES + FORMULAS)
def test_the_table_says_where_each_item_of_the_lecture_is(item: str):
    name, heading = LECTURE[item]
    sections = sections_of(read(NOTEBOOKS / name))
    assert heading in sections, f"{name} has no section {heading!r}, only {list(sections)}"
    assert item in sections[heading], f"no cell in {name}, {heading!r}, has the tag lecture:{item}"


def test_everything_of_the_lecture_in_a_lesson_is_in_the_table():
    computed = {item for path in LESSONS for items in sections_of(read(path)).values() for item in items}
    assert computed == set(LECTURE)


@pytest.mark.parametrize("idea, name, heading, code", IDEAS, ids=[idea for idea, *_ in IDEAS])
def test_the_table_says_where_an_idea_lives(idea: str, name: str, heading: str, code: str):
    sections = sections_of(read(NOTEBOOKS / name))
    assert heading in sections, f"{name} has no section {heading!r}, only {list(sections)}"
    if code:
        module, *names = code.split(".")
        functools.reduce(getattr, names, importlib.import_module(f"utils.{module}"))


def test_every_function_that_a_lesson_builds_is_in_the_table():
    """And every lesson has ideas."""
    built = {name.removeprefix("utils.") for _, _, name in tagged() if name.startswith("utils.")}
    assert not built - {code for *_, code in IDEAS}
    assert {name for _, name, *_ in IDEAS} == {path.name for path in LESSONS}
