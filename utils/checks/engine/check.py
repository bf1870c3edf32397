"""An exercise and its check: the specification as a loop, cases, right answers, and usual mistakes as patches of them.

A lesson's module describes an exercise like this:

    @exercise(stars=1, forbidden=SDPA)
    def scores(q, K):                       # the oracle: a loop that a learner could have written from the formula
        ...

    @scores.cases                           # smallest first: the first that fails is printed
    def _(draw):
        return [(draw.small(2), draw.small(3, 2)), (draw.normal(5), draw.normal(4, 5))]

    @scores.answer                          # as learners write it, if not like the oracle; there may be several
    def _(q, K):
        return K @ q / math.sqrt(len(q))

    scores.patches(TABLE)                   # the usual mistakes: see utils/checks/engine/patches.py

    @scores.mistake("a loop", "...")        # one that is no patch of an answer
    def _(q, K):
        ...

    @scores.cost                            # only where the task says what an answer may take
    def _(draw):
        return (draw.normal(5), draw.normal(99, 5)), [(lambda spent: spent.calls < 99, "it loops over the keys.")]
"""

import inspect
import random
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from pkgutil import iter_modules

import torch
from torch import Tensor

import utils
from utils.checks.engine import patches, record
from utils.checks.engine.cases import Draw, copy, each_tensor, needs_gradient, show, strided
from utils.checks.engine.compare import changed, close, difference, error_problem, same, tensors_in
from utils.checks.engine.handed_in import is_stub, read_from_outside, signature_problem
from utils.checks.engine.messages import say
from utils.checks.engine.patches import Answer, Mistake
from utils.checks.engine.result import Result
from utils.checks.engine.running import WALL, Allowance, Call, Ledger, NoThread, Raised, call

SECONDS = 2.0  # of computing, for all cases together
TWO_SLIPS = 0.3  # the same, to look for two mistakes at once
SDPA = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward", "_native_multi_head_attention"})
# So is the course's own package, whichever of its modules.
COURSE = frozenset(
    f"utils.{module.name}."
    for module in iter_modules(utils.__path__)
    if module.name not in ("checks", "figures", "language")
)


def exercise(
    stars: int,
    forbidden: frozenset[str] = frozenset(),
    differentiable: bool = True,
    course: frozenset[str] = COURSE,
    finite: bool = False,
):
    """Make a check of the oracle that follows. `forbidden`, `course`: names of calls that are the answer itself.

    "softmax" is any torch function or method of that name, "cross_entropy(label_smoothing)" a call with that argument.
    `course=frozenset()` allows the course's own package, where the answer is not in it. `finite`: gradients are so in
    every case, not only in the last.
    """
    return lambda oracle: Check(oracle, stars, forbidden | course, differentiable, finite)


class Check:
    """Call it with a learner's function; it never raises, and returns a `Result`."""

    def __init__(self, oracle: Callable, stars: int, forbidden: frozenset[str], differentiable=True, finite=False):
        self.oracle, self.stars, self.forbidden = oracle, stars, forbidden
        self.differentiable, self.finite = differentiable, finite
        self.name, self.lesson = oracle.__name__, oracle.__module__.rpartition(".")[2]
        self.parameters = tuple(inspect.signature(oracle).parameters)
        self.__doc__ = oracle.__doc__
        self.answers: list[Answer] = []
        self.mistakes: list[Mistake] = []
        self.draw_cases: Callable[[Draw], list[tuple]] = lambda draw: []
        self.draw_cost: Callable[[Draw], tuple] | None = None
        self.judged: Callable | None = None
        self.form: Callable = lambda outcome: outcome

    # ---- the parts of a description ----

    def cases(self, function: Callable) -> None:
        """A function draw -> list of argument tuples, smallest first. The oracle may raise ValueError on some."""
        self.draw_cases = function

    def answer(self, function: Callable) -> None:
        """A right answer as learners write it: what the patches that follow are about. Without one it is the oracle."""
        self.answers.append(Answer(function, f"{self.lesson}.{self.name}"))
        if self.answers[-1].parameters != self.parameters:
            raise patches.Misfit(f"{self.lesson}.{self.name}: an answer takes {self.answers[-1].parameters}")

    def patches(self, table: str, besides: str = "") -> None:
        """Mistakes, each a patch of the last answer: see `utils.checks.engine.patches`.

        `besides`: a patch that is made with each of them by others; all that a table holds is then read twice.
        """
        if not self.answers:
            self.answer(self.oracle)
        names = self.oracle.__globals__
        imported = [check for module in names.values() if inspect.ismodule(module) for check in checks_of(vars(module))]
        known = [mistake for check in [*imported[::-1], *checks_of(names), self] for mistake in check.mistakes]
        for more in ["", f"&& {besides}"] if besides else [""]:
            self.mistakes += patches.read(table, self.answers[-1], known, more)

    def take_over(self, other: "Check", *but: str) -> None:
        """Another exercise's mistakes, `but` for some names, and its answers: for one with the same arguments."""
        self.answers += other.answers
        self.mistakes += [mistake for mistake in other.mistakes if mistake.name not in but]

    def mistake(self, name: str, advice: str):
        """A mistake that is no patch: a wrong function."""
        return lambda code: self.mistakes.append(Mistake(name, advice, code))

    def judge(self, function: Callable) -> None:
        """For exercises with many right answers: (got, *arguments) -> what is wrong, as a sentence, or ""."""
        self.judged = function

    def canonical(self, function: Callable) -> None:
        """For the same exercises: an outcome without what is free, the order say, so that mistakes are recognized."""
        self.form = function

    def cost(self, function: Callable) -> None:
        """A function draw -> a large case and its rules: (Ledger -> may it take that?, what is wrong if not).

        A mistake with the right values is named when the first rule that it breaks is the learner's. A third part are
        remarks, (Ledger -> is there nothing to say?, what else), on an answer that passes.
        """
        self.draw_cost = function

    # ---- the check ----

    def __call__(self, answer: Callable, seed: int | None = None) -> Result:
        seed = random.SystemRandom().randrange(10**6) if seed is None else seed
        passed, text = self.examine(answer, seed)
        asked = f"checks.{self.lesson}.{self.name}"
        if f"\n{say('for')}\n" in text:
            again = f"{asked}({getattr(answer, '__name__', 'answer')}, seed={seed})"
            text += "\n" + say("(The same cases once more: {call})", call=again)
        if passed is not None:
            record.note(self.lesson, self.name, passed)
        if passed:
            text += "\n" + say("How the course writes it: {call}", call=f"checks.show({asked})")
        return Result(passed, f"{self.name}: {text}")

    def examine(self, answer, seed: int) -> tuple[bool | None, str]:
        """Whether the answer is right (None: not attempted), and what to say; nothing is noted."""
        if not callable(answer):
            call = f"checks.{self.lesson}.{self.name}({self.name})"
            return False, say("give the check your function itself, as in {call}.", call=call)
        if is_stub(answer):
            return None, say("not attempted yet. Fill in the function above, run its cell, then run this one.")
        cases = self.draw_cases(Draw(seed))
        if problem := signature_problem(answer, self.name, ", ".join(self.parameters), *cases[0]):
            return False, problem
        try:
            return self._judgment(answer, cases, seed)
        except NoThread as error:
            return None, no_thread(error)

    def _judgment(self, answer: Callable, cases: list[tuple], seed: int) -> tuple[bool | None, str]:
        allowance = Allowance(SECONDS)
        expected = [_outcome(self.oracle, case) for case in cases]
        calls, problems = [], []
        for case, wanted in zip(cases, expected, strict=True):
            tried = copy(case)
            calls.append(call(answer, tried, allowance, self.forbidden))
            problems.append(self._problem(calls[-1], wanted, case, tried))
            if calls[-1].timed_out:
                break
        if any(c.outcome.kind is NotImplementedError for c in calls if isinstance(c.outcome, Raised)):
            return None, say("not attempted yet: it raises NotImplementedError. Fill it in, then run this cell again.")
        wrong = next((at for at, problem in enumerate(problems) if problem), None)
        told = "" if wrong is None else self._diagnosis(cases, expected, calls, wrong)
        if used := next((c.forbidden[0] for c in calls if c.forbidden), ""):
            said = say(
                "your function calls {name}. Write that out by hand here, or call what you wrote yourself.", name=used
            )
            if not told:
                said = say("{said} That call is a fine way to test your own: compare the two.", said=said)
            return False, said + told
        if wrong is not None:
            if not told and not self._alike(calls[wrong].outcome, expected[wrong]):
                told = read_from_outside(answer)
            return False, problems[wrong] + self._as_case(cases[wrong]) + told
        valid = [case for case, wanted in zip(cases, expected, strict=True) if not isinstance(wanted, Raised)]
        problem, remark = self._cost_problem(answer, cases, expected, seed, allowance)
        if problem:
            return False, problem
        tried, problem = self._variants(answer, valid[-1], allowance)
        problem = problem or (self._nan_problem(answer, valid, allowance) if self.finite else "")
        if problem:
            return False, problem
        passed = say("passed. {n} random cases of different sizes", n=len(cases))
        for more in tried:
            passed = say("{said}, {more}", said=passed, more=more)
        passed = say("{said}.", said=passed)
        return True, say("{said} {more}", said=passed, more=remark) if remark else passed

    def _problem(self, done: Call, wanted, case: tuple, tried: tuple) -> str:
        """What is wrong with the outcome of one call, as a sentence, or ""."""
        got = done.outcome
        if done.timed_out and done.waited:
            return say(
                "it had not finished after {seconds:.0f} seconds: does it wait for something, or is there a loop that "
                "never ends?",
                seconds=WALL,
            )
        if done.timed_out:
            return say(
                "it had not finished after {seconds:.0f} seconds: is there a loop that never ends?", seconds=SECONDS
            )
        if isinstance(wanted, Raised):
            return error_problem(got, wanted)
        if isinstance(got, Raised) and issubclass(got.kind, ValueError) and re.search(r"\braise\b", got.where):
            return say("this case can be computed, but it stopped with {error}", error=got.with_line())
        if isinstance(got, Raised):
            return say("it stopped with {error}", error=got.with_line())
        for name, before, after in zip(self.parameters, case, tried, strict=True):
            if not same(after, before):
                return changed(name, before)
        if self.judged:
            return self.judged(got, *case)
        if not tensors_in(case):  # no input whose dtype the result should have: any floating dtype is right
            got = each_tensor(got, lambda x: x.to(torch.get_default_dtype()) if x.is_floating_point() else x)
        return difference(wanted, got)

    def _as_case(self, case: tuple) -> str:
        pairs = zip(self.parameters, case, strict=True)
        return f"\n{say('for')}" + "".join(f"\n  {name} = {show(x)}" for name, x in pairs)

    # ---- which mistake? ----

    def _diagnosis(self, cases: list[tuple], expected: list, calls: list[Call], at: int) -> str:
        """The mistake whose outcomes equal the learner's, where they somewhere differ from the right ones.

        If the case that is printed, number `at`, has a wrong value, then a missing ValueError, and cases on which the
        learner's function stops, are other mistakes: they are set aside, until one for the values is found. If no
        mistake fits all there is, two at once are tried.
        """
        value = not isinstance(calls[at].outcome, Raised) and not isinstance(expected[at], Raised)
        triples = [(case, done.outcome, wanted) for case, done, wanted in zip(cases, calls, expected, strict=False)]
        triples = [triples[at], *triples[:at], *triples[at + 1 :]]  # where most mistakes are ruled out at once
        values = [t for t in triples if not value or not isinstance(t[1], Raised) and not isinstance(t[2], Raised)]

        def two_slips(wanted: list[tuple], known: str = "") -> str:
            for one, other, code in patches.pairs(self.mistakes):
                if known in ("", one.name, other.name) and self._made_by(code, wanted):
                    return "\n" + say(
                        "Which mistake? This looks like two slips: {one}; {other}. {advice} {more}",
                        one=say(one.name),
                        other=say(other.name),
                        advice=say(one.advice),
                        more=say(other.advice),
                    )
            return ""

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            single = next((mistake for mistake in self.mistakes if self._made_by(mistake.code, values)), None)
            if single and (len(values) == len(triples) or self._made_by(single.code, triples)):
                return _told(single)
            # What two patches make together may go on for ever: it gets a thread and a limit, too.
            arguments = (triples, single.name) if single else (values,)
            found = call(two_slips, arguments, Allowance(TWO_SLIPS)).outcome
        if found and not isinstance(found, Raised):
            return found
        return _told(single) if single else ""

    def _made_by(self, code: Callable, triples: list[tuple]) -> bool:
        """Whether all outcomes are those of the code, and one of them is wrong."""
        wrong = False
        for case, got, wanted in triples:
            made = _outcome(code, case)
            if not self._alike(got, made):
                return False
            if self.judged and not isinstance(made, Raised) and not isinstance(wanted, Raised):
                wrong = wrong or bool(self.judged(made, *case))  # several may be right
            else:
                wrong = wrong or not isinstance(made, Raised) and not self._alike(made, wanted)
        return wrong

    def _alike(self, one, other) -> bool:
        """Whether two outcomes are the same, in canonical form if there is one."""
        if not isinstance(one, Raised) and not isinstance(other, Raised):
            try:
                one, other = self.form(one), self.form(other)
            except Exception:  # what a learner returns need not have the form
                return False
        return same(one, other)

    # ---- after the cases ----

    def _cost_problem(
        self, answer: Callable, cases: list[tuple], expected: list, seed: int, allowance: Allowance
    ) -> tuple[str, str]:
        """What is wrong on a large case, with the outcome or with what it took, and what else there is to remark."""
        if self.draw_cost is None:
            return "", ""
        large, rules, *remarks = self.draw_cost(Draw(seed))
        tried = copy(large)
        spent = Ledger(tensors_in(tried))
        done = call(answer, tried, allowance, self.forbidden, spent)
        if problem := self._problem(done, _outcome(self.oracle, large), large, tried):
            return say("right in the small cases, but in a large one: {problem}", problem=problem.split("\n")[0]), ""
        broken = _broken(spent, rules)
        if not broken:
            remark = _broken(spent, *remarks) if remarks else ""
            return "", say(remark)
        alike = (
            mistake
            for mistake in self.mistakes
            if all(self._alike(_outcome(mistake.code, case), one) for case, one in zip(cases, expected, strict=True))
            and _broken(_spent_by(mistake, large), rules) == broken
        )
        return say("the values are right, but {problem}", problem=say(broken)) + next(map(_told, alike), ""), ""

    def _variants(self, answer: Callable, case: tuple, allowance: Allowance) -> tuple[list[str], str]:
        """The last case with gradients, in double precision, in strided memory, and on the GPU if there is one."""
        left_alone = say("inputs left alone")
        if not tensors_in(case):
            return [left_alone], ""
        floats = any(x.is_floating_point() for x in tensors_in(case))
        gradients = self.differentiable and floats
        # A result that is cut off often has the wrong dtype, too: the cut is what is wrong.
        if gradients and (problem := self._gradient_problem(answer, case, allowance)):
            return [], problem
        changes = {say("float64"): lambda x: x.double() if x.is_floating_point() else x} if floats else {}
        changes[say("inputs not contiguous in memory")] = strided
        told = [*changes, left_alone, *[say("gradients")] * gradients]
        if torch.cuda.is_available():  # not told: the page says the same on every machine
            changes[say("inputs on the GPU")] = lambda x: x.cuda()
        for what, change in changes.items():
            other, tried = each_tensor(case, change), each_tensor(case, change)
            done = call(answer, tried, allowance, self.forbidden)
            if problem := self._problem(done, _outcome(self.oracle, other), other, tried):
                if "dtype" in problem.splitlines()[0]:  # not in the line of code that stopped
                    problem = say(
                        "{problem} A tensor that you make anew takes it from an input: "
                        "torch.zeros(..., dtype=x.dtype).",
                        problem=problem,
                    )
                # The numbers are printed where they are what is wrong: this case is not a small one.
                numbers = self._as_case(case) if "\n  " in problem else ""
                said = say("right in the plain cases, but with {what}: {problem}", what=what, problem=problem)
                return [], said + numbers
        return told, ""

    def _nan_problem(self, answer: Callable, cases: list[tuple], allowance: Allowance) -> str:
        """Whether some case sends back a gradient that is not finite."""
        for case in cases:
            tried = each_tensor(case, needs_gradient)
            total = sum(x.sum() for x in tensors_in(call(answer, tried, allowance, self.forbidden).outcome))
            if isinstance(total, Tensor) and total.requires_grad:
                total.backward()
            for name, x in zip(self.parameters, tried, strict=True):
                if isinstance(x, Tensor) and x.grad is not None and not x.grad.isfinite().all():
                    return _nan_arrives(name) + self._as_case(case)
        return ""

    def _gradient_problem(self, answer: Callable, case: tuple, allowance: Allowance) -> str:
        ours, theirs = each_tensor(case, needs_gradient), each_tensor(case, needs_gradient)
        done, wanted = call(answer, ours, allowance, self.forbidden), self.oracle(*theirs)
        got = done.outcome
        if problem := self._problem(done, wanted, case, ours):
            return say("right in the plain cases, but with {what}: {problem}", what=say("gradients"), problem=problem)
        for one, other in zip(tensors_in(got), tensors_in(wanted), strict=True):
            if other.requires_grad and not one.requires_grad:
                return _lost(say("the inputs"))
        # What is minus infinity has no gradient that would matter: a softmax sends it none.
        weigh = [torch.linspace(0.5, 1.5, x.numel()).reshape(x.shape) * x.isfinite() for x in tensors_in(wanted)]
        for outputs in (tensors_in(got), tensors_in(wanted)):
            total = sum((x * w).sum() for x, w in zip(outputs, weigh, strict=True))
            try:
                if isinstance(total, Tensor) and total.requires_grad:
                    total.backward()
            except RuntimeError as error:  # x += 1 on a tensor of one's own, whose old value the gradient needs
                return say(
                    "the values are right, but no gradient can be computed: torch says '{error}'. Make a new tensor "
                    "instead: x = x + 1, not x += 1 or x[0] = ...",
                    error=str(error).partition(":")[0],
                )
        for name, learners, oracles in zip(self.parameters, ours, theirs, strict=True):
            for one, other in zip(tensors_in(learners), tensors_in(oracles), strict=True):
                if other.grad is None or not other.grad.abs().sum() > 0:
                    continue
                if one.grad is None:
                    return _lost(name)
                if one.grad.isnan().any() and not other.grad.isnan().any():
                    return _nan_arrives(name)
                if not close(one.grad, other.grad):
                    return say(
                        "the values are right, but the gradient that reaches {name} is wrong: is a part detached?",
                        name=name,
                    )
        return ""


# ---- sentences ---------------------------------------------------------------------------------------------


def _told(mistake: Mistake) -> str:
    name, advice = say(mistake.name), say(mistake.advice)
    return "\n" + say("Which mistake? This looks like: {name}. {advice}", name=name, advice=advice)


def _nan_arrives(name: str) -> str:
    return say(
        "the values are right, but the gradient that reaches {name} is NaN: a NaN on the way was replaced too late, "
        "or minus infinity was added where it should be filled in. Keep the NaN from arising, or cut it off on both "
        "sides (masked_fill).",
        name=name,
    )


def _lost(name: str) -> str:
    return say(
        "the values are right, but no gradient comes back to {name}: something cuts the result off from its inputs "
        "(.detach(), .item(), .tolist(), numpy, torch.tensor(...) of a result).",
        name=name,
    )


def no_thread(error: NoThread) -> str:
    return say(
        "not tried: this machine gives the check no thread of its own ({error}). That is no fault of yours. Close "
        "other programs or notebooks, restart the kernel, and run this cell again.",
        error=error,
    )


def _broken(spent: Ledger, rules: list[tuple]) -> str:
    """What the first rule that is broken says is wrong, or ""."""
    return next((wrong for may, wrong in rules if not may(spent)), "")


def _spent_by(mistake: Mistake, case: tuple) -> Ledger:
    tried = copy(case)
    with Ledger() as spent, suppress(Exception):
        mistake.code(*tried)
    return spent


def checks_of(names: dict) -> list[Check]:
    return [thing for thing in names.values() if isinstance(thing, Check)]


def _outcome(function: Callable, case: tuple):
    """What our own code returns or raises: no thread, no time limit."""
    try:
        return function(*copy(case))
    except Exception as error:
        return Raised(type(error), str(error))
