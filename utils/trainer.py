"""The training loop: optimizer, learning rate, averaged weights, and a state to go on from (lesson 08)."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from tqdm import tqdm

from utils.batching import Batch, EpochBatches, chunks, make_batch, token_batches
from utils.config import TrainConfig
from utils.distributed import ALONE, World
from utils.loss import batch_loss
from utils.runtime import autocast, computing_seconds


def schedule(progress: float, step: int, warmup: int, cooldown: float) -> float:
    """Factor on the learning rate: up over `warmup` steps, level, and down to zero over the last `cooldown` share."""
    return min((step + 1) / max(1, warmup), 1.0) * min(1.0, (1.0 - min(progress, 1.0)) / max(cooldown, 1e-9))


@dataclass
class Progress:
    """Where a run is. `batch` counts within the epoch, `minutes` and `tokens` over the whole run, pauses left out."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    minutes: float = 0.0
    tokens: int = 0
    history: list[dict] = field(default_factory=list)


class Trainer:
    """One model being trained on one set of pairs, by one process or by several of a `world`.

    `fit` runs to the end, or until `stopping` is set; `state` and `load_state` keep what is needed to go on. A resumed
    run equals an uninterrupted one, on a CPU to the last bit (a GPU may add in another order each time): the order of
    batches depends on (seed, epoch) alone, and dropout on (seed, step) and the process. The batches are the same for
    any number of processes, which share each of them.

    Raises ValueError when the processes of the world hold other pairs or another recipe.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        data: EpochBatches,
        device: torch.device,
        world: World = ALONE,
    ):
        self.model, self.config, self.data, self.device, self.world = model.to(device), config, data, device, world
        self.fingerprint = data.fingerprint()
        if not world.same((self.fingerprint, config, [p.shape for p in model.parameters()])):
            raise ValueError(
                "The processes of this run differ in their pairs or in their settings: give each the same files and "
                "the same command (and, where machines differ, the same --precision)."
            )
        world.same_start(model)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
        )
        self.loss = torch.compile(batch_loss, dynamic=True) if config.compile else batch_loss
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.progress = Progress()
        self.stopping = False

    def fraction_done(self) -> float:
        """0 at the start, 1 when the steps or the minutes are used up."""
        c, p = self.config, self.progress
        by_steps = p.step / c.steps if c.steps else 0.0
        by_minutes = p.minutes / c.minutes if c.minutes else 0.0
        return max(by_steps, by_minutes)

    def train_step(self, batches: list[Batch], n_tokens: int | None = None) -> tuple[Tensor, int]:
        """One update from one or several batches (gradient accumulation), as if they were one large batch.

        Losses are sums, divided by `n_tokens`: the real target tokens in all of them, those of other processes' shares
        included. Returns this process's summed -log p (on the device: nothing waits for it) and that number.
        """
        c, p = self.config, self.progress
        torch.manual_seed(random.Random(f"{c.seed}, {p.step}, {self.world.rank}").getrandbits(63))
        self.model.train()
        factor = schedule(self.fraction_done(), p.step, c.warmup, c.cooldown)
        for group in self.optimizer.param_groups:
            group["lr"] = c.lr * factor
        if n_tokens is None:
            n_tokens = sum(batch.n_targets for batch in batches)
        total = torch.zeros((), device=self.device)
        for batch in batches:
            with autocast(self.device, c.precision):
                loss, nll = self.loss(self.model, batch.to(self.device), c.label_smoothing)
            (loss / n_tokens).backward()
            total += nll
        self.world.sum_gradients(self.model)
        nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        p.step += 1
        p.tokens += n_tokens
        if c.ema:
            decay = min(c.ema, (1 + p.step) / (10 + p.step))  # a young average forgets its random start quickly
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.values()), list(self.model.parameters()), 1 - decay)
        return total, n_tokens

    def weights(self) -> dict[str, Tensor]:
        """What is evaluated and shipped: the running average, or the weights themselves when there is none."""
        return self.average if self.config.ema else dict(self.model.named_parameters())

    def fit(self, report: Callable[["Trainer"], dict] | None = None, save: Callable | None = None, bar: bool = True):
        """Train to the end. Every `eval_minutes`, and at the end, `report` is asked for figures and `save` called.

        Time spent in `report` and `save` does not count as training time. Of several processes the first alone reports
        and saves, and its clock counts. Where `stopping` is set, the step under way is the last, and is saved.
        """
        p, world = self.progress, self.world
        started = computing_seconds(self.device) - 60 * p.minutes
        next_report = p.minutes + self.config.eval_minutes
        nll, counted, stop = torch.zeros((), device=self.device), 0, self.stopping
        bar = bar and world.leads
        with tqdm(
            total=100, unit="%", disable=not bar, bar_format="{desc} {percentage:3.0f}%|{bar}| {postfix}"
        ) as meter:
            while self.fraction_done() < 1 and not stop:
                for indices in self.steps_of_epoch():
                    shares = [self.data.batch(i, world.rank, world.size) for i in indices]
                    step_nll, n_tokens = self.train_step(shares, sum(map(self.data.n_targets, indices)))
                    nll, counted = nll + step_nll, counted + n_tokens
                    p.batch += len(indices)
                    minutes = (computing_seconds(self.device) - started) / 60
                    p.minutes, stop = world.agree(minutes, self.stopping)
                    done = self.fraction_done()
                    if p.step % 20 == 0 or done >= 1:
                        meter.n = min(100.0, 100 * done)
                        meter.set_postfix_str(
                            f"step {p.step}, epoch {p.epoch}, {p.tokens / p.minutes / 60:,.0f} tokens/s"
                        )
                    if report and (p.minutes >= next_report or done >= 1):
                        row = {"minutes": round(p.minutes, 2), "step": p.step, "epoch": p.epoch, "tokens": p.tokens}
                        row["train_nll"] = round((world.sum(nll) / counted).item(), 4)
                        nll, counted = torch.zeros_like(nll), 0
                        if world.leads:
                            p.history.append(row | report(self))
                            if bar:
                                tqdm.write(json.dumps(p.history[-1]))
                            if save:
                                save(self)
                        next_report = p.minutes + self.config.eval_minutes
                        started = computing_seconds(self.device) - 60 * p.minutes
                    elif stop and save and world.leads:
                        save(self)
                    if stop or done >= 1:
                        break
                else:
                    p.epoch, p.batch = p.epoch + 1, 0
        return self

    def steps_of_epoch(self) -> Iterator[list[list[int]]]:
        """The rest of this epoch, `accumulate` batches of indices at a time."""
        return chunks(self.data.indices(self.progress.epoch)[self.progress.batch :], self.config.accumulate)

    # ---- stopping and going on ----

    def state(self) -> dict:
        """All that a later process needs to continue as if nothing had happened."""
        return {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "data": self.fingerprint,
        }

    def load_state(self, state: dict) -> None:
        """Continue from a `state`; ValueError when it belongs to other pairs, RuntimeError when to another model."""
        if state.get("data", self.fingerprint) != self.fingerprint:
            raise ValueError("it was begun with other pairs, or another cut into tokens")
        self.model.load_state_dict(state["model"])
        for name, tensor in state["average"].items():
            self.average[name].copy_(tensor)
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])


@torch.inference_mode()
def dev_nll(model: nn.Module, src: list[list[int]], tgt: list[list[int]], device: torch.device) -> float:
    """Mean -log p of a dev token, without dropout or smoothing."""
    model.eval()
    nll = tokens = 0.0
    for indices in token_batches([max(len(s), len(t) + 1) for s, t in zip(src, tgt, strict=True)], 4000):
        batch = make_batch([src[i] for i in indices], [tgt[i] for i in indices]).to(device)
        nll += batch_loss(model, batch, eps=0.0)[1].item()
        tokens += batch.n_targets
    return nll / tokens
