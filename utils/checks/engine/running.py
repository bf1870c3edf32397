"""Calls of a learner's function that cannot hurt: cut off in time, their errors caught, forbidden calls noticed."""

import _thread
import ctypes
import inspect
import linecache
import re
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from utils.checks.engine.messages import say

# What PyTorch warns of in a learner's function it would place here, where `Watch` hands the call on.
warnings.filterwarnings("ignore", category=UserWarning, module=re.escape(__name__))

WALL = 20.0  # seconds on the wall, for what sleeps or waits; without a clock per thread, for everything
CLOCK_PER_THREAD = hasattr(time, "pthread_getcpuclockid")


class TimeUp(BaseException):
    """Raised inside a call that takes too long. No `except Exception` stops it. Python makes it in that thread."""

    def __init__(self):
        if hasattr(here, "worker"):
            here.worker.interrupted = True


class GivenUp(TimeUp):
    """For a thread that catches `TimeUp` and goes on: it sleeps from here on."""

    def __init__(self):
        here.worker.sleeps = True
        while True:
            time.sleep(3600)


class NoThread(RuntimeError):
    """The machine refuses a thread: nobody's function is at fault."""


here = threading.local()  # in a worker's thread: the worker


@dataclass(frozen=True)
class Raised:
    """The outcome of a call that raised an error instead of returning a value."""

    kind: type
    message: str
    where: str = ""  # the line of the learner's function

    def __str__(self) -> str:
        return f"{self.kind.__name__}: {self.message}" if self.message else self.kind.__name__

    def with_line(self) -> str:
        """The error, and below it the line of the learner's code."""
        return say("{error}\nin the line: {line}", error=self, line=self.where) if self.where else str(self)


@dataclass
class Call:
    """The outcome of one call: a value or `Raised`, and which forbidden functions were used on the way."""

    outcome: object = None
    forbidden: list[str] = field(default_factory=list)
    waited: bool = False  # where the time was up: on the wall, not in computing

    @property
    def timed_out(self) -> bool:
        return isinstance(self.outcome, Raised) and self.outcome.kind is TimeUp


@dataclass
class Allowance:
    """What the calls of a check may take together: computing time of their own threads, and time on the wall."""

    seconds: float
    wall: float = field(default_factory=lambda: WALL)


class Watch(TorchFunctionMode):
    """Notes calls of torch functions and methods by name (`softmax`), others by module and name (`sacrebleu.`).

    `cross_entropy(label_smoothing)` is noted where that number is given, and is not PyTorch's own.
    """

    def __init__(self, forbidden: frozenset[str], seen: list[str]):
        super().__init__()
        self.forbidden, self.seen = forbidden, seen
        self.modules = tuple(name for name in forbidden if "." in name)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        numbers = [key for key, x in kwargs.items() if type(x) in (int, float) and x not in (0, -100)]  # no defaults
        given = [f"{name}({key})" for key in numbers]
        self.seen += [used for used in (name, *given) if used in self.forbidden]
        return func(*args, **kwargs)

    def profile(self, frame, event):
        if event == "call" and self.modules:
            called = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)  # Python 3.10 has only the second
            name = f"{frame.f_globals.get('__name__')}.{called.removesuffix('.__init__')}"
            if name.startswith(self.modules) and "<" not in called:  # a page would take <lambda> for a tag
                self.seen.append(name)


class Ledger(TorchDispatchMode):
    """Counts the operations inside a `with` block, and apart from them the views, which move no numbers.

    Of the operations also the bytes that they read and make, the largest tensor made, the most numbers held at one
    moment, and of each of `inputs` the numbers that were read. Lesson 03, "Count again: bytes and calls".
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch asks. A yes would load its compiler, which takes longer than a check may."""
        return False

    def __init__(self, inputs=()):
        super().__init__()
        self.calls = self.views = self.bytes = self.largest = self.held = 0
        self.alive, self.now = {}, 0
        self.places = [x.untyped_storage().data_ptr() for x in inputs if isinstance(x, Tensor)]
        self.read = [0] * len(self.places)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.is_view:
            self.views += 1
        else:
            given, made = ([x for x in tree_leaves(some) if isinstance(x, Tensor)] for some in ((args, kwargs), result))
            self.calls += 1
            self.bytes += sum(x.nbytes for x in given + made)
            for x in given if self.places else ():
                if (place := x.untyped_storage().data_ptr()) in self.places:
                    self.read[self.places.index(place)] += x.numel()
            self.largest = max([self.largest, *(x.numel() for x in made)])
            for x in made:
                if id(x) not in self.alive:
                    self.alive[id(x)] = weakref.ref(x, partial(self._gone, id(x), x.numel()))
                    self.now += x.numel()
            self.held = max(self.held, self.now)
        return result

    def _gone(self, key: int, numbers: int, _) -> None:
        if self.alive.pop(key, None):
            self.now -= numbers


def call(
    function: Callable,
    arguments: tuple,
    allowance: Allowance,
    forbidden: frozenset[str] = frozenset(),
    ledger: Ledger | None = None,
) -> Call:
    """Call the function in a thread of its own, within the allowance, or until the learner interrupts.

    An endless Python loop is ended by an exception raised inside the thread, which works on Linux, macOS and Windows.
    A thread that cannot be ended is left behind: it sleeps, or waits for the C function that it called.
    """
    worker = Worker(function, arguments, forbidden, ledger)
    try:
        worker.thread.start()
    except RuntimeError as error:
        raise NoThread(str(error)) from None
    begun = time.monotonic()
    try:
        # One thread computes for at most as long as it is waited for: no need to look more often.
        while worker.thread.is_alive() and (left := worker.left(allowance, begun)) > 0:
            worker.thread.join(max(left, 0.01))
        in_time = not worker.thread.is_alive()
    finally:
        worker.end()
    allowance.seconds -= worker.seconds()
    allowance.wall -= time.monotonic() - begun
    return worker.done if in_time else Call(Raised(TimeUp, ""), worker.done.forbidden, allowance.seconds > 0)


class Worker:
    def __init__(self, function: Callable, arguments: tuple, forbidden: frozenset[str], ledger: Ledger | None):
        self.function, self.arguments, self.ledger = function, arguments, ledger
        self.done = Call(Raised(TimeUp, ""))
        self.watch = Watch(forbidden, self.done.forbidden)
        self.clock, self.spent = None, 0.0
        self.interrupted = self.given_up = self.sleeps = self.over = False
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self) -> None:
        with suppress(TimeUp):  # one that comes late
            here.worker = self
            if CLOCK_PER_THREAD:
                self.clock = time.pthread_getcpuclockid(threading.get_ident())
            try:
                sys.setprofile(self.profile)
                with self.watch if self.watch.forbidden else nullcontext(), self.ledger or nullcontext():
                    self.done.outcome = self.function(*self.arguments)
            except TimeUp:
                pass
            except BaseException as error:  # whatever a learner's code raises, SystemExit too, is told, not passed on
                sys.setprofile(None)
                message = str(error).strip().split("\n")[0]
                self.done.outcome = Raised(type(error), message, _line_of(error, self.function))
            sys.setprofile(None)
            self.spent, self.over = self.seconds(), True

    def profile(self, frame, event, argument) -> None:
        """Python calls this at every call and return in the thread, those of C functions too."""
        if self.given_up:  # what it waited for has come: now it can be ended
            self.given_up = False
            with suppress(RuntimeError):
                _thread.start_new_thread(self.end, ())
        self.watch.profile(frame, event)

    def seconds(self) -> float:
        """How long the thread has computed; 0 where there is no clock per thread."""
        try:
            return time.clock_gettime(self.clock) if self.clock is not None else self.spent
        except OSError:  # it is over
            return self.spent

    def left(self, allowance: Allowance, begun: float) -> float:
        wall = begun + allowance.wall - time.monotonic()
        return min(wall, allowance.seconds - self.seconds()) if CLOCK_PER_THREAD else wall

    def end(self) -> None:
        """Raise `TimeUp` in the thread; if it catches that and goes on, `GivenUp`.

        A thread that waits in C gets neither: Python keeps an exception until the wait is over, and as long as one is
        kept, Python 3.11 lets no thread with a profile function begin a call. `profile` will see the end of the wait.
        """
        until, pending, last = time.monotonic() + 1.0, False, False
        while self.can_be_ended() and (now := time.monotonic()) < until:
            before = self.seconds()
            self.thread.join(0.02)
            computes = self.seconds() > before or not CLOCK_PER_THREAD
            if computes and self.can_be_ended() and not last:
                last = self.interrupted and now > until - 0.5
                _raise_in(self.thread.ident, GivenUp if last else TimeUp)
                pending = True
        self.given_up = self.can_be_ended()
        if self.given_up and pending:
            _raise_in(self.thread.ident, None)
            _forget_what_is_pending()

    def can_be_ended(self) -> bool:
        return self.thread.is_alive() and not self.over and not self.sleeps


def _raise_in(thread: int, kind: type[TimeUp] | None) -> None:
    """At the thread's next step in Python (None: no longer). Its number is an unsigned long on every system."""
    kind = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), kind)


def _forget_what_is_pending() -> None:
    """Python 3.11 and 3.12 take back an exception, and not the mark that one is pending; raising one takes that off."""
    with suppress(TimeUp):
        _raise_in(threading.get_ident(), TimeUp)
        for _ in range(1000):
            pass


def _line_of(error: BaseException, function: Callable) -> str:
    """The last line of the learner's own file or cell on the way to the error."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if code and frame.filename == code.co_filename
    ]
    return (frames[-1].line or linecache.getline(frames[-1].filename, frames[-1].lineno)).strip() if frames else ""
