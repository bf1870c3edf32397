"""All that a learner reads in utils/checks passes through `say`, as a literal with named places: see messages.py."""

import ast
import re
from pathlib import Path

import pytest

from tools.messages import SAYING, name_of
from utils import checks

ROOT = Path(checks.__file__).parent
DATA = {"part", "patches", "take_over", "mistake"}  # tasks, names and advice: said when they are shown
AUTHORS = {"Misfit"}  # for who writes a lesson
OTHERS = {"engine/patches.py"}  # it speaks to authors only
FILES = sorted({path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py")} - OTHERS)
SENTENCE = re.compile(r"[a-z]{2,},? [a-z]{2,},? [a-z]{2,}|^[a-z]+ [a-z]+ ?$")


def is_exempt(node: ast.AST) -> bool:
    """A docstring, an answer's code, the rules of a cost, a table in CAPITALS: said elsewhere, or not at all."""
    if isinstance(node, ast.FunctionDef):
        return any(name_of(decorator) in ("answer", "cost") for decorator in node.decorator_list)
    if isinstance(node, ast.Assign):
        return name_of(node.targets[0]).isupper()
    if isinstance(node, ast.Call):
        return name_of(node.func) in DATA | AUTHORS
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def not_said(node: ast.AST) -> list[str]:
    """Sentences outside `say`, and those inside that are put together before it sees them."""
    if is_exempt(node):
        return []
    children, found = list(ast.iter_child_nodes(node)), []
    if isinstance(node, ast.Call) and name_of(node.func) in SAYING and node.args:
        text, *more = node.args
        children = node.keywords
        found = [ast.unparse(node)] * (
            bool(more) or not isinstance(text, (ast.Constant, ast.Attribute, ast.Name, ast.Subscript))
        )
    elif isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
        children = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        found = [ast.unparse(node)] * bool(SENTENCE.search("".join(parts)))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        found = [ast.unparse(node)] * bool(SENTENCE.search(node.value))
    return found + [line for child in children for line in not_said(child)]


@pytest.mark.parametrize("name", FILES)
def test_what_a_learner_reads_is_said(name: str):
    assert not_said(ast.parse((ROOT / name).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        'raise Wrong(f"{what} stopped with {error}")',
        'say(f"no {name} here")',
        'say("no such {} here".format(name))',
        'say("no such thing" if one else "many such things")',
        'say("no such " + name)',
        'return False, "it is not right at all"',
        'Result(None, f"capstone: not attempted yet. {missing}")',
        'raise Wrong("wrong in {place}", place=f"the {name} that you made")',
        'raise ValueError("a filter that does not fit")',
    ],
)
def test_what_is_not_said_is_found(line: str):
    assert not_said(ast.parse(line))


@pytest.mark.parametrize(
    "line",
    [
        'raise Wrong("{what} stopped with {error}", what=what, error=str(error))',
        "say(mistake.advice)",
        'def f():\n    """It is only for who reads the code."""\n    return say("it is not right", n=3)',
        '@scores.answer\ndef _(q):\n    raise ValueError("the heads would not be equal")',
    ],
)
def test_what_is_said_is_not_found(line: str):
    assert not not_said(ast.parse(line))
