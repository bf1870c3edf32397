"""Submissions made for the grader: notebooks with right, wrong, hostile and broken answers, each with its verdict."""

import copy
import json
import random
import types
from pathlib import Path

from utils import checks
from utils.checks.engine.patches import Mistake
from utils.config import ROOT

SOLVED = ROOT / "tests" / "capstone" / "my_transformer.py"
IMPORTS = "import math\nimport torch\nimport torch.nn.functional as F\n\n\n"
FOREVER = "wrong: it had not finished"
REFUSED = "wrong: it stopped with PermissionError"

# What an answer's function may do, and the verdict, where it has one: "verdict: beginning of the mistake".
HOSTILE = {
    "while True: pass": FOREVER,
    "while True:\n        try: len('')\n        except BaseException: pass": FOREVER,
    "raise SystemExit(0)": "wrong: it stopped with SystemExit",
    "__import__('os')._exit(0)": "error: its process ended",
    "__import__('os').kill(__import__('os').getppid(), 9)": REFUSED,
    "while True: print('x' * 10**6)": FOREVER,
    "while True: __import__('threading').Thread(target=__import__('time').sleep, args=(99,)).start()": "",
    "__import__('shutil').rmtree({precious!r})": REFUSED,
    "__import__('os').remove({precious!r} + '/notes.txt')": REFUSED,
    "open({precious!r} + '/notes.txt', 'w')": REFUSED,
    "[p.unlink() for p in __import__('pathlib').Path('..').rglob('*')]": "wrong: ",
    "__import__('os').system('rm -rf ' + {precious!r})": REFUSED,
    "while True: __import__('sys').stdin.read()": FOREVER,
    "input('your name: ')": "wrong: it stopped with EOFError",
    "kept = []\n    while True: kept.append(torch.ones(10**7))": "",
    "__import__('ctypes').string_at(0)": "error: its process ended",
    "__import__('re').match('(a+)+$', 'a' * 99 + 'b')": "error: it does not end",  # no other thread gets a turn
    "return {name}({arguments})": "wrong: it stopped with RecursionError",
    "raise type('Odd', (BaseException,), {{}})('odd')": "wrong: it stopped with Odd",
    "return '=cmd()' * 10**6": "wrong: ",
    "__import__('torch').softmax = None": "wrong: ",
}


def lesson(number: str) -> dict:
    """The course's notebook of a lesson, as JSON."""
    path = next((ROOT / "notebooks").glob(f"{number}_*.ipynb"))
    return json.loads(path.read_text(encoding="utf-8"))


def exercises(number: str) -> dict[str, checks.engine.Check]:
    """Those that stand in the notebook of this number: "08", "08b"."""
    mine = {check.name: check for check in checks.EXERCISES.values() if check.lesson == f"lesson{number[:2]}"}
    text = json.dumps(lesson(number))
    return {name: check for name, check in mine.items() if f"checks.lesson{number[:2]}.{name}(" in text}


def filled(number: str, answers: dict[str, str], notebook: dict | None = None) -> dict:
    """The lesson with answers in place of the empty functions; "" takes the cell out."""
    notebook, left = copy.deepcopy(notebook or lesson(number)), dict(answers)
    for cell in list(notebook["cells"]):
        source = "".join(cell["source"])
        name = source.partition("(")[0].removeprefix("def ")
        if cell["cell_type"] == "code" and name in left and source.rstrip().endswith("..."):
            cell["source"] = left.pop(name)
            if not cell["source"]:
                notebook["cells"].remove(cell)
    assert not left, f"no empty function of the name {left}"
    return notebook


def solutions(number: str) -> dict[str, str]:
    """The course's own answers, one cell each, and the cell with their imports before the first."""
    path = next((ROOT / "notebooks" / "solutions").glob(f"{number}_*.ipynb"))
    sources = ["".join(c["source"]) for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
    found = {}
    for name in exercises(number):
        found[name] = next(source for source in sources if f"def {name}(" in source)
    first = next(iter(found))
    return found | {first: f"{sources[0]}\n\n{found[first]}"}


def source_of(check, mistake: Mistake) -> str | None:
    """A patched answer as a learner would hand it in; None where it needs more than torch and math."""
    if mistake.answer is None:
        return None
    body, world = mistake.answer.body, mistake.answer.function.__globals__
    for start, end, new in sorted(mistake.edits, reverse=True):
        body = body[:start] + new + body[end:]
    source = f"{IMPORTS}def {check.name}({', '.join(check.parameters)}):\n{body}\n"
    made = {"math": 0, "torch": 0, "F": 0, check.name: 0}
    used = names_in(mistake.code.__code__)
    if "oracle" in used or any(name in world and name not in made for name in used):
        return None
    return source


def names_in(code: types.CodeType) -> set[str]:
    inner = (names_in(const) for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*inner)


def hostile(check, body: str, precious: Path) -> str:
    given = {"name": check.name, "arguments": ", ".join(check.parameters), "precious": str(precious)}
    return f"import torch\ndef {check.name}({given['arguments']}):\n    {body.format(**given)}"


LESSONS = sorted(path.name.partition("_")[0] for path in (ROOT / "notebooks").glob("*.ipynb"))


def a_class(folder: Path, precious: Path, lessons: list[str]) -> dict[tuple[str, str], str]:
    """Write five submissions for each lesson. Returns {(learner, exercise): planted verdict}.

    A verdict is "passed", "wrong: name of the mistake" (or its beginning), and so on; "" is any but "passed".
    """
    rng, planted = random.Random(0), {}
    bodies = list(HOSTILE.items())
    for number in lessons:
        mine, right = exercises(number), solutions(number)

        def hand_in(learner: str, notebook: dict, verdicts: dict[str, str], file: str = "") -> None:
            path = folder / (file or f"{learner}.ipynb")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(notebook), encoding="utf-8")
            planted.update({(learner, f"lesson{number[:2]}.{name}"): verdict for name, verdict in verdicts.items()})  # noqa: B023

        hand_in(f"right {number} (1)", filled(number, right), dict.fromkeys(mine, "passed"))
        for which in (1, 2):  # the usual mistakes
            wrong, verdicts = dict(right), {}
            for name, check in mine.items():
                known = [(m.name, source) for m in check.mistakes if (source := source_of(check, m))]
                if known:
                    mistake, wrong[name] = rng.choice(known)
                    verdicts[name] = f"wrong: {mistake}"
            learner = f"王小明 {number} {which}"
            hand_in(learner, filled(number, wrong), verdicts, f"{learner}/Übung {number}.ipynb")
        worst, verdicts = {}, {}
        for name, check in mine.items():
            body, verdicts[name] = bodies.pop(0)
            bodies.append((body, verdicts[name]))
            worst[name] = hostile(check, body, precious)
        hand_in(f"hostile {number}", filled(number, worst), verdicts)
        # One left open, one taken out, one renamed, one that Python cannot read: as far as there are exercises.
        names = list(mine)
        odd, verdicts = {names[0]: f"def {names[0]}(:\n    return 1"}, {names[0]: "error: Python cannot read its cell"}
        verdicts[names[1]] = "not attempted"
        if len(names) > 2:
            odd[names[2]], verdicts[names[2]] = "", "missing"
        if len(names) > 3:
            odd[names[3]] = right[names[3]].replace(f"def {names[3]}(", "def my_own(")
            verdicts[names[3]] = "missing"
        hand_in(f"odd {number}", filled(number, odd), verdicts)
    return planted
