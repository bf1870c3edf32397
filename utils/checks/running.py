"""Calls of a learner's function that cannot hurt: cut off in time, their errors caught, forbidden calls noticed."""

import ctypes
import inspect
import linecache
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TimeUp(BaseException):
    """Raised inside a call that takes too long. No `except Exception` stops it."""


class GivenUp(TimeUp):
    """For a thread that catches `TimeUp` and goes on. Python makes the exception in that thread: there it sleeps."""

    def __init__(self):
        while True:
            time.sleep(3600)


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
        return f"{self}\nin the line: {self.where}" if self.where else str(self)


@dataclass
class Call:
    """The outcome of one call: a value or `Raised`, and which forbidden functions were used on the way."""

    outcome: object = None
    forbidden: list[str] = field(default_factory=list)


class Watch(TorchFunctionMode):
    """Notes calls of torch functions and methods by name (`softmax`), others by module and name (`sacrebleu.`).

    `cross_entropy(label_smoothing)` is noted where that number is given, and not 0.
    """

    def __init__(self, forbidden: frozenset[str], seen: list[str]):
        super().__init__()
        self.forbidden, self.seen = forbidden, seen
        self.modules = tuple(name for name in forbidden if "." in name)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        given = [f"{name}({key})" for key, value in kwargs.items() if isinstance(value, float) and value]
        self.seen += [used for used in (name, *given) if used in self.forbidden]
        return func(*args, **kwargs)

    def profile(self, frame, event, argument):
        if event == "call":
            name = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}"
            if name.startswith(self.modules):
                self.seen.append(name)


class Ledger(TorchDispatchMode):
    """Counts the operations inside a `with` block, views apart, and the numbers in the largest tensor they make."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch asks. A yes would load its compiler, which takes longer than a check may."""
        return False

    def __init__(self):
        super().__init__()
        self.calls, self.largest = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.calls += 1
            self.largest = max([self.largest, *(x.numel() for x in tree_leaves(result) if isinstance(x, Tensor))])
        return result


def call(
    function: Callable,
    arguments: tuple,
    seconds: float,
    forbidden: frozenset[str] = frozenset(),
    ledger: Ledger | None = None,
) -> Call:
    """Call the function in a thread of its own, for at most so many seconds, or until the learner interrupts.

    An endless Python loop is ended by an exception raised inside the thread, which works on Linux, macOS and Windows.
    A thread that cannot be ended is left behind: it sleeps, or waits for the C function that it called.
    """
    done = Call(Raised(TimeUp, ""))
    watch = Watch(forbidden, done.forbidden)

    def work():
        try:
            if watch.modules:
                sys.setprofile(watch.profile)
            with watch if forbidden else nullcontext(), ledger or nullcontext():
                done.outcome = function(*arguments)
        except TimeUp:
            pass
        except BaseException as error:  # whatever a learner's code raises, SystemExit too, is told and not passed on
            sys.setprofile(None)
            done.outcome = Raised(type(error), str(error).strip().split("\n")[0], _line_of(error, function))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join(max(seconds, 0.01))
    finally:
        _end(thread)
    return Call(Raised(TimeUp, ""), done.forbidden) if thread.is_alive() else done


def _end(thread: threading.Thread) -> None:
    give_up = time.monotonic() + 0.5
    while thread.is_alive() and time.monotonic() < give_up:
        _raise_in(thread, TimeUp)
        thread.join(0.02)
    if thread.is_alive():
        _raise_in(thread, GivenUp)


def _raise_in(thread: threading.Thread, kind: type[TimeUp]) -> None:
    """At the thread's next step in Python. Its number is an unsigned long on every system."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(kind))


def _line_of(error: BaseException, function: Callable) -> str:
    """The last line of the learner's own file or cell on the way to the error."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if code and frame.filename == code.co_filename
    ]
    return (frames[-1].line or linecache.getline(frames[-1].filename, frames[-1].lineno)).strip() if frames else ""
