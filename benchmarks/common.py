"""What the benchmarks share: environments and processes of the peers, turns, medians, tables, records."""

import argparse
import contextlib
import functools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from statistics import median

import torch

from utils import provenance
from utils.config import ROOT

BENCH = ROOT / ".bench"  # not in git: the peers' environments, and what passes between processes
RESULTS = ROOT / "benchmarks/results"
CPU = torch.device("cpu")

# Where a peer's program runs: the course's own environment, or one made from benchmarks/peers/NAME.txt.
ENVIRONMENTS = {"marian": "transformers", "x-transformers": "transformers", "joeynmt": "joeynmt"}
ENVIRONMENTS |= {"joeynmt-batches": "joeynmt"}
ENVIRONMENTS |= {f"ctranslate2{variant}": "ctranslate2" for variant in ("", "-patience2", "-int8")}

# The variables that say how idle threads wait; OpenMP reads them once, when torch loads.
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")


class PeerError(RuntimeError):
    """A peer cannot be installed or run; the message says why, and stands in the table in place of its numbers."""


# ------------------------------------------------------------------------------------------ environments


def last_line(text: str) -> str:
    """The last line that says something: where Python, pip and most programs tell what went wrong."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it gave no reason")[:200]


def environment(name: str) -> Path:
    """The Python of .bench/NAME, made from benchmarks/peers/NAME.txt unless that was done before.

    Like the Makefile's: the stamp is written last, and a changed list of packages makes the environment anew.
    """
    folder, wanted = BENCH / name, (ROOT / "benchmarks/peers" / f"{name}.txt").read_text(encoding="utf-8")
    python, stamp = folder / "bin/python", folder / "ready.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Setting up {folder.relative_to(ROOT)}: some minutes, only this once.", file=sys.stderr, flush=True)
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "-r"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [*pip, str(ROOT / "benchmarks/peers" / f"{name}.txt")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise PeerError(f"not installed: {last_line(done.stderr)}")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def refuse_unknown(names: Iterable[str], known: Collection[str], kind: str, where: str = "") -> None:
    """One sentence and the end where a name of the command line is not known."""
    for name in names:
        if name not in known:
            raise SystemExit(f"There is no {kind} called {name!r}{where}; there are {', '.join(known)}.")


def positive(text: str) -> int:
    """A number of a command line that counts something: ArgumentTypeError, one sentence, if it is not 1 or more."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on.")
    return int(text)


def chosen(peers: str, known: list[str]) -> list[str]:
    """The peers that a command line names, with commas; all must be known."""
    names = [name for name in peers.split(",") if name]
    refuse_unknown(names, known, "peer", where=" here")
    return names


def python_of(peer: str) -> Path:
    """The Python that runs a peer."""
    return environment(ENVIRONMENTS[peer]) if peer in ENVIRONMENTS else Path(sys.executable)


# ------------------------------------------------------------------------------------------ processes


def variables(threads: int, settings: dict[str, str]) -> dict[str, str]:
    """The environment variables of a process that is measured: so many threads, which wait as `settings` say.

    This process's own settings are left out: it has imported utils, which may have set some, and peers have not.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in WAITING}
    return inherited | {"OMP_NUM_THREADS": str(threads)} | settings


@functools.cache
def course_settings() -> dict[str, str]:
    """What `import utils` says of idle threads to a process whose user has said nothing."""
    code = f"import json, os, utils; print(json.dumps({{n: os.environ[n] for n in {WAITING} if n in os.environ}}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=variables(1, {}), capture_output=True, check=True)
    return json.loads(done.stdout)


class Worker:
    """A process that has a peer's model in memory and works when it is told to: a JSON line in, a JSON line back.

    Its threads wait as they do for the peer's users, unless `settings` say otherwise. `about` is its first line:
    versions and sizes. Raises PeerError when the process says no more.
    """

    def __init__(self, peer: str, module: str, job: Path, threads: int, settings: dict[str, str] | None = None):
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        if settings is None:
            settings = course_settings() if peer.startswith("ours") else {}
        env = variables(threads, settings)
        command = [str(python_of(peer)), "-m", module, peer, str(job)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, stderr=self.log, text=True)
        try:
            self.about = self.answer()
        except PeerError:
            self.close()
            raise

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            raise PeerError(f"stopped: {last_line(self.log.read())}")
        return json.loads(line)

    def send(self, task: dict) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died: answer() says of what
            self.process.stdin.write(json.dumps(task) + "\n")
            self.process.stdin.flush()

    def ask(self, task: dict) -> dict:
        self.send(task)
        return self.answer()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # what it died before reading
            self.process.stdin.close()
        self.log.close()


@contextlib.contextmanager
def at_work(names: list[str], module: str, job: Path, threads: int) -> Iterator[tuple[dict, dict]]:
    """A worker of each name, and for each that could not be started the reason; all are closed in the end.

    If it is "ours" that could not, there is nothing to compare with: one sentence and the end.
    """
    workers, failed = {}, {}
    try:
        for name in names:
            say(f"starting {name}")
            try:
                workers[name] = Worker(name, module, job, threads)
            except PeerError as error:
                failed[name] = str(error)
                say(f"{name}: {error}")
        if "ours" in failed:
            raise SystemExit(f"Nothing to compare with, our own program {failed['ours']}")
        yield workers, failed
    finally:
        for worker in workers.values():
            worker.close()


def take_turns(
    workers: dict[str, Worker], failed: dict[str, str], task: dict, rounds: int, warmup: int = 1
) -> dict[str, list[dict]]:
    """Every worker does the task once a round, one at a time, another one first each round: answers by worker.

    Whatever else the machine does then slows all of them alike. The answers of the first `warmup` rounds are left out.
    A worker that fails moves to `failed`.
    """
    answers: dict[str, list[dict]] = {name: [] for name in workers}
    for round_ in range(warmup + rounds):
        names = list(workers)
        first = round_ % len(names) if names else 0
        for name in names[first:] + names[:first]:
            try:
                answer = workers[name].ask(task)
            except PeerError as error:
                failed[name] = str(error)
                workers.pop(name).close()
                del answers[name]
                say(f"{name}: {error}")
                continue
            if round_ >= warmup:
                answers[name].append(answer)
        say(f"round {round_ + 1} of {warmup + rounds}")
    return answers


def say(line: str) -> None:
    """Progress, apart from the tables."""
    print(f"  {line}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------ clocks and floors


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long one call takes, until the device has really done it: CUDA only queues what it is told."""
    if device.type == "cuda":
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize(device)
        return begin.elapsed_time(end) / 1000
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def attention_flops(query, key, value, *_, backward: bool = False, **__) -> int:
    """Operations of a fused attention, from the shapes (B, H, T, D): two products forwards, five backwards.

    PyTorch's own formula, for the CPU's kernel, which its counter does not know. A causal mask halves none of it.
    """
    (batch, heads, n_queries, d), n_keys, d_value = query, key[2], value[3]
    per_pair = 3 * d + 2 * d_value if backward else d + d_value
    return 2 * batch * heads * n_queries * n_keys * per_pair


def flops(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and attentions in one call; element-wise work not counted."""
    from torch.utils.flop_counter import FlopCounterMode

    aten = torch.ops.aten
    mapping = {
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: attention_flops(q, k, v),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, q, k, v, *_, **__: attention_flops(
            q, k, v, backward=True
        ),
    }
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        work()
    return counter.get_total_flops()


# Operations of PyTorch by what they do, for `profile`; none of them calls another one of the list.
KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm"),
    "fused attention": (
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
    ),
    "softmax and choice": ("_softmax", "_log_softmax", "_softmax_backward_data", "exp", "logsumexp", "topk", "argmax"),
    "copies": ("copy_", "cat", "index", "index_select", "gather", "fill_", "index_fill_", "masked_fill_"),
    "norms": ("native_layer_norm", "native_layer_norm_backward"),
    "sums, relu, dropout": ("add", "add_", "sub", "mul", "mul_", "div", "clamp_min", "threshold_backward", "sum", "ge"),
    "random numbers": ("random_",),
    "optimizer": ("_fused_adamw_", "_foreach_norm", "_foreach_mul_", "_foreach_lerp_"),
}


def profile(work: Callable[[], object]) -> dict[str, float]:
    """Seconds of one call of `work` on this thread by kind of operation; "the rest" is other operations and Python."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    with profiler(activities=[ProfilerActivity.CPU]) as seen:
        began = time.perf_counter()
        work()
        spent = time.perf_counter() - began
    own = {event.key.removeprefix("aten::"): event.self_cpu_time_total / 1e6 for event in seen.key_averages()}
    found = {kind: sum(own.get(name, 0.0) for name in names) for kind, names in KINDS.items()}
    return found | {"the rest": max(0.0, spent - sum(found.values()))}


def shares(spent: dict[str, float]) -> str:
    """What `profile` found, in percent of all, the largest first."""
    total = sum(spent.values())
    ordered = sorted(spent.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{kind} {100 * value / total:.0f} %" for kind, value in ordered if value > 0.005 * total)


def gemm_rate(
    shapes: list[tuple[int, int, int]], dtype: torch.dtype, device: torch.device, patience: float = 0.3
) -> dict[str, float]:
    """Operations a second of (n, k) @ (k, m) for each shape, called "n x k x m": the best in `patience` seconds.

    Long enough to outlast the threads of whoever computed before, which spin for a moment before they sleep.
    """
    rates = {}
    for n, k, m in shapes:
        a, b = torch.randn(n, k, device=device, dtype=dtype), torch.randn(k, m, device=device, dtype=dtype)
        out = torch.empty(n, m, device=device, dtype=dtype)
        torch.mm(a, b, out=out)
        times, began = [], time.perf_counter()
        while not times or time.perf_counter() < began + patience:
            times.append(seconds(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), device))
        rates[f"{n} x {k} x {m}"] = 2 * n * k * m / min(times)
    return rates


# ------------------------------------------------------------------------------------------ numbers and files


def spread(values: list[float]) -> str:
    """Median, smallest and largest."""
    return f"{median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """How many times as fast as a peer we were, round by round; both are rates."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def slope(x: list[float], y: list[float]) -> float:
    """The exponent p of the power law y ~ x^p that fits best (least squares of the logarithms)."""
    u, v = [math.log(value) for value in x], [math.log(value) for value in y]
    mean_u, mean_v = sum(u) / len(u), sum(v) / len(v)
    return sum((a - mean_u) * (b - mean_v) for a, b in zip(u, v, strict=True)) / sum((a - mean_u) ** 2 for a in u)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def record(
    name: str, argv: list[str] | None, text: str, out: Path | None = None, device: torch.device = CPU, **found
) -> None:
    """Print the tables and write NAME.md and NAME.json: command, commit, machine, and all that was measured."""
    provenance.record(f"benchmarks.{name}", argv, (out or RESULTS) / f"{name}.json", found, text, device)
