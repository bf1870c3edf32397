"""A notebook as statements, and which of them an exercise needs: the rest of a lesson is not run."""

import ast
import dis
import json
import re
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

LARGEST_CELL = 100_000  # characters
LARGEST_FILE = 100_000_000  # bytes: a notebook with many pictures
TIMED = ("%%time", "%%capture", "%%prun")
WRITES = re.compile(r"%%(?:writefile|file)[ \t]+(-a[ \t]+)?(\S+)[ \t]*\n")
CANNOT_READ = (SyntaxError, ValueError, RecursionError, MemoryError)


class Unreadable(Exception):
    """A file that is no notebook: the message is one sentence."""


@dataclass
class Statement:
    """A statement at the top level of a cell: which names it binds, and which it reads."""

    node: ast.stmt
    cell: int  # counted from 1, Markdown cells too
    at: int  # its place in the cell
    binds: set[str] = field(default_factory=set)
    now: set[str] = field(default_factory=set)  # read when the statement runs
    later: set[str] = field(default_factory=set)  # read when a function that it defines is called

    @classmethod
    def read(cls, node: ast.stmt, cell: int, at: int) -> "Statement":
        statement = cls(node, cell, at)
        code = compile(ast.Module([node], []), "<cell>", "exec", dont_inherit=True)
        for name, reads, inside in names(code):
            if not reads:
                statement.binds.add(name)
            elif inside and isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                statement.later.add(name)
            else:  # a lambda or a comprehension may be called at once, or later
                statement.now.add(name)
                statement.later |= {name} if inside else set()
        # x[0] = 1 and x.a = 1 change x: they belong to it
        for part in ast.walk(node) if isinstance(node, (ast.Assign, ast.AugAssign)) else ():
            if isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.ctx, ast.Store):
                while isinstance(part, (ast.Subscript, ast.Attribute)):
                    part = part.value
                statement.binds |= {part.id} if isinstance(part, ast.Name) else set()
        return statement

    @property
    def may_leave(self) -> bool:
        """Whether it may leave the names that it binds as they are: then, who binds them before matters, too."""
        return isinstance(self.node, (ast.If, ast.Try, ast.For, ast.While, ast.With, ast.Match))

    @cached_property
    def text(self) -> str:
        return ast.unparse(self.node)

    @property
    def is_stub(self) -> bool:
        """A function whose body is `...`, `pass` or a docstring."""
        return isinstance(self.node, ast.FunctionDef) and all(
            isinstance(line, ast.Pass) or isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
            for line in self.node.body
        )


def names(code: types.CodeType, inside: bool = False) -> Iterator[tuple[str, bool, bool]]:
    """The names that code looks up or binds in its module: (name, is it read?, in a function?)."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_NAME", "LOAD_GLOBAL", "DELETE_NAME"):
            yield step.argval, True, inside and step.opname == "LOAD_GLOBAL"
        elif step.opname in ("STORE_NAME", "STORE_GLOBAL") and not inside:
            yield step.argval, False, inside
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from names(inner, inside=True)


@dataclass
class Notebook:
    """The code of a notebook: its cells as Python, their statements in order, and the cells that are not Python."""

    title: str  # its first line of Markdown
    cells: dict[int, str]
    statements: list[Statement]
    broken: dict[int, str]  # what Python says of a cell
    written: dict[str, str]  # the files that cells with %%writefile write

    @classmethod
    def read(cls, path: Path) -> "Notebook":
        """Raises Unreadable."""
        notebook = cls("", {}, [], {}, {})
        for number, (kind, source) in enumerate(sources(path), 1):
            if kind == "markdown":
                notebook.title = notebook.title or source.strip().partition("\n")[0]
            elif kind == "code":
                notebook.add(number, source)
        return notebook

    def add(self, number: int, source: str) -> None:
        if file := WRITES.match(source):
            before = self.written.get(file[2], "") if file[1] else ""
            self.written[file[2]] = before + source[file.end() :].rstrip("\n") + "\n"
            return
        if source.startswith(TIMED):  # the same code, measured
            source = "#" + source
        self.cells[number] = source
        try:
            if len(source) > LARGEST_CELL:
                raise ValueError(f"it has more than {LARGEST_CELL:,} characters")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = self.parsed(number)
                self.statements += [Statement.read(node, number, at) for at, node in enumerate(tree.body)]
        except CANNOT_READ as error:
            line = f" in line {error.lineno}" if getattr(error, "lineno", None) else ""
            self.broken[number] = f"{getattr(error, 'msg', error) or type(error).__name__}{line}"

    def parsed(self, number: int) -> ast.Module:
        """A cell as Python; if it is none as it stands, with its %magics, !commands and questions? as IPython's."""
        try:
            return ast.parse(self.cells[number])
        except SyntaxError:
            self.cells[number] = TransformerManager().transform_cell(self.cells[number])
            return ast.parse(self.cells[number])

    def needed(self, wanted: set[str], end: int) -> list[Statement]:
        """The statements before number `end` that it takes to have these names as they are there."""
        chosen, seen, open_ = set(), set(), [(name, end) for name in wanted]
        while open_:
            name, before = open_.pop()
            if (name, before) in seen:
                continue
            seen.add((name, before))
            for at in range(before - 1, -1, -1):
                statement = self.statements[at]
                star = isinstance(statement.node, ast.ImportFrom) and statement.node.names[0].name == "*"
                if star or name in statement.binds:
                    if at not in chosen:
                        chosen.add(at)
                        open_ += [(other, at) for other in statement.now] + [(other, end) for other in statement.later]
                    if name in statement.binds and not statement.may_leave:
                        break
        return [self.statements[at] for at in sorted(chosen)]


def sources(path: Path) -> Iterator[tuple[str, str]]:
    """The cells of a notebook file, as (kind, source)."""
    if path.is_symlink() or not path.is_file():
        raise Unreadable("it is a link or a folder, not a file.")
    if path.stat().st_size > LARGEST_FILE:
        raise Unreadable(f"it has more than {LARGEST_FILE // 10**6} MB: clear its outputs.")
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is not a notebook: {error}.") from None
    sheet = content.get("worksheets") or [content] if isinstance(content, dict) else [None]  # format 3 had sheets
    cells = sheet[0].get("cells") if isinstance(sheet, list) and isinstance(sheet[0], dict) else None
    if not isinstance(cells, list):
        raise Unreadable("it is not a notebook: it has no list of cells.")
    for cell in cells:
        cell = cell if isinstance(cell, dict) else {}
        source = cell.get("source", cell.get("input", ""))
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        yield str(cell.get("cell_type")), text


# ---- exercises ---------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """What to run for an exercise: statements, then the expression whose value is checked. Or why there is none."""

    statements: list[Statement] = field(default_factory=list)
    expression: str = ""
    verdict: str = ""  # "not attempted", "missing", "error" where there is nothing to run
    words: str = ""


def calls(notebook: Notebook) -> dict[str, tuple[int, ast.expr]]:
    """The last call of each check, as {"lesson02.scores": (number of its statement, what is handed in)}."""
    found = {}
    for at, statement in enumerate(notebook.statements):
        for node in ast.walk(statement.node):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                lesson = getattr(node.func.value, "attr", getattr(node.func.value, "id", ""))
                found[f"{lesson}.{node.func.attr}"] = at, node.args[0]
    return found


def find(notebook: Notebook, exercise: str, parameters: tuple[str, ...], course: Notebook | None) -> Answer:
    """The answer to an exercise, "lesson02.scores": what its check was given; else the last function of its name.

    Functions above the exercises, which begin with the import of the checks, are the lesson's and no answers.
    """
    lesson, _, name = exercise.partition(".")
    called = calls(notebook)
    at, given = called.get(exercise, (len(notebook.statements), ast.Name(name)))
    if not isinstance(given, ast.Name):
        wanted = {part.id for part in ast.walk(given) if isinstance(part, ast.Name)}
        return Answer(notebook.needed(wanted, at), ast.unparse(given))
    statements = list(enumerate(notebook.statements))
    first = min([number for check, (number, _) in called.items() if check.startswith(lesson)], default=len(statements))
    begin = max([number for number, statement in statements[:first] if "checks" in statement.binds], default=-1)
    mine = [number for number, statement in statements[begin + 1 :] if given.id in statement.binds]
    here = [number for number in mine if number < at]
    if here and not notebook.statements[here[-1]].is_stub:
        return Answer(notebook.needed({given.id}, at), given.id)
    of_course = {statement.text for statement in course.statements} if course else set()
    answers = [n for n in mine if not notebook.statements[n].is_stub and notebook.statements[n].text not in of_course]
    if answers:  # written below the check, say: the empty function above it stays empty
        return Answer(notebook.needed({given.id}, answers[-1] + 1), given.id)
    if mine:
        return Answer(verdict="not attempted", words="The function is still empty.")
    for number, said in notebook.broken.items():
        if f"def {name}" in notebook.cells[number]:
            return Answer(verdict="error", words=f"Python cannot read its cell: {said} (cell {number}).")
    words = f"There is no {name} in the notebook."
    for _, statement in statements[begin + 1 :]:
        node = statement.node
        if isinstance(node, ast.FunctionDef) and tuple(x.arg for x in node.args.args) == parameters:
            words += f" Cell {statement.cell} defines {node.name}({', '.join(parameters)}): was it renamed?"
            break
    return Answer(verdict="missing", words=words)
