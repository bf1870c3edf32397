"""The training loop: optimizer, learning rate, averaged weights, and a state to resume (lesson 08, "Train, live")."""

import json
import math
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed import ReduceOp
from tqdm import tqdm

from utils.batching import Batch, EpochBatches, chunks, make_batch, token_batches
from utils.config import TrainConfig, refuse_another
from utils.distributed import all_equal, all_reduce, data_parallel, is_main, rank, reaching, sync_gradients, world_size
from utils.dropout import hide_tokens
from utils.loss import batch_loss
from utils.runtime import ahead, autocast, computing_seconds
from utils.tokenizer import UNK


def schedule(progress: float, step: int, warmup: int, cooldown: float) -> float:
    """Factor on the learning rate: up over `warmup` steps, level, and down to zero over the last `cooldown` share."""
    return min((step + 1) / max(1, warmup), 1.0) * min(1.0, (1.0 - min(progress, 1.0)) / max(cooldown, 1e-9))


class NotFinite(RuntimeError):
    """A loss or a gradient was infinite or not a number; nothing of it was applied."""


@dataclass
class Progress:
    """Where a run is. `batch` counts within the epoch, `minutes` and `tokens` over the whole run, pauses left out."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    minutes: float = 0.0
    tokens: int = 0
    history: list[dict] = field(default_factory=list)


class Step(NamedTuple):
    """What an update needs: this process's share of each batch, the real target tokens in all shares of all of them.

    epoch and batch: the place in the data after it.
    """

    batches: list[Batch]
    n_tokens: int
    epoch: int
    batch: int


class LossModule(nn.Module):
    """A model with its loss as one module, (loss, summed -log p) of a batch: what several processes train together.

    The loss is what is compiled, not the model: so the model stays as it is for whoever checks and saves it.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, loss: Callable = batch_loss):
        super().__init__()
        self.model, self.config = model, config
        self.loss = torch.compile(loss, dynamic=True) if config.compile else loss

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        c = self.config
        if c.token_dropout:
            src, tgt_in = (hide_tokens(ids, c.token_dropout, UNK) for ids in (batch.src, batch.tgt_in))
            batch = replace(batch, src=src, tgt_in=tgt_in)
        return self.loss(self.model, batch, c.label_smoothing, **({"r_drop": c.r_drop} if c.r_drop else {}))


class Trainer:
    """One model being trained on one set of pairs, by this process or by several together (utils.distributed).

    `fit` runs to the end, or until `stopping` is set; `state` is what `load_state` resumes from. A resumed run equals
    an uninterrupted one, on a CPU to the last bit (a GPU may add in another order each time): the order of batches
    depends on (seed, epoch) alone, and dropout on (seed, step, rank). The batches are the same for any number of
    processes, which share each of them.

    data: EpochBatches, or anything with its `indices`, `batch`, `n_targets` and `fingerprint`; loss: of a model and a
    batch, as `batch_loss`: sums over the batch's targets. Nothing else is known of what is learned, but that
    token_dropout and r_drop are for pairs, and thus for `batch_loss` alone.

    Raises ValueError when they are given with another loss, or when the processes hold other pairs or another recipe.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        data: EpochBatches,
        device: torch.device,
        loss: Callable = batch_loss,
    ):
        if loss is not batch_loss and (config.token_dropout or config.r_drop):
            raise ValueError("token_dropout and r_drop are for pairs, whose loss is batch_loss: leave them 0 here.")
        self.model, self.config, self.data, self.device = model.to(device), config, data, device
        self.fingerprint = data.fingerprint()
        if not all_equal((self.fingerprint, config, model.config)):
            raise ValueError(
                "The processes of this run differ in their pairs or in their settings: give each the same files and "
                "the same command (and, where machines differ, the same --precision)."
            )
        self.loss = data_parallel(LossModule(model, config, loss))
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
        )
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.progress = Progress()
        self.not_finite = torch.zeros((), dtype=torch.long, device=device)  # the first such step; 0 for none
        self.stopping = False

    def fraction_done(self) -> float:
        """0 at the start, 1 when the steps or the minutes are used up."""
        c, p = self.config, self.progress
        by_steps = p.step / c.steps if c.steps else 0.0
        by_minutes = p.minutes / c.minutes if c.minutes else 0.0
        return max(by_steps, by_minutes)

    def weights(self) -> dict[str, Tensor]:
        """What is evaluated and shipped: the running average, or the weights themselves when there is none."""
        return self.average if self.config.ema else dict(self.model.named_parameters())

    # ---- one step ----

    def train_step(self, batches: list[Batch], n_tokens: int | None = None) -> tuple[Tensor, int]:
        """One update from one or several batches (gradient accumulation), as if they were one large batch.

        Losses are sums, divided by `n_tokens`: the real target tokens in all of them, those of other processes' shares
        included. Returns this process's summed -log p (on the device: nothing waits for it) and that number.
        """
        c, p = self.config, self.progress
        torch.manual_seed(random.Random(f"{c.seed}, {p.step}, {rank()}").getrandbits(63))
        self.model.train()
        if n_tokens is None:
            n_tokens = sum(batch.n_targets for batch in batches)
        nll = self.add_gradients(batches, n_tokens)
        self.update_weights()
        p.step += 1
        p.tokens += n_tokens
        if c.ema:
            decay = min(c.ema, (1 + p.step) / (10 + p.step))  # a young average forgets its random start quickly
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.values()), list(self.model.parameters()), 1 - decay)
        return nll, n_tokens

    def add_gradients(self, batches: list[Batch], n_tokens: int) -> Tensor:
        """Add the gradient of the mean loss over all processes' tokens to every `.grad`; returns the summed -log p."""
        total = torch.zeros((), device=self.device)
        for i, batch in enumerate(batches):
            with reaching(), sync_gradients(self.loss, now=i == len(batches) - 1):
                with autocast(self.device, self.config.precision):
                    loss, nll = self.loss(batch.to(self.device))
                # The gradients are averaged over the processes: times the world size, that is their sum. And 0 times a
                # loss that is not finite is NaN: so are then all gradients, in all processes.
                (loss / n_tokens * world_size() * (1 + 0 * loss.detach())).backward()
            total += nll
        return total

    def update_weights(self) -> None:
        """A step of AdamW with the clipped gradients, unless one of them, now or earlier, was not finite.

        That is decided on the device, by the optimizer's `found_inf`, and read in `check_finite`: no step waits.
        """
        c, p = self.config, self.progress
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), c.clip or math.inf)
        found = torch.where(norm.isfinite(), 0, p.step + 1)
        self.not_finite = torch.where(self.not_finite > 0, self.not_finite, found)
        self.optimizer.found_inf = (self.not_finite > 0).float()
        for group in self.optimizer.param_groups:
            group["lr"] = c.lr * schedule(self.fraction_done(), p.step, c.warmup, c.cooldown)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def check_finite(self) -> None:
        """Raise NotFinite, in all processes, if any step's loss or gradient was not finite; waits for the device."""
        if step := int(all_reduce(self.not_finite.cpu(), ReduceOp.MAX)):
            raise NotFinite(f"In step {step} the loss or its gradient became infinite or not a number")

    # ---- all steps ----

    def fit(self, report: Callable[["Trainer"], dict] | None = None, save: Callable | None = None, bar: bool = True):
        """Train to the end. Every `eval_minutes`, and at the end, `report` is asked for figures and `save` called.

        Time spent in `report` and `save` does not count as training time. Of several processes the main one alone
        reports and saves, and its clock counts. Where `stopping` is set, the step under way is the last, and is saved.
        Raises NotFinite, saving nothing, when a loss or a gradient is not a finite number.
        """
        p, minutes_between = self.progress, self.config.eval_minutes
        started, due = computing_seconds(self.device) - 60 * p.minutes, p.minutes + minutes_between
        nll, tokens = torch.zeros((), device=self.device), 0
        with self.meter(bar and is_main()) as meter, closing(ahead(self.steps())) as steps:
            stop = self.synchronize(p.minutes)
            while not stop and self.fraction_done() < 1:
                step = next(steps)
                nll += self.train_step(step.batches, step.n_tokens)[0]
                tokens += step.n_tokens
                p.epoch, p.batch = step.epoch, step.batch
                stop = self.synchronize((computing_seconds(self.device) - started) / 60)
                done = self.fraction_done() >= 1
                checking = done or p.minutes >= due
                if checking or stop or self.device.type == "cpu":  # a CPU is not waited for: it has computed all
                    self.check_finite()
                self.update_meter(meter, done)
                if checking and report:
                    self.add_to_history(report, nll, tokens, meter)
                    nll, tokens = torch.zeros_like(nll), 0
                if (checking or stop) and save and is_main():
                    save(self)
                if checking:
                    started, due = computing_seconds(self.device) - 60 * p.minutes, p.minutes + minutes_between
        return self

    def steps(self) -> Iterator[Step]:
        """The steps from where the run is on, without end; a background thread makes them ahead of their use."""
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # each thread has its own; pinned memory belongs to it
        epoch, batch = self.progress.epoch, self.progress.batch
        while True:
            for indices in chunks(self.data.indices(epoch)[batch:], self.config.accumulate):
                shares = [self.data.batch(i, rank(), world_size()) for i in indices]
                if self.device.type == "cuda":
                    shares = [share.pinned() for share in shares]
                batch += len(indices)
                yield Step(shares, sum(map(self.data.n_targets, indices)), epoch, batch)
            epoch, batch = epoch + 1, 0

    def synchronize(self, minutes: float) -> bool:
        """Take over the main process's minutes; returns whether any process wants to stop.

        Clocks differ: where each followed its own, one would end a step earlier, and the others wait for it for ever.
        """
        both = torch.tensor([minutes * is_main(), self.stopping], dtype=torch.float64)  # on the CPU: no GPU waits
        self.progress.minutes, stop = all_reduce(both, ReduceOp.MAX).tolist()
        return bool(stop)

    def add_to_history(self, report: Callable[["Trainer"], dict], nll: Tensor, tokens: int, meter: tqdm) -> None:
        """Figures of now; of the training loss, its mean since the last time."""
        p = self.progress
        row = {"minutes": round(p.minutes, 2), "step": p.step, "epoch": p.epoch, "tokens": p.tokens}
        row["train_nll"] = round((all_reduce(nll) / tokens).item(), 4)
        if is_main():
            p.history.append(row | report(self))
            if not meter.disable:
                tqdm.write(json.dumps(p.history[-1]))

    def meter(self, visible: bool) -> tqdm:
        """A progress bar in percent of the run."""
        return tqdm(total=100, unit="%", disable=not visible, bar_format="{desc} {percentage:3.0f}%|{bar}| {postfix}")

    def update_meter(self, meter: tqdm, done: bool) -> None:
        """Move the progress bar, every twenty steps and at the end."""
        p = self.progress
        if p.step % 20 == 0 or done:
            meter.n = min(100.0, 100 * self.fraction_done())
            speed = p.tokens / max(p.minutes, 1e-9) / 60
            meter.set_postfix_str(f"step {p.step}, epoch {p.epoch}, {speed:,.0f} tokens/s")

    # ---- stopping and going on ----

    def state(self) -> dict:
        """All that a later process needs to continue as if nothing had happened."""
        return {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "data": self.fingerprint,
            "model_config": asdict(self.model.config),
            "train_config": asdict(self.config),
        }

    def load_state(self, state: dict) -> None:
        """Continue from a `state`; ValueError when it belongs to other pairs, another model or another recipe."""
        if state["data"] != self.fingerprint:
            raise ValueError(
                f"it was begun with other pairs (their fingerprint was {state['data']}, and now is {self.fingerprint})"
            )
        refuse_another(self.model.config, state["model_config"])
        refuse_another(self.config, state["train_config"])
        self.model.load_state_dict(state["model"])
        for name, tensor in state["average"].items():
            self.average[name].copy_(tensor)
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])


@torch.inference_mode()
def dev_nll(model: nn.Module, src: list[list[int]], tgt: list[list[int]], device: torch.device) -> float:
    """Mean -log p of a dev token, without dropout or smoothing."""
    model.eval()
    lengths = [max(len(s), len(t) + 1) for s, t in zip(src, tgt, strict=True)]
    nll = tokens = 0.0
    for indices in token_batches(lengths, max(4000, *lengths)):
        batch = make_batch([src[i] for i in indices], [tgt[i] for i in indices]).to(device)
        nll += batch_loss(model, batch, eps=0.0)[1].item()
        tokens += batch.n_targets
    return nll / tokens
