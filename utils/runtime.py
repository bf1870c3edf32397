"""One place that knows about devices, precision, seeds and threads."""

import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import torch


def pick_device(name: str | None = None) -> torch.device:
    """The device to compute on: the one named, else CUDA where there is one, else the CPU.

    Of several processes that torchrun started, each takes the GPU of its local rank. Apple's MPS is used only when
    named: several kernels this course compares bit for bit differ there. Raises ValueError when the device is not
    there, or when several processes would share one GPU.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"There is no device called {name!r}; say 'cpu', 'cuda' or 'mps'.") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise ValueError(f"Device {name!r} is not available on this machine; 'cpu' always is.")
    if device.type == "mps" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("Several processes train on 'cpu' or 'cuda', not on 'mps'.")
    return with_index(device) if device.type == "cuda" else device


def with_index(device: torch.device) -> torch.device:
    """The GPU that "cuda" means in this process, as cuda:INDEX, which torch.cuda.set_device asks for."""
    world_size, index = int(os.environ.get("WORLD_SIZE", "1")), device.index
    if index is None:
        index = int(os.environ.get("LOCAL_RANK", "0")) if world_size > 1 else torch.cuda.current_device()
    elif int(os.environ.get("LOCAL_WORLD_SIZE", world_size)) > 1:
        raise ValueError(
            f"Device '{device}' would put all processes of this machine on one GPU: say 'cuda', and each takes its own."
        )
    if index >= torch.cuda.device_count():
        raise ValueError(
            f"There is no GPU number {index}: this machine has {torch.cuda.device_count()}. Start one process per GPU "
            "(torchrun --nproc-per-node), or say --device cpu."
        )
    return torch.device("cuda", index)


def autocast(device: torch.device, precision: str):
    """A context in which matrix products run in `precision`; parameters and sums stay float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32 ones: on GPUs that know it, on CPUs where a trial says so.

    A CPU that knows the instructions need not be faster with them (benchmarks/results/training.md: one is not).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not torch.cpu._is_avx512_bf16_supported():
        return False
    return product_seconds(torch.bfloat16) < 0.9 * product_seconds(torch.float32)


def product_seconds(dtype: torch.dtype, n: int = 512, times: int = 10) -> float:
    """The shortest time of a product of two n x n matrices on the CPU."""
    a, seconds = torch.ones(n, n, dtype=dtype), []
    for _ in range(times):
        started = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def utf8_output() -> None:
    """Print in UTF-8, whatever the terminal or the file that the output goes to prefers (Windows, ASCII locales)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not so in a notebook, whose output is UTF-8
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # file names may be no UTF-8


def seed_everything(seed: int) -> None:
    """Seed Python's and PyTorch's generators (NumPy's global one is never used in this package)."""
    random.seed(seed)
    torch.manual_seed(seed)


def set_threads(n: int | None = None) -> int:
    """Use `n` CPU threads, by default what OMP_NUM_THREADS says, else one a core; returns their number.

    Raises ValueError unless n is from 1 to the number of cores: more threads would only wait for one another.
    """
    cores = os.cpu_count() or 1
    if n is None and "OMP_NUM_THREADS" not in os.environ:
        n = cores
    if n is not None:
        if not 1 <= n <= cores:
            raise ValueError(f"threads is {n}; it must be a whole number from 1 to {cores}, this machine's cores.")
        torch.set_num_threads(n)
    return torch.get_num_threads()


# A forked process inherits PyTorch's pool of threads without the threads, and would wait for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def in_parallel(work: Callable, items: Iterable, device: torch.device) -> list:
    """[work(item) for item in items]; on a CPU as many items at a time as there are threads, which share them out.

    On two threads that was a little faster (benchmarks/results/decoding.md). On a GPU one item after the other. Give
    the longest first, or the last one may keep a single thread waiting. An error of any item is raised here when its
    turn comes and those that are running have ended; what has not begun by then does not begin.
    """
    items, threads = list(items), torch.get_num_threads()
    workers = min(threads, len(items)) if device.type == "cpu" else 1
    if workers <= 1:
        return [work(item) for item in items]
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,)) as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(threads)  # the number that threads still to come begin with is one for the whole process


def ahead(items: Iterable, n: int = 2) -> Iterator:
    """The same items, made up to `n` ahead of their use by a background thread.

    An error of making an item is raised when its turn comes. Close it (contextlib.closing) to end the thread: nothing
    more is made than what has been begun.
    """
    items, end = iter(items), object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        made = deque(pool.submit(next, items, end) for _ in range(n))
        while (item := made.popleft().result()) is not end:
            made.append(pool.submit(next, items, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's memory is too small; on a CPU PyTorch has no class of its own for it."""
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and ("DefaultCPUAllocator" in text or "Storage size calculation overflow" in text)
    )


def computing_seconds(device: torch.device) -> float:
    """A clock for training budgets: seconds this thread has computed on a CPU, seconds that have passed on a GPU.

    On a CPU that other programs share, two models given the same computing seconds had the same chance; two given the
    same time on the wall may not. On an idle machine both clocks agree.
    """
    return time.thread_time() if device.type == "cpu" else time.perf_counter()
