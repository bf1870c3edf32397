"""Looking at the function that was handed in, without calling it."""

import dis
import inspect
import math
import types
from collections.abc import Callable

from torch import Tensor

from utils.checks.engine.cases import show
from utils.checks.engine.messages import say

NOTHING = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}  # the steps of a body that does nothing


def is_stub(answer: Callable) -> bool:
    """A function that does nothing: its body is `...`, `pass` or a docstring."""
    code = getattr(inspect.unwrap(answer), "__code__", None)
    if code is None or set(code.co_consts) - {None, answer.__doc__}:
        return False
    return all(step.opname in NOTHING for step in dis.get_instructions(code))


def signature_problem(function: Callable, name: str, wanted: str, *arguments, **named) -> str:
    """What is wrong where it cannot be called like this, as a sentence, or ""."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""  # no signature to look at: the call will tell
    try:
        signature.bind(*arguments, **named)
    except TypeError:
        return say(
            "{name} should take ({wanted}), in this order; yours takes {got}.", name=name, wanted=wanted, got=signature
        )
    return ""


def read_from_outside(answer: Callable) -> str:
    """A sentence about numbers and tensors that the function reads from outside it; CONSTANTS may stand there."""
    function = inspect.unwrap(answer)
    outside, read = getattr(function, "__globals__", {}), []
    for name in _globals_of(getattr(function, "__code__", None)):
        x = outside.get(name)
        if isinstance(x, Tensor):
            read.append(say("{name} (a tensor of shape {shape})", name=name, shape=tuple(x.shape)))
        elif isinstance(x, (int, float)) and not isinstance(x, bool):
            if not math.isinf(x) and (len(name) == 1 or not name.isupper()):  # not `from math import inf`, not SIZE
                read.append(say("{name} (here {value})", name=name, value=show(x)))
    if not read:
        return ""
    return "\n" + say(
        "Your function reads {names}, which it does not get, from elsewhere in {place}. Take what it needs from its "
        "inputs.",
        names=say(" and ").join(read),
        place=say("this notebook") if outside.get("__name__") == "__main__" else say("this file"),
    )


def _globals_of(code: types.CodeType | None) -> list[str]:
    """The names that code, and code inside it, looks up in its module."""
    if code is None:
        return []
    names = [step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"]
    for inner in code.co_consts:
        names += _globals_of(inner) if isinstance(inner, types.CodeType) else []
    return list(dict.fromkeys(names))
