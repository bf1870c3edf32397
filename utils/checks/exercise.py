"""An exercise and its check: the specification as a loop, cases to try it on, and the usual mistakes as code.

A lesson's module describes an exercise like this:

    @exercise(stars=1, forbidden=SDPA)
    def scores(q, K):                       # the oracle: a loop that a learner could have written from the formula
        ...

    @scores.cases                           # smallest first: the first that fails is printed
    def _(draw):
        return [(draw.small(2), draw.small(3, 2)), (draw.normal(5), draw.normal(4, 5))]

    @scores.mistake("no scaling", "Divide by the square root of d ...")
    def _(q, K):                            # a wrong answer, as learners write it
        return K @ q

    @scores.cost                            # only where the task says what an answer may take
    def _(draw):
        return (draw.normal(5), draw.normal(99, 5)), [(lambda spent: spent.calls < 99, "it loops over the keys.")]
"""

import dis
import inspect
import math
import numbers
import random
import re
import time
import types
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from utils.checks import record
from utils.checks.cases import Draw, copy, each_tensor, in_double, needs_gradient, show, strided
from utils.checks.result import Result
from utils.checks.running import Call, Ledger, Raised, TimeUp, call

SECONDS = 2.0  # for all cases together
SDPA = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward", "_native_multi_head_attention"})
# So is the course's own package.
COURSE = frozenset({"utils.attention.", "utils.positional.", "utils.transformer.", "utils.recurrent.", "utils.loss."})
COURSE |= {"utils.trainer.", "utils.training.", "utils.batching.", "utils.decoding."}


@dataclass(frozen=True)
class Mistake:
    """A usual wrong answer: its name, why it happens and where to look again, and code that makes it."""

    name: str
    advice: str
    code: Callable


def exercise(
    stars: int,
    forbidden: frozenset[str] = frozenset(),
    differentiable: bool = True,
    course: frozenset[str] = COURSE,
):
    """Make a check of the oracle that follows. `forbidden`, `course`: names of calls that are the answer itself.

    "softmax" is any torch function or method of that name, "cross_entropy(label_smoothing)" a call with that argument.
    `course=frozenset()` allows the course's own package, where the answer is not in it.
    """
    return lambda oracle: Check(oracle, stars, forbidden | course, differentiable)


class Check:
    """Call it with a learner's function; it never raises, and returns a `Result`."""

    def __init__(self, oracle: Callable, stars: int, forbidden: frozenset[str], differentiable: bool):
        self.oracle, self.stars, self.forbidden, self.differentiable = oracle, stars, forbidden, differentiable
        self.name, self.lesson = oracle.__name__, oracle.__module__.rpartition(".")[2]
        self.parameters = tuple(inspect.signature(oracle).parameters)
        self.__doc__ = oracle.__doc__
        self.mistakes: list[Mistake] = []
        self.draw_cases: Callable[[Draw], list[tuple]] = lambda draw: []
        self.draw_cost: Callable[[Draw], tuple[tuple, list[tuple]]] | None = None
        self.judged: Callable | None = None
        self.form: Callable = lambda outcome: outcome

    # ---- the parts of a description, as decorators ----

    def cases(self, function: Callable) -> Callable:
        """A function draw -> list of argument tuples, smallest first. The oracle may raise ValueError on some."""
        self.draw_cases = function
        return function

    def mistake(self, name: str, advice: str):
        def add(code: Callable) -> Callable:
            self.mistakes.append(Mistake(name, advice, code))
            return code

        return add

    def judge(self, function: Callable) -> Callable:
        """For exercises with many right answers: (got, *arguments) -> what is wrong, as a sentence, or ""."""
        self.judged = function
        return function

    def canonical(self, function: Callable) -> Callable:
        """For the same exercises: an outcome without what is free, the order say, so that mistakes are recognized."""
        self.form = function
        return function

    def cost(self, function: Callable) -> Callable:
        """A function draw -> a large case and its rules: (Ledger -> may it take that?, what is wrong if not).

        A mistake with the right values is named when the first rule that it breaks is the learner's.
        """
        self.draw_cost = function
        return function

    # ---- the check ----

    def __call__(self, answer: Callable, seed: int | None = None) -> Result:
        seed = random.SystemRandom().randrange(10**6) if seed is None else seed
        passed, text = self.examine(answer, seed)
        if "\nfor\n" in text:
            text += f"\n(The same cases once more: checks.{self.lesson}.{self.name}({_name(answer)}, seed={seed}))"
        if passed is not None:
            record.note(self.lesson, self.name, passed)
        return Result(passed, f"{self.name}: {text}")

    def examine(self, answer, seed: int) -> tuple[bool | None, str]:
        """Whether the answer is right (None: not attempted), and what to say; nothing is noted."""
        if not callable(answer):
            return False, f"give the check your function itself, as in checks.{self.lesson}.{self.name}({self.name})."
        if is_stub(answer):
            return None, "not attempted yet. Fill in the function above, run its cell, then run this one."
        cases = self.draw_cases(Draw(seed))
        if problem := self._signature_problem(answer, cases[0]):
            return False, problem

        deadline = time.monotonic() + SECONDS
        expected = [_outcome(self.oracle, case) for case in cases]
        calls, problems = [], []
        for case, wanted in zip(cases, expected, strict=True):
            tried = copy(case)
            calls.append(self._call(answer, tried, deadline))
            problems.append(self._problem(calls[-1], wanted, case, tried))
            if isinstance(calls[-1].outcome, Raised) and calls[-1].outcome.kind is TimeUp:
                break
        if any(c.outcome.kind is NotImplementedError for c in calls if isinstance(c.outcome, Raised)):
            return None, "not attempted yet: it raises NotImplementedError. Fill it in, then run this cell again."
        used = next((c.forbidden[0] for c in calls if c.forbidden), "")
        if used:
            wrong = next((at for at, problem in enumerate(problems) if problem), None)
            mistake = "" if wrong is None else self._diagnosis(cases, expected, calls, wrong)
            return False, f"your function calls {used}. Here it should be by hand, or call what you wrote yourself." + (
                mistake or " That call is a fine way to test your own: compare the two."
            )
        for at, problem in enumerate(problems):
            if problem:
                told = self._diagnosis(cases, expected, calls, at)
                if not told and not self._alike(calls[at].outcome, expected[at]):
                    told = _outside(answer)
                return False, problem + self._as_case(cases[at]) + told
        valid = [case for case, wanted in zip(cases, expected, strict=True) if not isinstance(wanted, Raised)]
        if problem := self._cost_problem(answer, cases, expected, seed, deadline):
            return False, problem
        tried, problem = self._variants(answer, valid, deadline)
        if problem:
            return False, problem
        return True, f"passed. {len(cases)} random cases of different sizes" + "".join(
            f", {what}" for what in tried
        ) + "."

    def _call(self, answer: Callable, arguments: tuple, deadline: float, ledger: Ledger | None = None) -> Call:
        return call(answer, arguments, deadline - time.monotonic(), self.forbidden, ledger)

    def _signature_problem(self, answer: Callable, case: tuple) -> str:
        try:
            inspect.signature(answer).bind(*case)
        except TypeError:
            wanted = ", ".join(self.parameters)
            return f"it should take ({wanted}), in this order; yours takes {inspect.signature(answer)}."
        except ValueError:  # a built-in without a signature: the calls will tell
            pass
        return ""

    def _problem(self, done: Call, wanted, case: tuple, tried: tuple) -> str:
        """What is wrong with the outcome of one call, as a sentence, or ""."""
        got = done.outcome
        if isinstance(got, Raised) and got.kind is TimeUp:
            return f"it had not finished after {SECONDS:.0f} seconds: is there a loop that never ends?"
        if isinstance(wanted, Raised):
            return _error_problem(got, wanted)
        if isinstance(got, Raised):
            own = issubclass(got.kind, ValueError) and re.search(r"\braise\b", got.where)
            return f"{'this case can be computed, but ' if own else ''}it stopped with {got.with_line()}"
        for name, before, after in zip(self.parameters, case, tried, strict=True):
            if not _same(after, before):
                return _changed(name, before)
        if self.judged:
            return self.judged(got, *case)
        if not _tensors(case):  # no input whose dtype the result should have: any floating dtype is right
            got = each_tensor(got, _in_default_precision)
        return difference(wanted, got)

    def _as_case(self, case: tuple) -> str:
        return "\nfor" + "".join(f"\n  {name} = {show(x)}" for name, x in zip(self.parameters, case, strict=True))

    def _diagnosis(self, cases: list[tuple], expected: list, calls: list[Call], at: int) -> str:
        """The mistake whose outcomes equal the learner's, where they somewhere differ from the right ones.

        If the case that is printed, number `at`, has a wrong value, then a missing ValueError, and cases on which the
        learner's function stops, are other mistakes: they are set aside.
        """
        value = not isinstance(calls[at].outcome, Raised) and not isinstance(expected[at], Raised)
        triples = [(case, done.outcome, wanted) for case, done, wanted in zip(cases, calls, expected, strict=False)]
        triples = [triples[at], *triples[:at], *triples[at + 1 :]]  # where most mistakes are ruled out at once
        if value:
            triples = [t for t in triples if not isinstance(t[1], Raised) and not isinstance(t[2], Raised)]
        for mistake in self.mistakes:
            wrong = False
            for case, got, wanted in triples:
                made = _outcome(mistake.code, case)
                if not self._alike(got, made):
                    break
                wrong = wrong or not isinstance(made, Raised) and not self._alike(made, wanted)
            else:
                if wrong:
                    return _told(mistake)
        return ""

    def _alike(self, one, other) -> bool:
        """Whether two outcomes are the same, in canonical form if there is one."""
        if not isinstance(one, Raised) and not isinstance(other, Raised):
            try:
                one, other = self.form(one), self.form(other)
            except Exception:  # what a learner returns need not have the form
                return False
        return _same(one, other)

    def _cost_problem(self, answer: Callable, cases: list[tuple], expected: list, seed: int, deadline: float) -> str:
        """What is wrong on a large case: with the outcome, or with what it took; or ""."""
        if self.draw_cost is None:
            return ""
        large, rules = self.draw_cost(Draw(seed))
        tried, spent = copy(large), Ledger()
        done = self._call(answer, tried, deadline, spent)
        if problem := self._problem(done, _outcome(self.oracle, large), large, tried):
            return f"right in the small cases, but in a large one: {problem.split(chr(10))[0]}"
        broken = _broken(spent, rules)
        if broken is None:
            return ""
        alike = (
            mistake
            for mistake in self.mistakes
            if self._is_right(mistake, cases, expected) and _broken(_spent_by(mistake, large), rules) == broken
        )
        return f"the values are right, but {rules[broken][1]}" + next(map(_told, alike), "")

    def _is_right(self, mistake: Mistake, cases: list[tuple], expected: list) -> bool:
        made = [_outcome(mistake.code, case) for case in cases]
        return all(self._alike(one, wanted) for one, wanted in zip(made, expected, strict=True))

    def _variants(self, answer: Callable, valid: list[tuple], deadline: float) -> tuple[list[str], str]:
        """The last case in double precision, in strided memory, on the GPU if there is one, and its gradients."""
        case = valid[-1]
        changed = {"float64": in_double, "inputs not contiguous in memory": strided}
        if torch.cuda.is_available():
            changed["inputs on the GPU"] = lambda x: x.cuda()
        floats = any(isinstance(x, Tensor) and x.is_floating_point() for x in case)
        if not floats:
            changed.pop("float64")
        if not any(isinstance(x, Tensor) for x in case):
            return ["inputs left alone"], ""
        for what, change in changed.items():
            other = each_tensor(case, change)
            tried = each_tensor(case, change)
            done = self._call(answer, tried, deadline)
            if problem := self._problem(done, _outcome(self.oracle, other), other, tried):
                if problem.startswith("wrong dtype"):
                    problem += " A tensor that you make anew takes it from an input: torch.zeros(..., dtype=x.dtype)."
                # The numbers are printed where they are what is wrong: this case is not a small one.
                numbers = self._as_case(case) if "\n  expected" in problem else ""
                return [], f"right in the plain cases, but with {what}: {problem}{numbers}"
        # A GPU is tried where there is one, and not told: the page says the same on every machine.
        tried = [what for what in changed if "GPU" not in what] + ["inputs left alone"]
        if self.differentiable and floats:
            if problem := self._gradient_problem(answer, case, deadline):
                return [], problem
            tried.append("gradients")
        return tried, ""

    def _gradient_problem(self, answer: Callable, case: tuple, deadline: float) -> str:
        lost = (
            "the values are right, but no gradient comes back to {}: something cuts the result off from its inputs "
            "(.detach(), .item(), .tolist(), numpy, torch.tensor(...) of a result)."
        )
        ours, theirs = each_tensor(case, needs_gradient), each_tensor(case, needs_gradient)
        got, wanted = self._call(answer, ours, deadline).outcome, self.oracle(*theirs)
        if isinstance(got, Raised):
            return f"right in the plain cases, but with inputs that ask for gradients it stopped with {got}"
        for one, other in zip(_tensors(got), _tensors(wanted), strict=True):
            if other.requires_grad and not one.requires_grad:
                return lost.format("the inputs")
        weigh = [torch.linspace(0.5, 1.5, x.numel()).reshape(x.shape) for x in _tensors(wanted)]
        for outputs in (_tensors(got), _tensors(wanted)):
            total = sum((x * w).sum() for x, w in zip(outputs, weigh, strict=True))
            try:
                if isinstance(total, Tensor) and total.requires_grad:
                    total.backward()
            except RuntimeError as error:  # x += 1 on a tensor of one's own, whose old value the gradient needs
                return (
                    "the values are right, but no gradient can be computed: torch says "
                    f"'{str(error).partition(':')[0]}'. Make a new tensor instead: x = x + 1, not x += 1 or x[0] = ..."
                )
        for name, one, other in zip(self.parameters, ours, theirs, strict=True):
            if isinstance(one, Tensor) and other.grad is not None and other.grad.abs().sum() > 0:
                if one.grad is None:
                    return lost.format(name)
                if one.grad.isnan().any() and not other.grad.isnan().any():
                    return (
                        f"the values are right, but the gradient that reaches {name} is NaN: a NaN on the way was "
                        "replaced too late. Keep it from arising, or cut it off on both sides (masked_fill)."
                    )
                if not _close(one.grad, other.grad):
                    return f"the values are right, but the gradient that reaches {name} is wrong: is a part detached?"
        return ""


# ---- comparing ---------------------------------------------------------------------------------------------


def difference(wanted, got) -> str:
    """How a value differs from the expected one, as a sentence: type, shape, dtype, device, then numbers; or ""."""
    for find in (_type_problem, _shape_problem, _kind_problem, _value_problem):
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
        return name
    count = {2: "two ", 3: "three "}.get(len(wanted), "") if isinstance(wanted, tuple) else ""
    return f"{name} of {count}{TYPES[kinds.pop()][1]}"


def _fits(wanted, got) -> bool:
    kind = _kind(wanted)
    return isinstance(got, TYPES[kind][2]) and (kind is bool or not isinstance(got, bool))


def _type_problem(wanted, got) -> str:
    if got is None:
        return f"it returns None where {_described(wanted)} is wanted: is a `return` missing?"
    asked = f"wrong type: {_described(wanted)} is wanted, and yours"
    plain = "." if _tensors(wanted) else ": x.item() or x.tolist() makes plain numbers of a tensor."
    if not _fits(wanted, got):
        found = f"{type(got).__module__}.{type(got).__name__}".removeprefix("builtins.")
        return f"{asked} is a {found}{plain if isinstance(got, Tensor) else '.'}"
    if isinstance(wanted, list) or isinstance(wanted, tuple) and len(wanted) == len(got):
        items = [*wanted, *wanted[-1:] * len(got)]  # a list that is too long holds more of the same
        for one, other in zip(items, got, strict=False):
            if isinstance(other, Tensor) and not _fits(one, other):
                return f"{asked} holds tensors{plain}"
            if not _fits(one, other):
                return f"{asked} holds {'None' if other is None else f'a {type(other).__name__}'}."
            if problem := _type_problem(one, other):
                return problem
    return ""


def _shape_problem(wanted, got) -> str:
    if isinstance(wanted, Tensor) and wanted.shape != got.shape:
        return f"wrong shape: {tuple(wanted.shape)} is wanted, and yours is {tuple(got.shape)}."
    if isinstance(wanted, tuple) and len(wanted) != len(got):
        return f"it should return {len(wanted)} things, and yours returns {len(got)}."
    if isinstance(wanted, tuple):
        return next((p for w, g in zip(wanted, got, strict=True) if (p := _shape_problem(w, g))), "")
    return ""


def _kind_problem(wanted, got) -> str:
    for one, other in zip(_tensors(wanted), _tensors(got), strict=False):  # fewer of them is a wrong value
        if one.dtype != other.dtype:
            return f"wrong dtype: {one.dtype} is wanted, and yours is {other.dtype}."
        if one.device.type != other.device.type:
            return f"wrong device: the inputs are on {one.device.type}, and yours is on {other.device.type}."
    return ""


def _value_problem(wanted, got) -> str:
    if _same(wanted, got):
        return ""
    nan = any(x.isnan().any() for x in _tensors(got) if x.is_floating_point())
    digits = next((n for n in range(4, 18) if show(wanted, n) != show(got, n)), 4)  # so many that they look different
    said = "NaN among the values" if nan else "wrong values"
    return f"{said}.\n  expected {show(wanted, digits)}\n  got      {show(got, digits)}"


def _changed(name: str, x) -> str:
    if isinstance(x, list):
        new, old = f"list: sorted({name}) and list({name}) make one", f"{name}.sort() and {name}[0] = ..."
    else:
        new, old = f"tensor: {name} = {name} + 1 makes one", f"{name} += 1 and {name}[0] = ..."
    return f"it changes its input {name}. Work on a new {new}, {old} do not."


def _error_problem(got, wanted: Raised) -> str:
    asked = f"this case cannot be computed, and a ValueError should say so ({wanted.message})."
    if not isinstance(got, Raised):
        return f"{asked} Yours returns a value."
    if not issubclass(got.kind, ValueError):
        return f"{asked} Yours stops with {got}"
    return "" if got.message else "the ValueError should carry a sentence that says what is wrong: ValueError('...')."


def _same(one, other) -> bool:
    """Whether two outcomes are equal up to rounding; two errors are."""
    if isinstance(one, Raised) or isinstance(other, Raised):
        return isinstance(one, Raised) and isinstance(other, Raised)
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape and _close(one, other)
    if isinstance(one, (list, tuple)) or isinstance(other, (list, tuple)):
        both = isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other)
        return both and all(map(_same, one, other))
    if isinstance(one, numbers.Real) and isinstance(other, numbers.Real):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
    return one is other or type(one) is type(other) and bool(one == other)


def _close(one: Tensor, other: Tensor) -> bool:
    if one.dtype == torch.bool or other.dtype == torch.bool:
        return one.dtype == other.dtype and torch.equal(one, other)
    return torch.allclose(one.detach().double(), other.detach().double(), rtol=1e-4, atol=1e-5, equal_nan=True)


def _tensors(value) -> list[Tensor]:
    found = []
    each_tensor(value, lambda x: found.append(x) or x)
    return found


def _told(mistake: Mistake) -> str:
    return f"\nWhich mistake? This looks like: {mistake.name}. {mistake.advice}"


def _in_default_precision(x: Tensor) -> Tensor:
    return x.to(torch.get_default_dtype()) if x.is_floating_point() else x


def _broken(spent: Ledger, rules: list[tuple]) -> int | None:
    """The number of the first rule that is broken."""
    return next((at for at, (may, _) in enumerate(rules) if not may(spent)), None)


def _spent_by(mistake: Mistake, case: tuple) -> Ledger:
    tried = copy(case)
    with Ledger() as spent, suppress(Exception):
        mistake.code(*tried)
    return spent


def _outcome(function: Callable, case: tuple):
    """What our own code returns or raises: no thread, no time limit."""
    try:
        return function(*copy(case))
    except Exception as error:
        return Raised(type(error), str(error))


# ---- looking at what was handed in -------------------------------------------------------------------------


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


def _outside(answer: Callable) -> str:
    """A sentence about numbers and tensors that the function reads from outside it; CONSTANTS may stand there."""
    function = inspect.unwrap(answer)
    outside, read = getattr(function, "__globals__", {}), []
    for name in _globals_of(getattr(function, "__code__", None)):
        x = outside.get(name)
        if isinstance(x, Tensor):
            read.append(f"{name} (a tensor of shape {tuple(x.shape)})")
        elif isinstance(x, (int, float)) and not isinstance(x, bool) and not (len(name) > 1 and name.isupper()):
            read.append(f"{name} (here {show(x)})")
    if not read:
        return ""
    place = "notebook" if outside.get("__name__") == "__main__" else "file"
    return (
        f"\nYour function reads {' and '.join(read)}, which it does not get, from elsewhere in this {place}. "
        "Take what it needs from its inputs."
    )


def _globals_of(code: types.CodeType | None) -> list[str]:
    """The names that code, and code inside it, looks up in its module."""
    if code is None:
        return []
    names = [step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"]
    for inner in code.co_consts:
        names += _globals_of(inner) if isinstance(inner, types.CodeType) else []
    return list(dict.fromkeys(names))


def _name(answer) -> str:
    return getattr(answer, "__name__", "answer")
