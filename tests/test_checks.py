"""The checks of the exercises: right answers pass, however written; each known mistake is named; nothing raises."""

import importlib
import json
import math
import random
import re
import sys
import threading
import time
from collections import Counter
from functools import partial
from types import ModuleType

import pytest
import torch
from helpers.forked import join, noting, start

from utils import checks
from utils.checks.engine import COURSE, Check, difference, exercise, patches, record, running
from utils.checks.engine import check as engine
from utils.checks.engine.cases import Draw, each_tensor, show
from utils.checks.engine.result import Result
from utils.checks.engine.running import Allowance, Ledger, Raised, TimeUp, call

pytestmark = pytest.mark.usefixtures("progress_file")
SEEDS = range(3)
FEW_MISTAKES: set[str] = set()  # exercises whose formula leaves room for fewer than four


def answers(name: str) -> list:
    lesson, _, function = name.partition(".")
    return importlib.import_module(f"answers.{lesson}").ANSWERS[function]


def stub_of(check: Check):
    """The stub as the lesson has it: the signature, and nothing done."""
    names = ", ".join(check.parameters)
    namespace = {}
    exec(f'def {check.name}({names}):\n    """To do."""\n    ...', namespace)
    return namespace[check.name]


EACH = pytest.mark.parametrize("name", checks.EXERCISES)
ANSWERS = [(name, answer) for name in checks.EXERCISES for answer in answers(name)]
MISTAKES = [(name, mistake) for name, check in checks.EXERCISES.items() for mistake in check.mistakes]


# ---- every exercise ----------------------------------------------------------------------------------------


@EACH
def test_the_stub_is_not_attempted(name: str, progress_file):
    result = checks.EXERCISES[name](stub_of(checks.EXERCISES[name]))
    assert result.passed is None and "not attempted" in str(result)
    assert not progress_file.exists(), "looking is not trying"


@EACH
def test_the_oracle_passes_its_own_check(name: str):
    for seed in SEEDS:
        passed, text = checks.EXERCISES[name].examine(checks.EXERCISES[name].oracle, seed)
        assert passed is True, text


def some_quick(pairs: list[tuple], label: str) -> list:
    """Each pair (exercise, what is handed in) as a parameter; the first two of an exercise stand for it in a quick run.

    label: the attribute that names what is handed in.
    """
    so_far, found = Counter(), []
    for name, one in pairs:
        so_far[name] += 1
        marks = [pytest.mark.slow] if so_far[name] > 2 else []
        found.append(pytest.param(name, one, id=f"{name}-{getattr(one, label)}", marks=marks))
    return found


@pytest.mark.parametrize(("name", "answer"), some_quick(ANSWERS, "__name__"))
def test_right_answers_pass(name: str, answer):
    for seed in SEEDS:
        passed, text = checks.EXERCISES[name].examine(answer, seed)
        assert passed is True, text


@EACH
def test_there_are_several_right_answers_and_several_mistakes(name: str):
    assert len(answers(name)) >= 3
    assert len(checks.EXERCISES[name].mistakes) >= 4 or name in FEW_MISTAKES


@pytest.mark.parametrize(("name", "mistake"), some_quick(MISTAKES, "name"))
def test_each_mistake_is_named_and_no_other(name: str, mistake):
    for seed in SEEDS:
        passed, text = checks.EXERCISES[name].examine(mistake.code, seed)
        assert passed is False
        assert f"This looks like: {mistake.name}. {mistake.advice}" in text, text
        assert text.count("This looks like") == 1


def raises_an_error(*arguments):
    raise RuntimeError("something broke")


def leaves(*arguments):
    raise SystemExit(1)


def gives_nothing(*arguments):
    arguments = None
    return arguments


def gives_a_word(*arguments):
    return "forty-two"


def gives_an_array(*arguments):
    import numpy as np

    return np.zeros(3)


def gives_nan(*arguments):
    return torch.full((2, 2), torch.nan)


GARBAGE = [None, 42, "attend", torch.zeros(2), raises_an_error, leaves, gives_nothing, gives_a_word, gives_an_array]
GARBAGE += [gives_nan, lambda: 1, Exception, type]


@pytest.mark.slow
@EACH
def test_garbage_gets_a_sentence(name: str):
    for garbage in GARBAGE:
        result = checks.EXERCISES[name](garbage)
        assert result.passed is False and len(str(result)) > 20, f"{garbage}: {result}"
        assert "Traceback" not in str(result)


@pytest.mark.slow
@EACH
def test_an_endless_loop_is_cut_off(name: str, monkeypatch):
    monkeypatch.setattr(engine, "SECONDS", 0.03)

    def endless(*arguments):
        while True:
            try:
                pass
            except Exception:
                pass

    result = checks.EXERCISES[name](endless)
    assert result.passed is False and "never ends" in str(result)


@pytest.mark.slow
@EACH
def test_what_is_changed_detached_or_called_is_told(name: str):
    check = checks.EXERCISES[name]

    def changes_its_input(*arguments):
        out = check.oracle(*arguments)
        for x in arguments:
            if isinstance(x, torch.Tensor):
                x.data.logical_not_() if x.dtype == torch.bool else x.data.add_(1)
            elif isinstance(x, list):
                x.append(x[-1])
        return out

    def detaches(*arguments):
        return each_tensor(check.oracle(*arguments), torch.Tensor.detach)

    case = check.draw_cases(Draw(0))[0]
    changed = next((x for x in case if isinstance(x, torch.Tensor | list)), None)
    if changed is not None:
        new = "a new list: sorted(" if isinstance(changed, list) else "a new tensor: "
        assert re.search(rf"changes its input \w+\. Work on {re.escape(new)}", str(check(changes_its_input)))
    floats = any(isinstance(x, torch.Tensor) and x.is_floating_point() for x in case)
    if floats and check.differentiable:
        result = check(detaches)
        assert result.passed is False and "no gradient comes back" in str(result)


# ---- the machinery -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (None, "None"),
        ([1.0, 2.0], "yours is a list"),
        (torch.zeros(2, 1), r"\(2,\) is wanted, and yours is \(2, 1\)"),
        (torch.zeros(2, dtype=torch.float64), "float64"),
        (torch.tensor([1.0, torch.nan]), "NaN"),
        (torch.tensor([1.0, 3.0]), r"expected \[1, 2\]\s+got      \[1, 3\]"),
    ],
    ids=str,
)
def test_differences_are_told_in_order(got, said: str):
    assert re.search(said, difference(torch.tensor([1.0, 2.0]), got))
    assert not difference(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]) + 1e-7)


@pytest.mark.parametrize(
    ("wanted", "got", "good"),
    [
        (3, 3, True),
        (3, True, False),
        (3, 3.0, False),
        (0.0, 0, True),
        (0.5, torch.tensor(0.5), False),
        ([1, 2], (1, 2), True),
        ([1, 2], [1, 2, 3], False),
        ([[1], [2]], [[1], [2]], True),
        ((torch.ones(1), torch.ones(2)), (torch.ones(1),), False),
        (torch.tensor([True]), torch.tensor([1.0]), False),
    ],
    ids=str,
)
def test_plain_values_are_compared(wanted, got, good: bool):
    assert (difference(wanted, got) == "") == good


@pytest.mark.parametrize(
    ("wanted", "got", "said"),
    [
        (
            [1, 2],
            [torch.tensor(1)] * 3,
            r"a list of ints is wanted, and yours holds tensors: x\.item\(\) or x\.tolist\(\)",
        ),
        ([1, 2], torch.tensor([1, 2]), r"a list of ints is wanted, and yours is a torch\.Tensor: x\.item\(\)"),
        (0.5, torch.tensor(0.5), r"a float is wanted, and yours is a torch\.Tensor: x\.item\(\)"),
        ([[1], [2]], [[1], [None]], "a list of ints is wanted, and yours holds None"),
        ([], [torch.tensor(1)], r"expected \[\]"),
        (
            (torch.ones(1), torch.ones(2)),
            torch.ones(1),
            r"a tuple of two tensors is wanted, and yours is a torch\.Tensor\.",
        ),
        ((torch.ones(1), torch.ones(2)), ([1.0], [1.0]), "a tuple of two tensors is wanted, and yours holds a list"),
        ((torch.ones(1), torch.ones(2)), None, "returns None where a tuple of two tensors is wanted"),
        ((torch.ones(1), 2), 3, "a tuple is wanted, and yours is a int"),
    ],
    ids=str,
)
def test_what_is_wanted_is_said_with_what_it_holds(wanted, got, said: str):
    assert re.search(said, difference(wanted, got)), difference(wanted, got)


def test_values_that_differ_look_different():
    assert difference(0.03125, 0.031251).endswith("expected 0.03125\n  got      0.031251")
    assert difference(torch.tensor([1.0, 20000.0]), torch.tensor([1.0, 20004.0])).endswith("got      [1, 20004]")


def test_a_mistake_is_recognized_in_any_order():
    check = checks.EXERCISES["lesson08.token_batches"]
    code = next(mistake.code for mistake in check.mistakes if mistake.name == "the lengths are added up")
    result = check(lambda lengths, max_tokens: tuple(tuple(batch[::-1]) for batch in code(lengths, max_tokens)[::-1]))
    assert "This looks like: the lengths are added up" in str(result)


@pytest.mark.parametrize(
    ("got", "said"),
    [
        ([0, 1, 2], "a list of lists is wanted"),
        ([[1, 2], [0], []], "one of the batches is empty"),
        ([[torch.tensor(1), 2], [0]], "yours holds tensors"),
        ([[1, 2], [-3]], "the indices of 3 sentences are 0 to 2"),
        ([[1, 2]], "index 0 stands in no batch"),
        ([[1, 2], [0], [2]], "index 2 stands in 2 places"),
        ([[0, 1], [2]], "2 * 3 = 6 > 4"),
        ([[1], [2], [0]], "3 batches, and 2 are enough"),
    ],
    ids=str,
)
def test_batches_are_judged(got, said: str):
    assert said in checks.lesson08.token_batches.judged(got, [3, 1, 2], 4)
    assert not checks.lesson08.token_batches.judged(([0], (2, 1)), [3, 1, 2], 4)


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ([0], "here a list"),
        (torch.tensor([[0]]), "one prefix"),
        (torch.zeros(1), "float32"),
        (torch.tensor([2]), "bos"),
    ],
    ids=str,
)
def test_a_toy_language_says_what_it_takes(prefix, said: str):
    language = checks.lesson08.Language(0, 1, {(0,): {2: 1.0}}, {1: 1.0})
    result = checks.lesson08.greedy(lambda step_fn, bos, eos, max_len: language(prefix))
    assert f"it stopped with {'ValueError' if said == 'bos' else 'TypeError'}" in str(result) and said in str(result)


def test_a_call_is_cut_off_and_its_errors_are_kept():
    def loop():
        while True:
            pass

    assert call(loop, (), Allowance(0.1)).outcome.kind is TimeUp
    done = call(raises_an_error, (1,), Allowance(1.0)).outcome
    assert done == Raised(RuntimeError, "something broke", 'raise RuntimeError("something broke")')
    assert call(max, (1, 2), Allowance(1.0)).outcome == 2


def swallows():
    while True:
        try:
            len("")
        except:  # noqa: E722
            pass


def swallows_again_and_again():
    while True:
        try:
            try:
                while True:
                    len("")
            finally:
                while True:
                    len("")
        except BaseException:
            continue


def sleeps():
    time.sleep(3600)


def prints():
    while True:
        print("for ever")


@pytest.mark.slow
@pytest.mark.parametrize("endless", [swallows, swallows_again_and_again, sleeps, prints])
def test_whatever_does_not_end_is_left_behind_and_costs_nothing(endless, capsys):
    begun = time.monotonic()
    assert call(endless, (), Allowance(0.05, wall=0.5), COURSE).outcome.kind is TimeUp
    assert time.monotonic() - begun < 5
    spent = time.process_time()
    time.sleep(0.1)
    assert time.process_time() - spent < 0.05, "a thread goes on in the background"


def test_a_recursion_without_end_and_an_exit_get_a_sentence():
    def recursive(q, K):
        return recursive(q, K)

    check = checks.EXERCISES["lesson02.scores"]
    assert "it stopped with RecursionError" in str(check(recursive))
    assert "it stopped with SystemExit: 3" in str(check(lambda q, K: sys.exit(3)))


# ---- time, and what is left behind -------------------------------------------------------------------------

attend = checks.lesson02.attend
per_thread = pytest.mark.skipif(not running.CLOCK_PER_THREAD, reason="no clock per thread on this system")


def are_over(threads: set[threading.Thread], seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while any(thread.is_alive() for thread in threads) and time.monotonic() < until:
        time.sleep(0.02)
    return not any(thread.is_alive() for thread in threads)


@pytest.mark.slow
@per_thread
def test_only_the_answers_own_computing_time_counts(monkeypatch):
    """Neither what the oracle takes nor time in which its thread waits: a busy machine lets it."""
    monkeypatch.setattr(engine, "SECONDS", 0.2)

    @exercise(stars=1)
    def double(x):
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass
        return x + x

    double.cases(lambda draw: [(draw.small(2),), (draw.normal(3),)])

    def starved(x):
        time.sleep(0.1)
        return 2 * x

    assert double(starved).passed is True, double(starved)

    def busy(x):
        until = time.thread_time() + 0.3
        while time.thread_time() < until:
            pass
        return 2 * x

    assert "is there a loop that never ends" in str(double(busy))


def sleeps_a_second(q, K, V):
    time.sleep(1.0)


def sleeps_and_catches_everything(q, K, V):
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        try:
            time.sleep(0.5)
        except BaseException:
            continue


def catches_and_answers(q, K, V):
    try:
        while True:
            len("")
    except BaseException:
        return attend.oracle(q, K, V)


@pytest.mark.slow
@pytest.mark.parametrize("clock", [running.CLOCK_PER_THREAD, False])
@pytest.mark.parametrize("blocked", [sleeps_a_second, sleeps_and_catches_everything, catches_and_answers])
def test_an_answer_that_is_given_up_leaves_nothing_behind(blocked, clock: bool, monkeypatch):
    """While its thread waits in C no exception may be pending: Python 3.11 would let no other answer begin a call."""
    monkeypatch.setattr(running, "CLOCK_PER_THREAD", clock)
    before = set(threading.enumerate())
    with monkeypatch.context() as short:
        short.setattr(running, "WALL", 5.0 if blocked is catches_and_answers and clock else 0.2)
        short.setattr(engine, "SECONDS", 0.05)
        said = str(attend(blocked))
    assert "had not finished after" in said
    assert ("does it wait for something" in said) == (blocked is not catches_and_answers or not clock)
    monkeypatch.setattr(running, "WALL", 2.0)
    assert attend(attend.oracle).passed is True
    if blocked is sleeps_a_second:
        assert are_over(set(threading.enumerate()) - before), "what it waited for has come"
    time.sleep(1.0)
    spent = time.process_time()
    time.sleep(0.1)
    assert time.process_time() - spent < 0.05, "a thread goes on in the background"
    assert attend(attend.oracle).passed is True


def test_a_refused_thread_is_the_machines_fault(monkeypatch, progress_file):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    result = attend(attend.oracle)
    assert result.passed is None and "no thread of its own (can't start new thread). That is no fault" in str(result)
    assert "can't start new thread" in str(checks.capstone(__file__)) and not progress_file.exists()


# ---- mistakes as patches -----------------------------------------------------------------------------------


@pytest.fixture
def grown():
    """A tiny exercise with one right answer."""

    @exercise(stars=1)
    def grown(x):
        return x + 1

    @grown.answer
    def _(x):
        y = x + 1
        return y

    return grown


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("doubled: y -> 2 * y\n    Why?", "'doubled': 'y' stands 2 times in the answer"),
        ("doubled: z -> 2 * z\n    Why?", "'doubled': 'z' stands 0 times in the answer"),
        ("doubled: = 2 * y && z -> 2\n    Why?", ""),  # the whole body, whatever it says
        ("doubled: x + 1\n    Why?", "lacks an arrow"),
        ("doubled: x + 1 -> x && + 1 ->\n    Why?", "overlap"),
        ("doubled: x + 1 -> x", "'doubled': no advice"),
        ("doubled:\n    Why?", "'doubled': no patch"),
        ("doubled\n    Why?", "'doubled' is neither a name with a colon"),
        ("doubled: x + 1 -> x\n   Why?", "nor indented as it should be"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(grown, table: str, said: str):
    if not said:
        return grown.patches(table)
    with pytest.raises(patches.Misfit, match=r"test_checks\.grown") as error:
        grown.patches(table)
    assert said in str(error.value)


def test_a_table_is_read_with_its_other_ways_and_long_lines(grown):
    grown.patches("""
        doubled:
          | x + 1 -> 2 * x
          && return y -> return y + 0
          | = x + x
            Add one,
            and no more.
        one less: x + 1 -> x - 1
            Add it.
        """)
    assert [(m.name, m.code(3)) for m in grown.mistakes] == [("doubled", 6), ("doubled", 6), ("one less", 2)]
    assert grown.mistakes[1].advice == "Add one, and no more."
    grown.patches("halved: x + 1 -> x / 2\n  || x // 2 &&? return y -> return -y\n    Why?", besides="y = -> y = 2 *")
    assert [m.code(3) for m in grown.mistakes[3:]] == [-1.5, 1.5, -1, 1, -3, 3, -3, 3]
    with pytest.raises(patches.Misfit, match=r"test_checks\.grown: an answer takes \('y',\)"):

        @grown.answer
        def _(y):
            return y + 1


def test_advice_is_that_of_the_same_lesson_or_else_of_one_it_imports(grown, monkeypatch):
    def told(*advice: str) -> list[Check]:
        checks = [exercise(stars=1)(grown.oracle) for _ in advice]
        for check, said in zip(checks, advice, strict=True):
            check.answer(grown.answers[0].function)
            check.patches(f"doubled: x + 1 -> 2 * x\n    {said}")
        return checks

    first, last = told("The first.", "The last.")
    another = ModuleType("another")
    vars(another).update(first=first, last=last)
    monkeypatch.setitem(globals(), "another", another)
    grown.patches("doubled: x + 1 -> x + x")
    assert grown.mistakes.pop().advice == "The first."
    monkeypatch.setitem(globals(), "earlier", told("Of this lesson.")[0])
    grown.patches("doubled: x + 1 -> x + x")
    assert grown.mistakes.pop().advice == "Of this lesson."


def test_mistakes_are_taken_over_but_for_some(grown):
    grown.patches("doubled: x + 1 -> 2 * x\n    Add.\none less: x + 1 -> x - 1\n    Add it.")
    other = exercise(stars=1)(lambda x: x + 1)
    other.take_over(grown, "doubled")
    assert [mistake.name for mistake in other.mistakes] == ["one less"] and other.answers == grown.answers


def test_two_slips_are_named_where_no_single_one_fits():
    def answer(q, K, V):
        return (K @ q).softmax(0) @ K

    said = str(attend(answer))
    assert "This looks like two slips: no scaling; keys where values belong. The dot products are not divided" in said
    assert "Keys are only matched" in said

    def stops_at_first(X, Wq, Wk, Wv):  # in the case that is printed there is no value to compare
        Q, K, V = X @ Wq, X @ Wk, X @ Wv
        return (Q @ K.T).softmax(1) @ V

    said = str(checks.lesson02.self_attention_loop(stops_at_first))
    assert "it stopped with RuntimeError" in said
    assert "two slips: no scaling; the matrices are transposed." in said


def stands_out(check: Check, code) -> bool:
    """Whether these slips together make something wrong that no single mistake makes."""
    cases = check.draw_cases(Draw(0))
    made = [(case, engine._outcome(code, case), engine._outcome(check.oracle, case)) for case in cases]
    wrong = not all(check._alike(got, wanted) for _, got, wanted in made)
    return wrong and not any(check._made_by(mistake.code, made) for mistake in check.mistakes)


LESSONS_OF_SLIPS = ["lesson02", "lesson03", "lesson04", "lesson08"]
ALL_SLIPS = [pytest.param(lesson, None, marks=pytest.mark.slow, id=lesson) for lesson in LESSONS_OF_SLIPS]


@pytest.mark.parametrize(("lesson", "at_most"), [("lesson02", 40), *ALL_SLIPS])
def test_two_slips_at_once_are_named(lesson: str, at_most: int | None):
    those = [check for check in checks.EXERCISES.values() if check.lesson == lesson]
    those = [check for check in those if check.name != "label_smoothed_loss"]  # too many pairs to try in the time
    found = [(check, *pair) for check in those for pair in patches.pairs(check.mistakes)]
    found = random.Random(0).sample(found, at_most or len(found))
    unnamed, n = [], 0
    for check, one, other, code in found:
        text = check.examine(code, 0)[1]
        if "never ends" not in text and stands_out(check, code):
            n += 1
            if f"two slips: {one.name}; {other.name}." not in text:
                unnamed.append(f"{check.name}: {one.name}; {other.name}")
    assert n >= len(found) / 2 and len(unnamed) <= 0.2 * n, f"{len(unnamed)} of {n}: {unnamed}"


def test_a_missing_error_is_named_beside_a_wrong_value():
    """The case that is printed has a wrong value, and the ValueError of another case is set aside only at first."""

    def unsorted_and_silent(lengths, max_tokens):
        batches = []
        for i, length in enumerate(lengths):
            if batches and (len(batches[-1]) + 1) * length <= max_tokens:
                batches[-1].append(i)
            else:
                batches.append([i])
        return batches

    said = str(checks.lesson08.token_batches(unsorted_and_silent))
    assert "two slips: a sentence that is too long gets a batch of its own; not sorted, though the newest" in said


def test_slips_that_are_right_together_are_named_to_nobody():
    """Several deals into batches are right: the judge says which answer is wrong, not the oracle's own deal."""

    def right_but_for_the_error(lengths, max_tokens):
        assert all(length <= max_tokens for length in lengths), "too long"
        order, batches = sorted(range(len(lengths)), key=lambda i: -lengths[i]), []
        while order:
            rows = max_tokens // lengths[order[0]]
            batches, order = [*batches, order[:rows]], order[rows:]
        return batches

    said = str(checks.lesson08.token_batches(right_but_for_the_error))
    assert "a ValueError should say so" in said and "Which mistake?" not in said


def test_slips_that_go_on_for_ever_together_are_cut_off(monkeypatch):
    monkeypatch.setattr(engine, "TWO_SLIPS", 0.1)

    @exercise(stars=1, differentiable=False)
    def count(n):
        return sum(1 for _ in range(n))

    count.cases(lambda draw: [(3,), (5,)])

    @count.answer
    def _(n):
        i, step = 0, 1
        while i < n and step:
            i += step
        return i

    count.patches("""
        no steps: i, step = 0, 1 -> i, step = 0, 0
            Walk.
        it does not look: and step ->
            Alone this changes nothing; with no steps it goes on for ever.
        """)
    begun = time.monotonic()
    assert "This looks like" not in str(count(lambda n: n * n))
    assert time.monotonic() - begun < 3


def test_a_cut_gradient_is_told_before_the_dtype_that_comes_of_it():
    def by_items(q, K):
        return torch.tensor([(k @ q / math.sqrt(len(q))).item() for k in K])

    said = str(checks.lesson02.scores(by_items))
    assert "no gradient comes back" in said and "dtype" not in said


@pytest.mark.parametrize("late", [lambda b: b.nan_to_num(0.0), lambda b: torch.where(b.isnan(), 0, b)])
def test_a_nan_that_is_replaced_too_late_is_told_in_whatever_case_it_arises(late):
    def masked_attend(q, K, V, may_attend):
        scores = (K @ q / math.sqrt(len(q))).masked_fill(~may_attend, -math.inf)
        return late(scores.softmax(0) @ V)

    said = str(checks.lesson02.masked_attend(masked_attend))
    assert "the gradient that reaches V is NaN" in said and "may_attend = [False, False, False]" in said


def test_the_courses_own_answers_can_be_read(capsys):
    said = str(attend(attend.oracle))
    assert said.endswith("\nHow the course writes it: checks.show(checks.lesson02.attend)")
    checks.show(attend)
    shown = capsys.readouterr().out
    assert shown.startswith("def attend(q, K, V):\n") and "return shares @ V\n" in shown and "@attend" not in shown
    checks.show(checks.lesson07.noam_lr)  # its oracle is the answer, too
    assert capsys.readouterr().out.count("def ") == 1


# ---- the machinery, continued ------------------------------------------------------------------------------


def test_who_interrupts_a_call_ends_it(monkeypatch):
    """The kernel's interrupt arrives while the check waits: the learner's loop does not go on in the background."""
    join, threads = threading.Thread.join, []

    def interrupted(thread, timeout=None):
        threads.append(thread)
        if len(threads) == 1:
            raise KeyboardInterrupt
        join(thread, timeout)

    def loop():
        while True:
            pass

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call(loop, (), Allowance(10.0))
    assert not threads[0].is_alive()


def a_notebook(source: str, **outside):
    """The function `answer` of a cell, in a notebook whose other cells left these names."""
    namespace = {"__name__": "__main__", "math": math, "torch": torch, **outside}
    exec(source, namespace)
    return namespace["answer"]


READS = "def answer(q, K):\n    return {}\n"


@pytest.mark.parametrize(
    ("body", "outside", "said"),
    [
        ("K @ q / math.sqrt(d)", {"d": 7}, "reads d (here 7), which it does not get, from elsewhere in this notebook."),
        ("[K @ q / s for _ in K][0]", {"s": 1.5}, "reads s (here 1.5), "),
        ("K @ W @ q", {"W": torch.zeros(9, 8)}, "reads W (a tensor of shape (9, 8)), "),
        ("(lambda: K @ q / d + H)()", {"d": 7, "H": 3}, "reads d (here 7) and H (here 3), "),
        ("K @ q / math.sqrt(SIZE)", {"SIZE": 7}, ""),  # a constant
        ("K @ q - inf", {"inf": math.inf}, ""),  # from math import inf
        ("K.shape[0] * q", {"shape": 7}, ""),  # an attribute of this name
        ("cut(K)", {"cut": lambda K: K}, ""),
        ("K @ q", {"d": 7}, ""),
    ],
)
def test_a_number_from_another_cell_is_told(body: str, outside: dict, said: str):
    result = checks.EXERCISES["lesson02.scores"](a_notebook(READS.format(body), **outside))
    assert result.passed is False and (f"Your function {said}" if said else "failed") in f"{result} failed"
    assert said or "Your function reads" not in str(result)


def test_a_number_from_another_cell_is_no_mistake():
    check = checks.EXERCISES["lesson02.scores"]
    assert check(a_notebook(READS.format("K @ q / len(q) ** half"), half=0.5)).passed is True
    said = str(check(a_notebook(READS.format("K @ q * one"), one=1.0)))  # wrong, and it is known why
    assert "This looks like: no scaling" in said and "Your function reads" not in said


def test_forbidden_calls_are_noticed_however_they_are_made():
    z, names = torch.zeros(3), frozenset({"softmax"})
    functions = [torch.softmax, torch.nn.functional.softmax, torch.Tensor.softmax]
    assert all(call(f, (z, 0), Allowance(1.0), names).forbidden == ["softmax"] for f in functions)
    assert call(torch.nn.Softmax(dim=0), (z,), Allowance(1.0), names).forbidden == ["softmax"]
    assert not call(torch.exp, (z,), Allowance(1.0), names).forbidden
    smoothing = frozenset({"cross_entropy(label_smoothing)"})
    for criterion in (torch.nn.CrossEntropyLoss, lambda **more: partial(torch.nn.functional.cross_entropy, **more)):
        row = (z[None], torch.tensor([0]))
        assert call(criterion(label_smoothing=0.1), row, Allowance(1.0), smoothing).forbidden == [
            "cross_entropy(label_smoothing)"
        ]
        assert not call(criterion(), row, Allowance(1.0), smoothing).forbidden
    ignore, row = frozenset({"cross_entropy(ignore_index)"}), (z[None], torch.tensor([0]))
    ignoring = partial(torch.nn.functional.cross_entropy, ignore_index=-1)
    assert call(ignoring, row, Allowance(1.0), ignore).forbidden == ["cross_entropy(ignore_index)"]
    assert not call(torch.nn.functional.cross_entropy, row, Allowance(1.0), ignore).forbidden
    from utils.attention import attention

    assert call(attention, (z[None],) * 3, Allowance(1.0), COURSE).forbidden == ["utils.attention.attention"]
    from utils.training import schedule

    assert call(schedule, (0.5, 1, 2, 0.5), Allowance(1.0), COURSE).forbidden == ["utils.trainer.schedule"]

    def by_sacrebleu(candidate, reference, n):
        from sacrebleu.metrics import BLEU

        return BLEU().corpus_score([" ".join(candidate)], [[" ".join(reference)]]).precisions[n - 1] / 100

    assert "your function calls sacrebleu." in str(checks.EXERCISES["lesson08.ngram_precision"](by_sacrebleu))


def test_a_ledger_counts_operations_and_the_largest_tensor_but_no_views():
    x = torch.zeros(50, 4)
    with Ledger() as spent:
        x.T[:, :3].unsqueeze(0).expand(9, 4, 3)
    assert (spent.calls, spent.largest) == (0, 0)
    with Ledger() as spent:
        x[:5] @ x[:2].T
        x[0] + 1
    assert (spent.calls, spent.largest) == (2, 10)


def test_a_ledger_counts_views_bytes_and_what_is_read_of_its_inputs():
    x, y = torch.zeros(50, 4), torch.zeros(4)
    with Ledger([x, y]) as spent:
        x[:5].mv(y)
        x[:2] * 2
    assert (spent.views, spent.read) == (2, [28, 4])
    assert spent.bytes == 4 * (20 + 4 + 5) + 4 * (8 + 8)


def test_a_second_reading_of_the_keys_is_remarked_on_and_passes():
    for answer in answers("lesson03.online_attention"):
        passed, text = checks.EXERCISES["lesson03.online_attention"].examine(answer, 0)
        assert passed and ("more than once" in text) is (answer.__name__ == "online_in_two_rounds"), text


def test_the_course_is_called_by_names_that_a_page_can_show():
    def by_the_course(X, Wq, Wk, Wv, Wo, n_heads):
        layer = importlib.import_module("utils.attention").MultiHeadAttention(X.shape[-1], n_heads)
        return layer(X)

    said = checks.EXERCISES["lesson04.multi_head_attention"].examine(by_the_course, 0)[1]
    assert "your function calls utils.attention.MultiHeadAttention. Write" in said


def test_a_ledger_counts_what_is_held_at_one_moment():
    x = torch.zeros(50, 4)
    with Ledger() as spent:
        for row in x:
            row + 1
    assert spent.held <= 8, "what is forgotten does not count"
    with Ledger() as spent:
        kept = [row + 1 for row in x]
    assert len(kept) == 50 and 200 <= spent.held <= 204


def test_a_list_of_all_blocks_is_told():
    """What `parts = [digest(...) ...]` holds together grows with n, though every tensor is small."""

    def in_a_list(q, K, V, block):
        scores = [K[i : i + block] @ q / math.sqrt(len(q)) for i in range(0, len(K), block)]
        peak = max(part.max() for part in scores)
        e = [torch.exp(part - peak) for part in scores]
        return sum(part @ V[i * block : (i + 1) * block] for i, part in enumerate(e)) / sum(part.sum() for part in e)

    said = str(checks.lesson03.online_attention(in_a_list))
    assert "in many small tensors" in said and "This looks like: all blocks are kept." in said


def total_of_rows():
    """An exercise that says what an answer may take: X (n, d) -> (d,)."""

    @exercise(stars=1)
    def total(X):
        return torch.stack([x.sum() for x in X.T])

    @total.cases
    def _(draw):
        return [(draw.small(2, 2),), (draw.normal(4, 3),)]

    @total.cost
    def _(draw):
        return (draw.normal(50, 2),), [
            (lambda spent: spent.largest < 50, "a copy of all rows is made."),
            (lambda spent: spent.calls < 50, "it goes row by row."),
        ]

    @total.mistake("two sums", "Once is enough.")
    def _(X):
        return 2 * X.sum(0)

    @total.mistake("a copy", "Leave the rows where they are.")
    def _(X):
        return X.clone().sum(0)

    @total.mistake("a loop", "One sum is enough.")
    def _(X):
        return sum(x + 0 for x in X)

    return total


def test_an_answer_that_takes_too_much_is_told_and_named():
    total = total_of_rows()
    assert total(lambda X: X.sum(0)).passed is True
    for wasteful in (lambda X: X.clone().sum(0), lambda X: (X + 0).sum(0), lambda X: sum(x for x in X.clone())):
        said = str(total(wasteful))
        assert "the values are right, but a copy of all rows is made." in said
        assert said.endswith("This looks like: a copy. Leave the rows where they are.")
    said = str(total(lambda X: sum(x * 1 for x in X)))
    assert "it goes row by row." in said and said.endswith("This looks like: a loop. One sum is enough.")
    assert "This looks like: two sums" in str(total(lambda X: 2 * X.clone().sum(0))), "values come first"
    assert "in a large one: this case can be computed, but it stopped with ValueError" in str(total(only_short))
    assert "✗ total: this case can be computed, but it stopped with ValueError: too short" in str(total(only_long))
    assert total(total.oracle).passed is True


def only_short(X):
    if len(X) > 10:
        raise ValueError("too long")
    return X.sum(0)


def only_long(X):
    if len(X) < 10:
        raise ValueError("too short")
    return X.sum(0)


def test_a_forgotten_error_does_not_hide_a_mistake():
    """A wrong value is diagnosed even if the answer also stops on another case, or lacks the ValueError."""
    check = checks.EXERCISES["lesson01.layers_needed"]
    for answer in (
        lambda n, kernel: (n - 1) // (kernel - 1),  # stops with ZeroDivisionError on (1, 1)
        lambda n, kernel: (n - 1) // max(kernel - 1, 1),  # says nothing about (5, 1)
    ):
        assert "This looks like: rounded down." in str(check(answer)), str(check(answer))


def test_a_forbidden_call_that_is_wrong_as_well_is_diagnosed():
    def by_pytorch(logits, target, eps, pad_id):
        criterion = torch.nn.CrossEntropyLoss(label_smoothing=eps, ignore_index=pad_id)
        return criterion(logits.reshape(-1, logits.shape[-1]), target.reshape(-1))

    result = str(checks.EXERCISES["lesson08.label_smoothed_loss"](by_pytorch))
    assert "calls cross_entropy(label_smoothing)" in result and "This looks like: eps / V everywhere" in result
    assert "a fine way to test your own" not in result


def test_a_gradient_that_cannot_be_computed_is_told():
    """`exp` remembers its result for the gradient, and `+=` overwrites it."""

    def overwrites(z):
        powers = (z - z.max()).exp()
        total = powers.sum()
        shares = powers * 1.0
        powers += 1.0
        return shares / total

    result = checks.EXERCISES["lesson02.softmax"](overwrites)
    assert result.passed is False and "no gradient can be computed: torch says 'one of the variables" in str(result)


def test_a_gradient_that_is_nan_is_told():
    @exercise(stars=1)
    def root(x):
        return torch.stack([y.sqrt() if y > 0 else 0 * y for y in x])

    root.cases(lambda draw: [(torch.tensor([0.0, 4.0]),)])
    assert root(lambda x: torch.where(x > 0, x.where(x > 0, torch.ones_like(x)).sqrt(), 0)).passed is True
    assert "reaches x is NaN" in str(root(lambda x: torch.where(x > 0, x.sqrt(), 0)))


def test_where_no_tensor_goes_in_any_floating_dtype_may_come_out():
    check = checks.EXERCISES["lesson05.shift_matrix"]
    for dtype, good in ((torch.float32, True), (torch.float64, True), (torch.int64, False)):
        result = check(lambda d_model, offset, dtype=dtype: check.oracle(d_model, offset).to(dtype))
        assert result.passed is good and ("wrong dtype" in str(result)) != good


def test_a_wrong_shape_among_several_results_is_told_with_its_number():
    said = str(checks.EXERCISES["lesson05.split_projection"](lambda W, d_x: (W[:, :d_x], W[:, d_x - 1 :])))
    assert "result 2 of 2: wrong shape: (2, 3) is wanted, and yours is (2, 4)" in said


def test_a_dtype_or_a_layout_in_memory_is_told_without_the_numbers():
    check = checks.EXERCISES["lesson04.merge_heads"]
    said = str(check(lambda X: check.oracle(X).float()))
    assert "with float64: wrong dtype: torch.float64 is wanted" in said and "X =" not in said
    said = str(check(lambda X: check.oracle(X) if X.is_contiguous() else X.view(-1)))
    assert "with inputs not contiguous in memory: it stopped with RuntimeError" in said and "X =" not in said
    said = str(check(lambda X: check.oracle(X) if X.is_contiguous() else X.view(-1).to(X.dtype)))
    assert "it stopped with RuntimeError" in said and "takes it from an input" not in said  # the line says dtype


def test_the_courses_own_code_is_allowed_where_it_is_not_the_answer():
    from utils.attention import attention, merge_heads, split_heads

    def multi_head(X, Wq, Wk, Wv, Wo, n_heads):
        return merge_heads(attention(*(split_heads(X @ W, n_heads) for W in (Wq, Wk, Wv)))[0]) @ Wo

    def importance(X, Wq, Wk, Wv, Wo, n_heads):
        bands = torch.eye(len(Wo)).to(Wo).reshape(n_heads, -1, len(Wo))
        return torch.stack([multi_head(X, Wq, Wk, Wv, band.T @ band @ Wo, n_heads).norm() for band in bands])

    assert "your function calls utils.attention." in str(checks.EXERCISES["lesson04.multi_head_attention"](multi_head))
    assert checks.EXERCISES["lesson04.head_importance"](importance).passed


def test_a_result_renders_itself():
    result = checks.EXERCISES["lesson02.scores"](lambda q, K: q < 1)
    assert "✗ scores: " in result._repr_html_()
    assert "a &lt; b" in Result(False, "a < b")._repr_html_()
    assert "word-break: normal; overflow-wrap: anywhere" in Result(False, "a")._repr_html_()
    assert repr(result) == str(result) and str(result).startswith("✗ scores: ")


def test_the_seed_repeats_a_failure():
    check = checks.EXERCISES["lesson02.attend"]
    assert str(check(gives_nan, seed=3)) == str(check(gives_nan, seed=3))
    assert "seed=3" in str(check(gives_nan, seed=3))


def test_the_learners_random_numbers_are_left_alone():
    torch.manual_seed(0)
    wanted = torch.rand(1)
    torch.manual_seed(0)
    checks.EXERCISES["lesson02.attend"](gives_nan)
    assert torch.equal(torch.rand(1), wanted)


# ---- progress ----------------------------------------------------------------------------------------------


def test_progress_is_kept_and_forgotten(progress_file):
    check = checks.EXERCISES["lesson02.scores"]
    assert "○ scores" in str(checks.progress())
    check(gives_nan)
    assert "✗ scores" in str(checks.progress())
    check(check.oracle)
    check(gives_nan)
    assert "✓ scores" in str(checks.progress()), "passed once is passed"
    assert json.loads(progress_file.read_text())["lesson02.scores"] == {"passed": True, "tries": 3}
    checks.reset()
    assert "○ scores" in str(checks.progress()) and not progress_file.exists()


@pytest.mark.slow
def test_two_writers_lose_no_note(progress_file, tmp_path):
    checks.reset()
    there = {"TRANSFORMER_COURSE_PROGRESS": str(progress_file)}
    writers = [start(tmp_path / f"{name}.log", noting, name, 100, environment=there) for name in ("scores", "attend")]
    assert join(writers) == [0, 0]
    kept = record.read()
    assert {name: entry["tries"] for name, entry in kept.items()} == {"lesson02.scores": 200, "lesson02.attend": 200}


def test_where_nothing_can_be_locked_it_is_noted_all_the_same(progress_file, monkeypatch):
    import filelock

    def refused(*_, **__):
        raise NotImplementedError("no locks here")

    monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    assert attend(attend.oracle).passed is True
    assert json.loads(progress_file.read_text())["lesson02.attend"]["passed"] is True


@pytest.mark.parametrize("content", ["", "[]", "{", '{"lesson02.scores": 3}'])
def test_a_broken_progress_file_does_no_harm(progress_file, content: str):
    progress_file.write_text(content)
    assert checks.EXERCISES["lesson02.scores"](gives_nan).passed is False
    assert "✗ scores" in str(checks.progress())


def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRANSFORMER_COURSE_PROGRESS", str(tmp_path / "file" / "progress.json"))
    assert checks.EXERCISES["lesson02.scores"](gives_nan).passed is False
    assert "○ scores" in str(checks.progress())


def test_without_the_variable_the_file_is_in_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("TRANSFORMER_COURSE_PROGRESS")
    monkeypatch.setattr(record.Path, "home", lambda: tmp_path)
    assert record.path() == tmp_path / ".transformer-course" / "progress.json"


def test_a_gradient_cut_inside_a_tuple_is_told():
    check = checks.EXERCISES["lesson08.cached_step"]

    def detached(x, Wq, Wk, Wv, cache):
        return check.oracle(x, Wq, Wk, Wv, cache and tuple(old.detach() for old in cache))

    assert "no gradient comes back to cache" in str(check(detached))


def test_large_numbers_are_shown_in_full_and_small_ones_with_four_digits():
    shown = show(torch.tensor([[-30000.0, -30001.0, 0.0], [0.12345678, 12345678.0, -0.0]]))
    assert shown == "[[-30000, -30001, 0], [0.1235, 1.235e+07, 0]]"
