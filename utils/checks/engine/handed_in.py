"""Looking at the function that was handed in, without calling it."""

import dis
import inspect
import types
from collections.abc import Callable

from torch import Tensor

from utils.checks.engine.cases import show
from utils.checks.engine.messages import say


def is_stub(answer: Callable) -> bool:
    """A function that does nothing: its body is `...`, `pass` or a docstring."""
    code = getattr(inspect.unwrap(answer), "__code__", None)
    if code is None or set(code.co_consts) - {None, answer.__doc__}:
        return False
    return code.co_code in {stub.__code__.co_code for stub in _STUBS}


def _dots(): ...


def _documented():
    """Only words."""


def _empty_with_words():
    """Words, then nothing."""
    ...


_STUBS = (_dots, _documented, _empty_with_words)


def read_from_outside(answer: Callable) -> str:
    """A sentence about numbers and tensors that the function reads from outside it; CONSTANTS may stand there."""
    function = inspect.unwrap(answer)
    outside, read = getattr(function, "__globals__", {}), []
    for name in _globals_of(getattr(function, "__code__", None)):
        x = outside.get(name)
        if isinstance(x, Tensor):
            read.append(say("{name} (a tensor of shape {shape})", name=name, shape=tuple(x.shape)))
        elif isinstance(x, (int, float)) and not isinstance(x, bool) and not (len(name) > 1 and name.isupper()):
            read.append(say("{name} (here {value})", name=name, value=show(x)))
    if not read:
        return ""
    names = read[0]
    for name in read[1:]:
        names = say("{names} and {name}", names=names, name=name)
    if outside.get("__name__") == "__main__":
        said = say(
            "Your function reads {names}, which it does not get, from elsewhere in this notebook. "
            "Take what it needs from its inputs.",
            names=names,
        )
    else:
        said = say(
            "Your function reads {names}, which it does not get, from elsewhere in this file. "
            "Take what it needs from its inputs.",
            names=names,
        )
    return f"\n{said}"


def _globals_of(code: types.CodeType | None) -> list[str]:
    """The names that code, and code inside it, looks up in its module."""
    if code is None:
        return []
    names = [step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"]
    for inner in code.co_consts:
        names += _globals_of(inner) if isinstance(inner, types.CodeType) else []
    return list(dict.fromkeys(names))


def name_of(answer) -> str:
    return getattr(answer, "__name__", "answer")
