"""Where a learner's code runs: a process for one exercise, with a folder of its own and limits.

What it computes, prints or breaks stays here; one JSON text goes back through the pipe. Changes outside the folder,
other processes and the network are refused. That catches accidents, and no one who tries to get around it.
"""

import ast
import json
import linecache
import os
import random
import re
import sys
import traceback
import types
import warnings
from pathlib import Path

import numpy as np
import torch

from utils import checks
from utils.checks.capstone import capstone, oracles
from utils.checks.engine import Check
from utils.checks.engine.patches import Mistake
from utils.checks.engine.result import MARKS
from utils.checks.engine.running import Allowance, Raised, call

SECONDS = 10.0  # of computing, for the statements that an answer needs
LONGEST = 5000  # characters of a check's words
LARGEST_FILE = 100_000_000  # bytes that one file may have
CHANGES = {"os.remove", "os.rmdir", "os.mkdir", "os.rename", "os.link", "os.symlink", "os.truncate", "os.chmod"}
CHANGES |= {"os.chown", "os.utime", "shutil.rmtree", "shutil.move", "shutil.chown", "shutil.copymode"}
REFUSED = ("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.kill")
REFUSED += ("os.killpg", "subprocess.Popen", "pty.spawn", "socket.connect", "socket.bind", "socket.getaddrinfo")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def work(job: dict, folder: str, memory: int, pipe) -> None:
    """Do one job and send what came of it: a list of [exercise, verdict, mistakes, words]."""
    try:
        confine(Path(folder), memory)
        prepare(job["seed"])
        rows = examine_capstone(job) if "options" in job else [examine(job)]
    except BaseException as error:  # SystemExit, too: whatever it was, it is a line in the report
        rows = [[job["exercise"], "error", [], f"The grader could not judge it: {type(error).__name__}: {error}"]]
    pipe.send_bytes(json.dumps([[*row[:3], row[3][:LONGEST]] for row in rows]).encode("utf-8", "replace"))
    os._exit(0)  # without waiting for threads that the answer left behind


# ---- the process -------------------------------------------------------------------------------------------


def confine(folder: Path, memory: int) -> None:
    """No input, no output, a folder, limits of memory and of what a file may hold."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        status = Path("/proc/self/status").read_text()  # Linux: elsewhere, the pool looks at the memory
        limit = int(status.partition("VmData:")[2].split()[0]) * 1024 + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    except (ImportError, OSError):
        pass
    os.chdir(folder)
    sys.path.append(str(folder))  # last, so that a learner's torch.py is not what `import torch` finds
    home = os.path.realpath(folder)
    os.environ |= {"HOME": home, "USERPROFILE": home, "TMPDIR": home, "TEMP": home, "TMP": home, "MPLBACKEND": "Agg"}
    os.environ["TRANSFORMER_COURSE_PROGRESS"] = os.path.join(home, ".progress.json")
    sys.dont_write_bytecode = True
    sys.addaudithook(lambda event, arguments: watch(event, arguments, home))


def watch(event: str, arguments: tuple, home: str) -> None:
    """Python tells what is about to happen. Raises PermissionError where the grader does not want it."""
    paths = ()
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
        paths = arguments[:1]
    elif event in CHANGES:
        paths = arguments[: 2 if event in ("os.rename", "os.link", "os.symlink", "shutil.move") else 1]
    elif event in REFUSED:
        raise PermissionError(f"the grader allows no other processes and no network ({event})")
    for path in paths:
        if isinstance(path, (str, bytes)) and not inside(os.fsdecode(path), home):
            raise PermissionError(f"the grader lets nothing be changed outside the answer's own folder ({event})")


def inside(path: str, home: str) -> bool:
    real = os.path.realpath(path)
    return real == os.devnull or real.startswith(home + os.sep) or real == home


def prepare(seed: int) -> None:
    torch.set_num_threads(1)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    warnings.simplefilter("ignore")


# ---- the job -----------------------------------------------------------------------------------------------


def examine(job: dict) -> list:
    """Run the statements, and hand the value of the expression to the check."""
    check = checks.EXERCISES[job["exercise"]]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    for number, source in job["cells"].items():
        lines = source.splitlines(keepends=True)
        linecache.cache[file_of(number)] = (len(source), None, lines, file_of(number))

    lines_of_errors = []

    def run():
        try:
            for number, at in job["statements"]:
                statement = ast.Module([ast.parse(job["cells"][number]).body[at]], [])
                exec(compile(statement, file_of(number), "exec", dont_inherit=True), vars(module))
            return eval(job["expression"], vars(module))
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            lines_of_errors.extend(frame.line for frame in frames if frame.filename.startswith("<cell "))
            raise

    done = call(run, (), Allowance(SECONDS))
    if done.timed_out:
        words = f"The code that it needs had not ended after {SECONDS:.0f} seconds."
        return [job["exercise"], "error", ["the code that it needs does not end"], words]
    if isinstance(done.outcome, Raised):
        words = f"The code that it needs stopped with {done.outcome}"
        words += "".join(f"\nin the line: {line}" for line in lines_of_errors[-1:])
        return [job["exercise"], "error", [f"the code that it needs stops: {done.outcome.kind.__name__}"], words]
    result = check(done.outcome, seed=job["seed"])
    verdict = {True: "passed", False: "wrong", None: "not attempted"}[result.passed]
    words = result.text.removeprefix(f"{check.name}: ")
    wrong = recognized(check.mistakes, words) if result.passed is False else []
    if result.passed is None and "not tried" in result.text:
        words = "It takes all the threads that one exercise may have."
        return [job["exercise"], "error", ["too many threads"], words]
    return [job["exercise"], verdict, wrong, result.text]


def file_of(number: int) -> str:
    return f"<cell {number}>"


def recognized(known: list[Mistake], text: str) -> list[str]:
    """The names of the mistakes that the check told; else its first sentence."""
    told = text.partition("Which mistake? This looks like")[2]
    for one in known if told else ():
        if told.startswith(f": {one.name}. {one.advice}"):
            return [one.name]
        for other in known:
            if told.startswith(f" two slips: {one.name}; {other.name}."):
                return [one.name, other.name]
    return [first_sentence(text)]


def first_sentence(text: str) -> str:
    """Up to the first full stop or colon, without seconds: what many learners' sentences have in common."""
    short = re.split(r"[.:](?:\s|$)", text.strip(), maxsplit=1)[0]
    return re.sub(r" after \d+ seconds", "", short)[:150]


def examine_capstone(job: dict) -> list[list]:
    """A row for each part; one row where the file cannot be read or holds none."""
    path = Path(job.get("file", "my_transformer.py"))
    if "text" in job:
        path.write_text(job["text"], encoding="utf-8")
    result = capstone(path, seed=job["seed"], **job["options"])
    states = {mark: {True: "passed", False: "wrong", None: "missing"}[state] for state, (mark, _) in MARKS.items()}
    known = [mistake for part in vars(oracles).values() if isinstance(part, Check) for mistake in part.mistakes]
    rows = []
    for mark, part, said in re.findall(rf"^  ([{''.join(states)}]) (\w+)(?:: (.*))?$", result.text, re.MULTILINE):
        verdict = "not attempted" if said.startswith("waits for ") else states[mark]
        words = result.text.partition(f"\n\n{part}: ")[2] if said == "see below" else said or verdict
        wrong = recognized(known, words) if verdict == "wrong" else []
        rows.append([f"capstone.{part}", verdict, wrong, words])
    if rows:
        return rows
    verdict = "missing" if result.passed is None else "error"
    return [["capstone.file", verdict, [first_sentence(result.text.removeprefix("capstone: "))], result.text]]
