"""Devices, precision, seeds, threads; and what `import utils` costs."""

import itertools
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
import torch

from utils import runtime
from utils.config import ROOT
from utils.runtime import (
    ahead,
    autocast,
    computing_seconds,
    has_fast_bfloat16,
    in_parallel,
    out_of_memory,
    pick_device,
    seed_everything,
    set_threads,
)

CPU = torch.device("cpu")


def test_the_device_named_or_the_best_there_is():
    assert pick_device("cpu") == CPU
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")  # MPS only when asked for


def test_devices_that_are_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "mps"):
        with pytest.raises(ValueError, match=f"'{name}' is not available on this machine; 'cpu' always is"):
            pick_device(name)
    with pytest.raises(ValueError, match="no device called 'gpu'; say 'cpu', 'cuda' or 'mps'"):
        pick_device("gpu")


def test_each_process_of_torchrun_takes_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert pick_device() == pick_device("cuda") == torch.device("cuda:0")  # torch.cuda.set_device wants the index
    monkeypatch.setenv("WORLD_SIZE", "6")  # on three machines
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device() == pick_device("cuda") == torch.device("cuda:1")
    assert pick_device("cpu") == CPU
    with pytest.raises(
        ValueError, match="all processes of this machine on one GPU: say 'cuda', and each takes its own"
    ):
        pick_device("cuda:0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")  # on six machines
    assert pick_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ValueError, match="not on 'mps'"):
        pick_device("mps")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="no GPU number 2: this machine has 2. Start one process per GPU"):
        pick_device()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="libgomp is Linux's")
@pytest.mark.parametrize(
    ("program", "environment", "spins"),
    [
        (["-m", "utils.training", "--help"], {}, "5000"),
        (["-c", "import utils, torch"], {"GOMP_SPINCOUNT": "7"}, "7"),
        (["-c", "import utils, torch"], {"OMP_WAIT_POLICY": "PASSIVE"}, "0"),
    ],
)
def test_waiting_threads_spin_for_a_moment_unless_the_user_says_otherwise(program, environment, spins):
    """OpenMP itself tells what it has read when PyTorch loads it."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = inherited | environment | {"OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run([sys.executable, *program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr, done.stderr


def test_precision_of_matrix_products():
    a = torch.ones(2, 2)
    with autocast(CPU, "float32"):
        assert (a @ a).dtype == torch.float32
    with autocast(CPU, "bfloat16"):
        assert (a @ a).dtype == torch.bfloat16


@pytest.mark.parametrize("known", [True, False])
def test_bfloat16_is_fast_where_the_hardware_has_it(known, monkeypatch):
    """PyTorch says yes of older GPUs, too, which make it from other operations, slowly."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or known)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: known)
    monkeypatch.setattr(runtime, "product_seconds", lambda dtype: 1.0 if dtype == torch.bfloat16 else 1.5)
    assert has_fast_bfloat16(torch.device("cuda")) == has_fast_bfloat16(CPU) == known
    assert not has_fast_bfloat16(torch.device("mps"))


def test_bfloat16_instructions_that_are_slow_are_not_fast(monkeypatch):
    """Seen on an Intel Xeon with AVX-512 BF16: half the rate of float32."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(runtime, "product_seconds", lambda dtype: 2.0 if dtype == torch.bfloat16 else 1.0)
    assert not has_fast_bfloat16(CPU)
    monkeypatch.undo()
    assert 0 < runtime.product_seconds(torch.float32, n=8) < 1


def test_the_same_seed_gives_the_same_numbers():
    drawn = []
    for seed in (3, 3, 4):
        seed_everything(seed)
        drawn.append((random.random(), torch.rand(2).tolist()))
    assert drawn[0] == drawn[1] != drawn[2]


def test_threads():
    before = torch.get_num_threads()
    assert set_threads(1) == torch.get_num_threads() == 1
    for n in (0, -1, 100_000, os.cpu_count() + 1):
        with pytest.raises(ValueError, match=f"threads is {n}; it must be a whole number from 1 to {os.cpu_count()}, "):
            set_threads(n)
    assert torch.get_num_threads() == 1
    set_threads(before)


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("items", "together", "each"), [(9, 4, 1), (2, 2, 2), (1, 1, 4), (0, 0, 0)])
def test_items_share_out_the_threads(four_threads, items, together, each):
    """As many at a time as there are threads, no more threads than there are, answers in the items' order."""
    everyone = threading.Barrier(max(together, 1))

    def work(item):
        if item < together:
            everyone.wait(timeout=30)  # passed only if so many are at work at the same time
        return item, threading.get_ident(), torch.get_num_threads()

    found = in_parallel(work, iter(range(items)), CPU)
    assert [item for item, _, _ in found] == list(range(items))
    assert {threads for _, _, threads in found} == ({each} if items else set())
    assert len({thread for _, thread, _ in found}) == together
    assert torch.get_num_threads() == 4
    after = []
    thread = threading.Thread(target=lambda: after.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert after == [4], "nor is a new thread left with fewer"


def test_one_item_after_the_other_where_the_device_is_busy_with_one(four_threads):
    assert {*in_parallel(lambda _: threading.get_ident(), range(5), torch.device("cuda"))} == {threading.get_ident()}


def test_an_error_of_an_item_is_raised_and_the_rest_left(four_threads):
    begun = []

    def work(item):
        begun.append(item)
        if item == 1:
            raise ZeroDivisionError("of item 1")
        time.sleep(0.05)

    with pytest.raises(ZeroDivisionError, match="of item 1"):
        in_parallel(work, range(1000), CPU)
    assert len(begun) < 100 and torch.get_num_threads() == 4


def test_items_are_made_ahead_in_order_and_not_without_end():
    made = []

    def items():
        for i in range(7):
            made.append((i, threading.get_ident()))
            yield i

    found = ahead(items(), 3)
    assert next(found) == 0
    wait_until(lambda: len(made) == 4)  # three more are waiting, and no fifth is made
    time.sleep(0.02)
    assert len(made) == 4 and [*found] == [1, 2, 3, 4, 5, 6]
    (maker,) = {thread for _, thread in made}
    assert maker != threading.get_ident()
    assert [*ahead([])] == []


def wait_until(condition):
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)


def test_an_error_of_an_item_made_ahead_comes_in_its_turn():
    def items():
        yield "first"
        raise ZeroDivisionError("of the second")

    found = ahead(items())
    assert next(found) == "first"
    with pytest.raises(ZeroDivisionError, match="of the second"):
        next(found)


def test_closing_what_is_made_ahead_ends_its_thread():
    before = threading.active_count()
    with closing(ahead(itertools.count())) as found:
        assert next(found) == 0 and threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_memory_that_is_too_small_is_told_from_other_errors():
    for size in (2**50, 2**62):
        with pytest.raises(RuntimeError) as caught:
            torch.empty(size)
        assert out_of_memory(caught.value)
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2) @ torch.ones(3)
    assert not out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory.")) and out_of_memory(MemoryError())


def test_the_clock_counts_computing():
    start = computing_seconds(CPU)
    torch.ones(300, 300) @ torch.ones(300, 300)
    assert computing_seconds(CPU) > start


@pytest.mark.slow
def test_importing_the_package_loads_nothing_heavy():
    """Drawing, scoring, cutting and converting load when first used, not when a lesson begins."""
    code = """
import sys
import utils
heavy = {"matplotlib", "seaborn", "sacrebleu", "opencc", "tokenizers", "safetensors", "pandas"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
assert "torch" not in sys.modules
utils.load_translator
import utils.training
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_front_door_is_all_there_is():
    import utils

    assert utils.load_translator.__module__ == "utils.translate"
    with pytest.raises(AttributeError, match="no attribute 'load_model'"):
        _ = utils.load_model
