"""Several processes train as one does: same batches, same gradients, same steps; and when one dies, the others end."""

import json
import re
import sys
import time

import pytest
import torch
from helpers import forked
from helpers.tiny import SRC, TGT, without_key_biases
from helpers.together import KINDS, compare, new_trainer
from torch.testing import assert_close

from utils.batching import EpochBatches
from utils.distributed import all_equal, all_reduce, broadcast, data_parallel, is_main, rank, world_size
from utils.training import main

LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}


@pytest.fixture(autouse=True)
def loopback(monkeypatch):
    """Find one another without asking anybody for the name of this machine."""
    for name, value in LOOPBACK.items():
        monkeypatch.setenv(name, value)


# ------------------------------------------------------------------------------------------------------ shares


@pytest.mark.parametrize("size", [1, 2, 3, 30])
def test_shares_make_up_the_batch(size):
    """Every sentence is in one share, with its targets; a share without sentences teaches nothing."""
    data = EpochBatches(SRC, TGT, 40)
    for indices in data.indices(0):
        shares = [data.batch(indices, rank, size) for rank in range(size)]
        rows = [tgt[tgt != 0].tolist() for share in shares for tgt in share.tgt_out if tgt.any()]
        assert sorted(rows) == sorted([*TGT[i], 2] for i in indices)
        assert sum(share.n_targets for share in shares) == data.n_targets(indices) == data.batch(indices).n_targets
        assert all(len(share.src) >= 1 and share.src.any(1).all() for share in shares)


def test_alone_nothing_is_communicated():
    tensor, module = torch.tensor([1.5]), torch.nn.Linear(1, 1)
    assert is_main() and (rank(), world_size()) == (0, 1) and all_equal("anything")
    assert all_reduce(tensor) is tensor and broadcast(b"1") == b"1" and data_parallel(module) is module
    assert not torch.distributed.is_initialized()


# -------------------------------------------------------------------------------------- many processes are one


@pytest.fixture(scope="module", params=[pytest.param(n, marks=pytest.mark.slow) for n in (2, 3)])
def found(request, tmp_path_factory):
    """What `together.compare` found in two processes, and in three: a result of each process."""
    folder = tmp_path_factory.mktemp("together")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LOOPBACK.items():
            patch.setenv(name, value)
        processes = forked.start_together(request.param, folder, compare, folder)
        assert forked.join(processes) == [0] * request.param, (folder / "0.log").read_text()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_same_losses_and_weights_as_one_process(found, kind, accumulate):
    """Batches that do not divide evenly, and batches of fewer sentences than there are processes, among them."""
    one = new_trainer(kind, accumulate=accumulate, dropout=0.0, eval_minutes=0.0)
    sizes = {len(indices) for indices in one.data.indices(0)}
    assert 1 in sizes and any(n % len(found) for n in sizes - {1})
    one.fit(lambda _: {}, bar=False)
    for result in found:
        assert_close(result[kind, accumulate]["weights"], one.average, rtol=1e-7, atol=1e-8)
    history = found[0][kind, accumulate]["history"]
    keys = ("step", "epoch", "tokens")
    assert [[row[k] for k in keys] for row in history] == [[row[k] for k in keys] for row in one.progress.history]
    assert [r["train_nll"] for r in history] == pytest.approx([r["train_nll"] for r in one.progress.history], abs=2e-4)


def test_every_process_drops_others_and_all_keep_the_same_weights(found):
    """Given the same batch, they have different losses: the coins of dropout are each one's own."""
    first, *others = [result["same batch"] for result in found]
    for other in others:
        assert (first["nll"] - other["nll"]).abs() > 1e-3
        assert_close(other["weights"], first["weights"], rtol=0, atol=0)


def test_resumed_is_uninterrupted_to_the_last_bit(found):
    """With dropout; and one process that wants to stop, whichever it is, stops all, after the same step."""
    for result in found:
        assert result["stopped at"] == 5
        assert_close(result["resumed"], found[0]["uninterrupted"], rtol=0, atol=0)


def test_only_with_the_last_batch_of_a_step_do_gradients_travel(found):
    for result in found[1:]:
        assert (result["gradient", False] - found[0]["gradient", False]).abs().max() > 1e-3
        assert_close(result["gradient", True], found[0]["gradient", True], rtol=0, atol=0)


def test_one_processs_infinite_loss_ends_them_all_and_is_applied_by_none(found):
    for result in found:
        assert "In step 1 the loss or its gradient" in result["not finite"] and result["untouched"]


def test_the_main_process_has_the_clock(found):
    """One whose own clock runs a thousand times faster does not stop earlier."""
    assert len({(result["clock"]["step"], result["clock"]["minutes"]) for result in found}) == 1
    assert found[0]["clock"]["step"] > 3 and found[0]["clock"]["minutes"] < 1


def test_all_start_from_the_main_processs_weights(found):
    for result in found:
        assert_close(result["start"], found[0]["start"], rtol=0, atol=0)


def test_other_pairs_and_other_recipes_are_refused_by_all(found):
    for result in found:
        assert len(result["refused"]) == 2
        for text in result["refused"]:
            assert "differ in their pairs or in their settings" in text and "\n" not in text


# ----------------------------------------------------------------------------------------------------- command


def state(folder):
    return torch.load(folder / "train_state.pt", weights_only=True)


def test_from_one_process_to_two_and_back(command, tmp_path):
    """Without dropout the number of processes does not show, but in rounding."""
    arguments = [*command, "--dropout", "0", "--steps", "12", "--out", str(tmp_path / "out")]
    assert main([*arguments[:-1], str(tmp_path / "one")]) == 0
    for processes, steps in ((1, 5), (2, 9), (1, 12)):
        # The budget is part of the recipe (the rate falls towards its end): 12 steps in all, stopped on the way.
        group = forked.start_together(processes, tmp_path, forked.stopped_training, steps, arguments)
        assert forked.join(group) == [0 if steps == 12 else 130] * processes, (tmp_path / "0.log").read_text()
        assert state(tmp_path / "out")["progress"]["step"] == steps
    ours, theirs = (without_key_biases(state(tmp_path / out)["average"]) for out in ("out", "one"))
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not (tmp_path / "1.log").read_text(), "the main process alone prints"


@pytest.mark.slow
@pytest.mark.parametrize(("train", "victim"), [(main, 2), (forked.terminated_training, 2), (main, 0)])
def test_when_one_dies_the_others_end_with_a_sentence(command, tmp_path, train, victim):
    """kill -9 on one of three machines: the others notice within seconds, and the checkpoint goes on.

    Also when the SIGTERM comes in between that torchrun sends to those who are left. What is saved lies on the main
    process's machine: the others' folders are empty, which means nothing.
    """
    arguments = [*command, "--eval-minutes", "0", "--steps", "1000000"]
    processes = forked.start_together(3, tmp_path, forked.elsewhere, tmp_path, train, arguments)
    wait_for(tmp_path / "0" / "out" / "training.json", *processes)
    processes.pop(victim).kill()
    killed = time.monotonic()
    assert forked.join(processes, seconds=30) == [1, 1] and time.monotonic() - killed < 20
    steps = state(tmp_path / "0" / "out")["progress"]["step"]
    for survivor in {0, 1, 2} - {victim}:
        log = (tmp_path / f"{survivor}.log").read_text()
        saved = "The same command goes on from what rank 0 has saved in its out, or begins anew."
        if survivor == 0:
            saved = f"The checkpoint in out is whole: the same command goes on from step {steps}."
        died = r"Another process of this run has died or cannot be reached \([^/]*\)\. "
        assert re.fullmatch(died + re.escape(saved), log.splitlines()[-1]), log
        assert "Traceback" not in log and (survivor == 0) == ("dev_nll" in log)
    assert main([*command, "--steps", str(steps + 1), "--out", str(tmp_path / "0" / "out")]) == 0


def wait_for(path, *processes):
    while not path.exists():
        assert all(process.is_alive() for process in processes)
        time.sleep(0.02)


@pytest.mark.slow
def test_torchrun(command, tmp_path):
    arguments = [*command, "--steps", "3", "--out", str(tmp_path / "out")]
    launcher = forked.start(tmp_path / "log", forked.torchrun, ["--nproc-per-node", "2", "--standalone"], arguments)
    assert forked.join([launcher]) == [0], (tmp_path / "log").read_text()
    log = json.loads((tmp_path / "out" / "training.json").read_text())
    assert log["processes"] == 2 and state(tmp_path / "out")["progress"]["step"] == 3
    assert (tmp_path / "log").read_text().count('"step": 3') == 1
