"""Several processes, on one machine or many, that train one model together: data parallelism (lesson 08 trains alone).

torchrun --nproc-per-node 2 -m utils.training ...

torchrun starts the processes and tells each its rank and the world size, their number. All hold the same weights. Each
computes the gradient of its share of every batch; the gradients are summed, and all make the same step. Rank 0, the
main process, checks, prints and writes. Where nothing started several, the world size is 1 and nothing is sent. All
processes must call the functions that communicate in the same order.
"""

import os
import re
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

# How long a process waits for the others before it gives them up. A process that has died is noticed at once, since
# its connections close; the wait is for one that computes: the main process checks on dev while the others do nothing.
TIMEOUT = timedelta(minutes=30)


class Unreachable(RuntimeError):
    """Another process of the run has died, or its machine cannot be reached."""


@contextmanager
def reaching() -> Iterator[None]:
    """Raise Unreachable where torch.distributed says, in one of its many ways, that the others do not answer."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise  # about something else: the memory, say
        reason = re.sub(r"^\[[^]]*\] ", "", str(error).split("\n")[0])  # without the line of C++ that noticed it
        raise Unreachable(reason.split(". ")[0]) from error


def world_size() -> int:
    """The number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process among them, from 0 on."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def is_main() -> bool:
    """Whether this process is the one that checks, prints and writes."""
    return rank() == 0


@contextmanager
def process_group() -> Iterator[None]:
    """Connect the processes that torchrun has started; does nothing where there is only one."""
    if world_size() == 1:
        yield
        return
    with reaching():
        # gloo carries what lies on the CPU, also where nccl carries the gradients: it notices a dead process at once.
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
    yield
    dist.destroy_process_group()  # not after an error: it might wait for the process that failed


def all_reduce(tensor: Tensor, op: dist.ReduceOp = dist.ReduceOp.SUM) -> Tensor:
    """The sum (or another reduction) over all processes, in place."""
    if world_size() > 1:
        with reaching():
            dist.all_reduce(tensor, op)
    return tensor


def all_equal(value: object) -> bool:
    """Whether all processes hold equal values, as far as their `repr` tells."""
    number = zlib.crc32(repr(value).encode())
    largest, smallest = all_reduce(torch.tensor([number, -number]), dist.ReduceOp.MAX).tolist()
    return largest == -smallest


def broadcast(data: bytes | None) -> bytes | None:
    """The main process's bytes; what the others give is ignored. So only its machine needs the files."""
    if world_size() == 1:
        return data
    with reaching():
        length = torch.tensor([-1 if data is None else len(data)])
        dist.broadcast(length, src=0)
        if length < 0:
            return None
        buffer = torch.empty(int(length), dtype=torch.uint8)
        if is_main():
            buffer.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        dist.broadcast(buffer, src=0)
    return buffer.numpy().tobytes()


def data_parallel(module: nn.Module) -> nn.Module:
    """The module as all processes train it together: after `backward`, each gradient is the mean over the processes.

    It begins everywhere with the main process's weights. Gradients travel in parts, called buckets, while the backward
    pass goes on. `find_unused_parameters` keeps the buckets the same in all steps of all runs: otherwise PyTorch
    composes them anew after the first step, sums are taken in another order, and a resumed run differs from an
    uninterrupted one in the last bits.

    This is the seam to larger models. Every process keeps each parameter with its gradient, Adam's two moments and the
    running average, 20 bytes, and the buckets hold 4 more. Where these do not fit into one GPU (of 40 GB: from about
    1.7 billion parameters on), call torch.distributed.fsdp.fully_shard here, on each layer and then on the model, and
    gather what Trainer.state saves.
    """
    if world_size() == 1:
        return module
    # Where every parameter is used, which is the case here, PyTorch warns that the flag is needless, in every process
    # and on C++'s own way to stderr. A parameter that is never used keeps it silent.
    module.never_used = nn.Parameter(torch.zeros((), device=next(module.parameters()).device))
    with reaching():
        return DistributedDataParallel(module, find_unused_parameters=True, forward_sync_buffers=False)


def sync_gradients(module: nn.Module, now: bool) -> AbstractContextManager:
    """A context of forward and backward pass: the gradients are summed over the processes, or not yet.

    Where more batches make one update, only the last one's backward pass sends anything.
    """
    return nullcontext() if now or not isinstance(module, DistributedDataParallel) else module.no_sync()
