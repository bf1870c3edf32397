"""Several processes, on one machine or many, that train one model together (lesson 08 trains with one).

torchrun --nproc-per-node 2 -m utils.training ...

torchrun starts the processes and tells each its RANK among WORLD_SIZE. All hold the same weights. Each computes the
gradient of its share of every batch; the gradients are summed, and all make the same step.
"""

import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

# How long a process waits for the others before it gives them up. A process that has died is noticed at once, since
# its connections close; the wait is for one that computes: the first checks on dev while the others do nothing.
PATIENCE = timedelta(minutes=30)


class Unreachable(RuntimeError):
    """Another process of the run has died, or its machine cannot be reached."""


@contextmanager
def reaching() -> Iterator[None]:
    """torch.distributed tells in many ways, all of them RuntimeErrors, that the others do not answer."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*\] ", "", str(error).split("\n")[0])  # without the line of C++ that noticed it
        raise Unreachable(reason.split(". ")[0]) from error


@dataclass(frozen=True)
class World:
    """This process among those of its run. Every process must call the same methods in the same order.

    Alone, which is the default, nothing is communicated: a sum is what this process has.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that checks, prints and writes."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            with reaching():
                dist.all_reduce(tensor)
        return tensor

    def same(self, value: object) -> bool:
        """Whether all processes hold equal values, as far as their `repr` tells."""
        number = zlib.crc32(repr(value).encode())
        ends = torch.tensor([number, -number])
        if self.size > 1:
            with reaching():
                dist.all_reduce(ends, dist.ReduceOp.MAX)
        return bool(ends[0] == -ends[1])  # largest == smallest

    def agree(self, minutes: float, stopping: bool) -> tuple[float, bool]:
        """The first process's minutes, and whether any process wants to stop.

        Clocks differ: where each followed its own, one would end a step earlier, and the others wait for it for ever.
        """
        both = self.sum(torch.tensor([minutes * self.leads, stopping], dtype=torch.float64))  # on the CPU: no GPU waits
        return both[0].item(), bool(both[1])

    def same_start(self, model: nn.Module) -> None:
        """Give every process the first one's weights: another machine may draw others from the same seed."""
        if self.size > 1:
            with reaching():
                for p in model.parameters():
                    dist.broadcast(p.detach(), src=0)

    def from_first(self, data: bytes | None) -> bytes | None:
        """The first process's bytes; what the others give is ignored. So only its machine needs the files."""
        if self.size == 1:
            return data
        with reaching():
            length = torch.tensor([-1 if data is None else len(data)])
            dist.broadcast(length, src=0)
            if length < 0:
                return None
            there = torch.empty(int(length), dtype=torch.uint8)
            if self.leads:
                there.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
            dist.broadcast(there, src=0)
        return there.numpy().tobytes()

    def sum_gradients(self, model: nn.Module) -> None:
        """Leave in every `.grad` the sum over all processes.

        All travel as one long message, which costs a network much less than one for each. PyTorch's
        DistributedDataParallel hides part of the journey behind the backward pass, in messages that it composes on the
        way. But another composition is, with three processes and more, another order of summation: a resumed run
        would differ from an uninterrupted one in the last bits.
        """
        if self.size == 1:
            return
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        message = self.sum(torch.cat([grad.flatten() for grad in grads]))
        for grad, total in zip(grads, message.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(total.view_as(grad))


ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """This process's World: what torchrun says, or alone when nothing started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    with reaching():
        # gloo carries what lies on the CPU, also where nccl carries the gradients: it notices a dead process at once.
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    yield World(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()  # not after an error: it might wait for the process that failed
