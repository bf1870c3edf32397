"""What test_distributed.py lets several processes compute: one function, since to begin is what takes time."""

import math

import torch

import utils.trainer
from helpers.tiny import SRC, TGT, tiny_model
from utils.batching import EpochBatches, make_batch
from utils.config import TrainConfig
from utils.distributed import is_main, process_group, rank, sync_gradients
from utils.trainer import NotFinite, Trainer

KINDS = ("transformer", "rnn")
CPU = torch.device("cpu")


def new_trainer(kind="transformer", seed=0, dropout=0.2, tgt=TGT, **changes) -> Trainer:
    settings = {"steps": 10, "batch_tokens": 11, "warmup": 3, "lr": 0.01, "seed": 5, "ema": 0.9}
    config = TrainConfig(**settings | changes)
    model = tiny_model(kind, seed, dropout=dropout)
    return Trainer(model, config, EpochBatches(SRC, tgt, config.batch_tokens, config.seed), CPU)


def compare(folder) -> None:
    """Train in several ways, and leave what comes out in folder/RANK.pt."""
    with process_group():
        result = {}
        for kind in KINDS:
            for accumulate in (1, 2):
                plain = new_trainer(kind, accumulate=accumulate, dropout=0.0, eval_minutes=0.0)
                plain.fit(lambda _: {}, bar=False)
                result[kind, accumulate] = {"weights": plain.average, "history": plain.progress.history}

        dropping = new_trainer(dropout=0.5)
        nll, _ = dropping.train_step([make_batch(SRC, TGT)])
        result["same batch"] = {"nll": nll, "weights": dropping.average}

        result["uninterrupted"] = new_trainer().fit(bar=False).average
        part = new_trainer()
        train_step = part.train_step

        def step(*args):
            part.stopping = rank() == 1 and part.progress.step == 4
            return train_step(*args)

        part.train_step = step
        part.fit(bar=False)
        result["stopped at"] = part.progress.step
        resumed = new_trainer(seed=7)  # other weights, which load_state replaces
        resumed.load_state(part.state())
        result["resumed"] = resumed.fit(bar=False).average

        summed, mine = new_trainer(), make_batch(SRC[rank() :][:3], TGT[rank() :][:3])
        for now in (False, True):
            with sync_gradients(summed.loss, now):
                summed.loss(mine)[0].backward()
            result["gradient", now] = summed.model.tgt_embedding.weight.grad.clone()

        spoiled = new_trainer(dropout=0.0)
        start, loss = {name: p.detach().clone() for name, p in spoiled.model.named_parameters()}, spoiled.loss
        infinite = math.inf if rank() == 1 else 0.0  # its gradient is that of the loss without it
        spoiled.loss = lambda batch: (loss(batch)[0] + infinite, loss(batch)[1])
        try:
            spoiled.fit(bar=False)
        except NotFinite as error:
            result["not finite"] = str(error)
        result["untouched"] = all(torch.equal(p, start[name]) for name, p in spoiled.model.named_parameters())

        result["start"] = new_trainer(seed=rank()).average

        refused = []
        for changes in ({"tgt": TGT if is_main() else TGT[::-1]}, {"lr": 0.01 * (1 + rank())}):
            try:
                new_trainer(**changes)
            except ValueError as error:
                refused.append(str(error))
        result["refused"] = refused

        clock = utils.trainer.computing_seconds
        utils.trainer.computing_seconds = lambda device: (1 if is_main() else 1000) * clock(device)
        timed = new_trainer(steps=None, minutes=0.002).fit(bar=False)
        result["clock"] = {"step": timed.progress.step, "minutes": timed.progress.minutes}
        torch.save(result, folder / f"{rank()}.pt")
