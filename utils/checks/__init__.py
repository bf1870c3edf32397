"""Checks for the exercises: `checks.lesson02.attend(attend)` says whether it is right, and if not, what is wrong.

A check never raises. Its result says one of three things: not attempted; passed; or what is wrong, and, where it
recognizes it, which mistake it is. `checks.progress()` shows all exercises, `checks.reset()` forgets the tries,
`checks.show(checks.lesson02.attend)` prints how the course writes it.
"""

import inspect
import textwrap

from utils.checks.capstone import PARTS, capstone
from utils.checks.engine import Check, record, say
from utils.checks.engine.record import reset
from utils.checks.engine.result import MARKS, Result
from utils.checks.lessons import (
    lesson01,
    lesson02,
    lesson03,
    lesson04,
    lesson05,
    lesson06,
    lesson07,
    lesson08,
    lesson09,
    lesson10,
)

__all__ = ["EXERCISES", "capstone", "progress", "reset", "show"]

LESSONS = (lesson01, lesson02, lesson03, lesson04, lesson05, lesson06, lesson07, lesson08, lesson09, lesson10)
EXERCISES = {
    f"{check.lesson}.{check.name}": check
    for lesson in LESSONS
    for check in vars(lesson).values()
    if isinstance(check, Check) and check.lesson == lesson.__name__.rpartition(".")[2]
}


def show(check: Check) -> None:
    """Print the course's own answers: the specification, often as a loop, then as learners often write it."""
    for function in dict.fromkeys([check.oracle, *(answer.function for answer in check.answers)]):
        source = textwrap.dedent(inspect.getsource(function))
        print(source[source.index("def ") :])


def progress() -> Result:
    """A line for each lesson, and one for the capstone: ✓ passed, ✗ tried, ○ still open."""
    kept, lines = record.read(), []
    state = {name: kept.get(name, {}).get("passed") for name in EXERCISES}
    for lesson in dict.fromkeys(check.lesson for check in EXERCISES.values()):
        checks = {name: check for name, check in EXERCISES.items() if check.lesson == lesson}
        marks = [f"{MARKS[state[name]][0]} {check.name} {'*' * check.stars}" for name, check in checks.items()]
        lines.append(f"{lesson.removeprefix('lesson')}  " + "   ".join(marks))
    parts = {part.name: kept.get(f"capstone.{part.name}", {}).get("passed") for part in PARTS}
    lines.append("capstone  " + "   ".join(f"{MARKS[value][0]} {name}" for name, value in parts.items()))
    passed = sum(value is True for value in state.values())
    everything = passed == len(state) and all(parts.values())
    head = say("{passed} of {n} exercises passed", passed=passed, n=len(state))
    return Result(everything or None, "\n".join([head, *lines]))
