"""The capstone: a learner's own `my_transformer.py`, examined part by part, then trained, then asked to speak."""

import linecache
import os
import random
import sys
import types
import warnings
from pathlib import Path

import torch

from utils.checks.capstone import parts, training
from utils.checks.capstone.parts import PARTS, Mine, Missing, Part, Wrong
from utils.checks.engine import record, say
from utils.checks.engine.check import no_thread
from utils.checks.engine.result import MARKS, Result
from utils.checks.engine.running import Allowance, NoThread, Raised, call

IMPORT_SECONDS = 10.0
AGAIN = "mend this, save the file, and run this cell again."
MODULE = "_my_transformer"  # the name under which the learner's file is loaded, anew each time


def capstone(path: str | os.PathLike, seed: int | None = None, steps: int = training.STEPS) -> Result:
    """Examine the file part by part; then train, for at most so many steps (0: leave that out), and generate."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    if not isinstance(path, (str, os.PathLike)):
        return Result(False, say('capstone: name your file, as in checks.capstone("my_transformer.py").'))
    file, threads, dtype = Path(path), torch.get_num_threads(), torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(1)  # small tensors: a second thread only waits
            torch.manual_seed(seed)
            mine = load(file)
            mine.steps = steps
            return report(file, seed, mine)
        except Missing as missing:
            said = say("not attempted yet. {missing}", missing=missing)
            return Result(None, f"capstone: {said}{upcoming(PARTS[0].task)}")
        except Wrong as wrong:
            return Result(False, f"capstone: {wrong}{upcoming(AGAIN)}")
        except NoThread as error:
            return Result(None, f"capstone: {no_thread(error)}")
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)
            sys.modules.pop(MODULE, None)


def load(file: Path) -> Mine:
    """The file as a module of its own, read anew, under a time limit; nothing is written."""
    if not os.path.exists(file):
        raise Missing(
            "There is no file {file} beside this notebook. Make one (in JupyterLab: File, New, Python File), write the "
            "first part, save, and run this cell again.",
            file=file.name,
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    except OSError as error:
        raise Wrong("{file} cannot be read: {error}.", file=file.name, error=error.strerror) from None
    except SyntaxError as error:
        where = file.name + (say(", line {number}", number=error.lineno) if error.lineno else "")
        line = say("\nin the line: {line}", line=error.text.strip()[:120]) if error.text else ""
        raise Wrong("Python cannot read {where}: {error}.{line}", where=where, error=error.msg, line=line) from None
    except (ValueError, RecursionError, MemoryError):
        raise Wrong("{file} does not hold Python code that can be read.", file=file.name) from None

    linecache.checkcache(str(file))
    module = types.ModuleType(MODULE)
    module.__file__ = str(file)
    sys.modules[MODULE] = module  # dataclasses, for one, look it up there
    mine = Mine(module, code)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        done = call(mine.written(lambda: exec(code, vars(module))), (), Allowance(IMPORT_SECONDS))
    finally:
        sys.dont_write_bytecode = kept
    if done.timed_out:
        raise Wrong(
            "reading {file} had not ended after {seconds:.0f} seconds. It should only define functions and classes; "
            'what it tries out belongs under if __name__ == "__main__":',
            file=file.name,
            seconds=IMPORT_SECONDS,
        )
    if isinstance(done.outcome, Raised):
        error = done.outcome.with_line()
        raise Wrong("{file} cannot be imported: it stopped with {error}", file=file.name, error=error)
    return mine


def report(file: Path, seed: int, mine: Mine) -> Result:
    """Examine each part whose needs are met, and say how far it got, what is wrong first, and what comes next."""
    states, lines, problem, following = {}, [], "", ""
    for part in PARTS:
        unmet = next((name for name in part.needs if states[name] is not True), None)
        state, text = (None, say("waits for {part}", part=unmet)) if unmet else examined(part, mine, seed)
        if state is False:
            text, problem = (say("after that"), problem) if problem else (say("see below"), f"{part.name}: {text}")
        elif state is None and not unmet:
            following = following or part.task
        states[part.name] = state
        lines.append(f"  {MARKS[state][0]} {part.name}{text and ': ' + text}")
    done = sum(state is True for state in states.values())
    if done == len(PARTS):
        head = "capstone: " + say("passed, all {n} parts.", n=done)
        congratulation = say(
            "It learned to write numbers backwards, and writes ones that it has never seen. From an empty file: the "
            "Transformer is yours."
        )
        return Result(True, "\n".join([head, *lines, "", congratulation]))
    if not done and not problem:
        raise Missing("{file} is there, and none of the parts in it.", file=file.name)
    if problem:
        given = file.name if file.is_absolute() else file.as_posix()
        again = say("(The same once more: {call})", call=f'checks.capstone("{given}", seed={seed})')
        problem, following = f"\n\n{problem}\n{again}", AGAIN
    head = "\n".join(["capstone: " + say("{done} of {n} parts.", done=done, n=len(PARTS)), *lines])
    return Result(False if problem else None, head + problem + upcoming(following))


def upcoming(task: str) -> str:
    return "\n\n" + say("Next: {task}", task=say(task))


def examined(part: Part, mine: Mine, seed: int) -> tuple[bool | None, str]:
    """True, False or None for a part, and what to say about it; a try is noted."""
    mine.allowance = Allowance(parts.SECONDS)
    torch.manual_seed(seed)
    try:
        part.examine(mine, seed)
    except Missing as missing:
        return None, str(missing) or say("not written yet")
    except Wrong as wrong:
        record.note("capstone", part.name, False)
        return False, str(wrong)
    except NoThread:
        raise
    except Exception as error:  # whatever a learner hands in, the check answers
        found = f"{type(error).__name__}: {error}"
        return False, say("it does something that this check did not think of ({error}).", error=found)
    record.note("capstone", part.name, True)
    return True, ""
