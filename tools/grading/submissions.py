"""What was handed in, and the jobs that it takes to grade it."""

import ast
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tools.grading.cells import LARGEST_CELL, Notebook, Unreadable, calls, find
from tools.grading.worker import first_sentence
from utils.checks import EXERCISES
from utils.checks.capstone import PARTS
from utils.config import ROOT

CAPSTONE = "my_transformer"
ORDER = [*EXERCISES, *(f"capstone.{part.name}" for part in PARTS)]
SKIPPED = re.compile(r"^(\.|__MACOSX$|__pycache__$)")


@dataclass
class Row:
    """A line of the report: what came of one exercise."""

    learner: str
    file: str
    exercise: str  # "lesson02.scores", "capstone.attention"; "" for a whole file
    verdict: str  # passed, wrong, not attempted, missing, error; unreadable for a whole file
    mistakes: list[str] = field(default_factory=list)
    words: str = ""

    @property
    def lesson(self) -> str:
        return self.exercise.partition(".")[0].removeprefix("lesson")

    @property
    def name(self) -> str:
        return self.exercise.partition(".")[2]

    @property
    def stars(self) -> int:
        return EXERCISES[self.exercise].stars if self.exercise in EXERCISES else 0


def place(exercise: str) -> int:
    """Where it stands in the course; what concerns a whole file comes first."""
    return ORDER.index(exercise) if exercise in ORDER else -1


@dataclass(frozen=True)
class Submission:
    """A file that was handed in: whose it is, and where."""

    learner: str
    path: Path
    name: str  # its path below the folder of submissions

    def row(self, exercise: str, verdict: str, mistakes: list[str] = (), words: str = "") -> Row:
        return Row(self.learner, self.name, exercise, verdict, list(mistakes), words)


def submissions(folder: Path) -> tuple[list[Submission], list[str]]:
    """The files to grade, and the names of those that are none.

    The learner is the first folder below; of a file that lies in none, its name without the ending.
    """
    found, others = [], []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(SKIPPED.match(part) for part in parts) or path.is_dir() and path.suffix != ".ipynb":
            continue
        learner = parts[0] if len(parts) > 1 else path.stem
        submission = Submission(learner, path, "/".join(parts))
        if path.suffix == ".ipynb" or path.suffix == ".py" and is_capstone(path):
            found.append(submission)
        elif not (path.suffix == ".py" and len(parts) > 1):  # a module beside a notebook comes along with it
            others.append(submission.name)
    return found, others


def is_capstone(path: Path) -> bool:
    """Whether a Python file is named my_transformer, or defines a part of one."""
    if CAPSTONE in path.name:
        return True
    try:
        text = path.read_bytes()[:LARGEST_CELL].decode(errors="replace")
    except OSError:
        return False
    return bool(re.search(rf"^(def|class) ({'|'.join(part.name for part in PARTS)})\b", text, re.MULTILINE))


def jobs(submission: Submission, options: dict) -> tuple[list[dict], list[Row]]:
    """What to run for a file, and the rows that need nothing run. `options`: seed, seconds, the capstone's."""
    if submission.path.suffix == ".py":
        return [capstone_job(submission, options, file=str(submission.path.resolve()))], []
    try:
        notebook = Notebook.read(submission.path)
        exercises = exercises_of(notebook)
        answers = {name: find(notebook, name, EXERCISES[name].parameters, course(name)) for name in exercises}
    except Unreadable as error:
        return [], [submission.row("", "unreadable", [first_sentence(str(error))], f"Not graded: {error}")]
    except Exception as error:  # whatever is in a file, it is one line in the report
        words = f"Not graded: the grader cannot make sense of it ({type(error).__name__}: {error})."
        return [], [submission.row("", "unreadable", ["it makes no sense to the grader"], words)]
    todo = [capstone_job(submission, options, text=t) for name, t in notebook.written.items() if CAPSTONE in name]
    if not exercises and not todo:
        words = "There is no exercise of the course in it."
        return [], [submission.row("", "unreadable", [first_sentence(words)], words)]
    rows = []
    for name, answer in answers.items():
        if answer.verdict:
            mistakes = [first_sentence(answer.words)] if answer.verdict == "error" else []
            rows.append(submission.row(name, answer.verdict, mistakes, answer.words))
        else:
            numbers = {statement.cell for statement in answer.statements}
            job = {
                "exercise": name,
                "statements": [(statement.cell, statement.at) for statement in answer.statements],
                "cells": {number: notebook.cells[number] for number in numbers},
                "expression": answer.expression,
            }
            todo.append(job | common(submission, options))
    return todo, rows


def capstone_job(submission: Submission, options: dict, **what) -> dict:
    """`what`: the file's path, or its text, which a notebook writes."""
    job = {"exercise": "capstone.file", "options": options["capstone"]} | what
    return job | common(submission, options) | {"seconds": options["capstone_seconds"]}


def common(submission: Submission, options: dict) -> dict:
    own_folder = "/" in submission.name  # Python files beside it are the learner's own
    beside = [path for path in submission.path.parent.glob("*.py") if path.is_file()] if own_folder else []
    return {"submission": submission, "beside": beside, "seed": options["seed"], "seconds": options["seconds"]}


def exercises_of(notebook: Notebook) -> list[str]:
    """The exercises of the notebook's lesson, and others whose checks it calls.

    The lesson is the one in its title; else the one that most of its checks, else most of its functions, belong to.
    """
    called = [name for name in calls(notebook) if name in EXERCISES]
    named = re.match(r"# ((\d\d)[a-z]?)\b", notebook.title)
    lesson = f"lesson{named[2]}" if named else ""
    if not any(check.lesson == lesson for check in EXERCISES.values()):
        defined = {s.node.name for s in notebook.statements if isinstance(s.node, ast.FunctionDef)}
        mine = called or [name for name, check in EXERCISES.items() if check.name in defined]
        lesson = Counter(name.partition(".")[0] for name in mine).most_common(1)[0][0] if mine else ""
    own = [name for name, check in EXERCISES.items() if check.lesson == lesson]
    if named and len(pages(lesson)) > 1 and (page := pages(lesson).get(named[1])):  # 08 or 08b: those of this page
        own = [name for name in own if name in calls(page)]
    return own + [name for name in called if name not in own]


@cache
def pages(lesson: str) -> dict[str, Notebook]:
    """The course's own notebooks of a lesson, by number: lesson 08 has two, "08" and "08b"."""
    paths = sorted((ROOT / "notebooks").glob(f"{lesson.removeprefix('lesson') or '-'}*_*.ipynb"))
    return {path.name.partition("_")[0]: Notebook.read(path) for path in paths}


def course(exercise: str) -> Notebook | None:
    """The course's own notebook in which an exercise stands."""
    return next((page for page in pages(exercise.partition(".")[0]).values() if exercise in calls(page)), None)
