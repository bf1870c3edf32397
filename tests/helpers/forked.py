"""Other processes at little cost: each is forked, in milliseconds, from one that has PyTorch imported already.

The processes run what their test asks, and can be killed without harm to it. (pytest itself must not be forked: it has
threads.) They see the package as users do, without the shape checks of tests/conftest.py.
"""

import multiprocessing
import os
import signal
import socket
import sys
import time
from pathlib import Path

import torch

from utils import pairs, training

fork = multiprocessing.get_context("forkserver")
fork.set_forkserver_preload(
    ["torch._dynamo", "safetensors.torch", "tokenizers", "utils.training", "sacrebleu", "filelock"]
)


def in_process(log: Path, environment: dict, function, args: tuple) -> None:
    """Run `function`, its output to a file, and exit with what it returns."""
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.exit(function(*args))


def start(log: Path, function, *args, environment: dict | None = None):
    """The process, started; `join()`, `kill()` and `exitcode` as multiprocessing has them."""
    process = fork.Process(target=in_process, args=(log, environment or {}, function, args))
    process.start()
    return process


def start_together(size: int, folder: Path, function, *args) -> list:
    """Processes that find one another as those of torchrun do; their outputs go to folder/0.log and so on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    return [
        start(folder / f"{rank}.log", function, *args, environment=there | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(size)
    ]


def join(processes: list, seconds: float = 60) -> list[int]:
    """Their exit codes; who is not done by then is killed, and its code is -9."""
    for process in processes:
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def killed_training(function: str, call: int, arguments: list[str]) -> int:
    """`python -m utils.training`, killed (as by kill -9) at a chosen call of a chosen function."""
    left = call

    def kill_at_last_call() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def killed_before(original):
        def wrapped(*args, **kwargs):
            kill_at_last_call()
            return original(*args, **kwargs)

        return wrapped

    def half_written(path: Path, data: bytes) -> None:
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            kill_at_last_call()
            file.write(data[len(data) // 2 :])

    if function == "write_bytes":
        Path.write_bytes = half_written
    elif function == "os.replace":
        os.replace = killed_before(os.replace)
    else:
        training.Trainer.train_step = killed_before(training.Trainer.train_step)
    return training.main(arguments)


def stopped_training(after: int, arguments: list[str]) -> int:
    """`python -m utils.training`, interrupted by a signal in its step number `after`."""
    train_step = training.Trainer.train_step

    def interrupted(self, *args):
        if self.progress.step == after - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(self, *args)

    training.Trainer.train_step = interrupted
    return training.main(arguments)


def terminated_training(arguments: list[str]) -> int:
    """`python -m utils.training`, which gets a SIGTERM when it is about to say what is saved."""
    what_is_saved = training.what_is_saved

    def terminated(folder: Path) -> str:
        signal.raise_signal(signal.SIGTERM)
        return what_is_saved(folder)

    training.what_is_saved = terminated
    return training.main(arguments)


def elsewhere(folder: Path, train, arguments: list[str]) -> int:
    """A training on a machine of its own: its --out is its own folder, which nobody else's is."""
    machine = folder / os.environ["RANK"]
    machine.mkdir()
    os.chdir(machine)
    return train([*arguments, "--out", "out"])


def torchrun(options: list[str], arguments: list[str]) -> None:
    """`torchrun OPTIONS -m utils.training ARGUMENTS`."""
    from torch.distributed.run import main

    main([*options, "-m", "utils.training", *arguments])


def without_rights(name: str, folder: Path, arguments: list[str]) -> int:
    """`python -m utils.training`, whose folder becomes read-only before a function of the module is called."""
    function = getattr(training, name)

    def refused(*args):
        folder.chmod(0o555)
        if os.geteuid() == 0:  # root may write all the same: become nobody
            os.seteuid(65534)
        return function(*args)

    setattr(training, name, refused)
    try:
        return training.main(arguments)
    finally:
        os.seteuid(os.getuid())  # multiprocessing has something to tidy up


def training_without_bleu(arguments: list[str]) -> int:
    """`python -m utils.training`, with checks on dev that take no time."""
    training.evaluate = lambda *_, **__: {"bleu": 0.0}
    return training.main(arguments)


def noting(name: str, times: int) -> None:
    """Note tries of two exercises of lesson 02; the one that has this name is passed."""
    from utils.checks.engine import record

    for _ in range(times):
        for each in ("scores", "attend"):
            record.note("lesson02", each, each == name)


def killed_preparation(path: Path, cache: Path) -> None:
    """`pairs.prepare`, killed (as by kill -9) before the second side is written."""
    write_flat = pairs.write_flat

    def killed(folder: Path, side: str, *rest) -> None:
        if side == "tgt":
            os.kill(os.getpid(), signal.SIGKILL)
        write_flat(folder, side, *rest)

    pairs.write_flat = killed
    pairs.prepare(path, 70, cache=cache)


def slow_preparation(path: Path, cache: Path) -> None:
    """`pairs.prepare`, which takes a second to build what is not there, and says whether it did."""
    build = pairs._build

    def slow(*args) -> None:
        time.sleep(1)
        build(*args)
        print("built", flush=True)

    pairs._build = slow
    print(f"opened {len(pairs.prepare(path, 70, cache=cache).train.src)} pairs", flush=True)
