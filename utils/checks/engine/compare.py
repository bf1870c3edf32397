"""How an outcome differs from the right one, as a sentence."""

import math
import numbers

import torch
from torch import Tensor

from utils.checks.engine.cases import each_tensor, show
from utils.checks.engine.messages import say
from utils.checks.engine.running import Raised


def difference(wanted, got) -> str:
    """How a value differs from the expected one, as a sentence: type, shape, dtype, device, then numbers; or ""."""
    for find in (type_problem, _shape_problem, _kind_problem, _value_problem):
        if problem := find(wanted, got):
            return problem
    return ""


LISTS = (list, tuple)
# what is wanted -> what it is called, one and many, and which types will do
TYPES = {
    Tensor: ("a tensor", "tensors", Tensor),
    bool: ("a bool", "bools", bool),
    int: ("an int", "ints", numbers.Integral),
    float: ("a float", "floats", numbers.Real),
    list: ("a list", "lists", LISTS),
    tuple: ("a tuple", "tuples", LISTS),
}


def _kind(wanted) -> type:
    return next(kind for kind in TYPES if isinstance(wanted, kind))


def _described(wanted) -> str:
    """ "a tensor", "a list of ints", "a tuple of two tensors"."""
    kinds = {_kind(item) for item in wanted} if isinstance(wanted, LISTS) else set()
    name = TYPES[_kind(wanted)][0]
    if len(kinds) != 1:
        return say(name)
    several = say(TYPES[kinds.pop()][1])
    if isinstance(wanted, tuple) and len(wanted) in (2, 3):
        return say("a tuple of {n} {things}", n=say("two") if len(wanted) == 2 else say("three"), things=several)
    return say("{a_list} of {things}", a_list=say(name), things=several)


def _fits(wanted, got) -> bool:
    kind = _kind(wanted)
    return isinstance(got, TYPES[kind][2]) and (kind is bool or not isinstance(got, bool))


def type_problem(wanted, got) -> str:
    asked = _described(wanted)
    if got is None:
        return say("it returns None where {wanted} is wanted: is a `return` missing?", wanted=asked)
    plain, tensor_hint = not tensors_in(wanted), say(": x.item() or x.tolist() makes plain numbers of a tensor")
    if not _fits(wanted, got):
        found = f"{type(got).__module__}.{type(got).__name__}".removeprefix("builtins.")
        hint = tensor_hint if plain and isinstance(got, Tensor) else ""
        return say("wrong type: {wanted} is wanted, and yours is a {got}{hint}.", wanted=asked, got=found, hint=hint)
    if isinstance(wanted, list) or isinstance(wanted, tuple) and len(wanted) == len(got):
        items = [*wanted, *wanted[-1:] * len(got)]  # a list that is too long holds more of the same
        for one, other in zip(items, got, strict=False):
            if not _fits(one, other):
                held = {type(None): "None", Tensor: say("tensors")}.get(type(other))
                held = held or say("a {kind}", kind=type(other).__name__)
                hint = tensor_hint if plain and isinstance(other, Tensor) else ""
                return say(
                    "wrong type: {wanted} is wanted, and yours holds {got}{hint}.", wanted=asked, got=held, hint=hint
                )
            if problem := type_problem(one, other):
                return problem
    return ""


def _shape_problem(wanted, got) -> str:
    if isinstance(wanted, Tensor) and wanted.shape != got.shape:
        return say(
            "wrong shape: {wanted} is wanted, and yours is {got}.", wanted=tuple(wanted.shape), got=tuple(got.shape)
        )
    if isinstance(wanted, tuple) and len(wanted) != len(got):
        return say("it should return {wanted} things, and yours returns {got}.", wanted=len(wanted), got=len(got))
    if isinstance(wanted, tuple):
        for n, pair in enumerate(zip(wanted, got, strict=True), start=1):
            if problem := _shape_problem(*pair):
                return say("result {n} of {all}: {problem}", n=n, all=len(wanted), problem=problem)
    return ""


def _kind_problem(wanted, got) -> str:
    for one, other in zip(tensors_in(wanted), tensors_in(got), strict=False):  # fewer of them is a wrong value
        if one.dtype != other.dtype:
            return say("wrong dtype: {wanted} is wanted, and yours is {got}.", wanted=one.dtype, got=other.dtype)
        here, there = one.device.type, other.device.type
        if here != there:
            return say("wrong device: the inputs are on {wanted}, and yours is on {got}.", wanted=here, got=there)
    return ""


def _value_problem(wanted, got) -> str:
    if same(wanted, got):
        return ""
    nan = any(x.isnan().any() for x in tensors_in(got) if x.is_floating_point())
    digits = next((n for n in range(4, 18) if show(wanted, n) != show(got, n)), 4)  # so many that they look different
    said = say("NaN among the values.") if nan else say("wrong values.")
    wanted, got = show(wanted, digits), show(got, digits)
    return f"{said}\n" + say("  expected {wanted}\n  got      {got}", wanted=wanted, got=got)


def changed(name: str, x) -> str:
    """For an input that is another one after the call."""
    if isinstance(x, list):
        return say(
            "it changes its input {name}. Work on a new list: sorted({name}) and list({name}) make one, {name}.sort() "
            "and {name}[0] = ... do not.",
            name=name,
        )
    return say(
        "it changes its input {name}. Work on a new tensor: {name} = {name} + 1 makes one, {name} += 1 and "
        "{name}[0] = ... do not.",
        name=name,
    )


def error_problem(got, wanted: Raised) -> str:
    """Where a ValueError is wanted: what is wrong with the outcome, or ""."""
    if not isinstance(got, Raised):
        return say(
            "this case cannot be computed, and a ValueError should say so ({why}). Yours returns a value.",
            why=wanted.message,
        )
    if not issubclass(got.kind, ValueError):
        return say(
            "this case cannot be computed, and a ValueError should say so ({why}). Yours stops with {error}",
            why=wanted.message,
            error=got,
        )
    if not got.message:
        return say("the ValueError should carry a sentence that says what is wrong: ValueError('...').")
    return ""


def same(one, other) -> bool:
    """Whether two outcomes are equal up to rounding; two errors are."""
    if isinstance(one, Raised) or isinstance(other, Raised):
        return isinstance(one, Raised) and isinstance(other, Raised)
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape and close(one, other)
    if isinstance(one, LISTS) or isinstance(other, LISTS):
        both = isinstance(one, LISTS) and isinstance(other, LISTS) and len(one) == len(other)
        return both and all(map(same, one, other))
    if isinstance(one, numbers.Real) and isinstance(other, numbers.Real):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
    return one is other or type(one) is type(other) and bool(one == other)


def close(one: Tensor, other: Tensor) -> bool:
    if one.dtype == torch.bool or other.dtype == torch.bool:
        return one.dtype == other.dtype and torch.equal(one, other)
    return torch.allclose(one.detach().double(), other.detach().double(), rtol=1e-4, atol=1e-5, equal_nan=True)


def tensors_in(value) -> list[Tensor]:
    found = []
    each_tensor(value, lambda x: found.append(x) or x)
    return found
