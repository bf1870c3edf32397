"""JoeyNMT's model trained and tested: `python -m benchmarks.peers.quality JOB FOLDER`; called again, it goes on.

JOB: sizes of the model, recipe, batches (lists of indices, in order), src and tgt (ids of the training pairs), test
(source ids), and the end: updates, or minutes of computing. Leaves hypotheses.json, ids for each test sentence, and
progress.json in FOLDER. The model, its first weights, its loss and its beam search are JoeyNMT's; the loop is like the
course's own. A resumed run equals an uninterrupted one where the end is a number of updates.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.peers.training import EOS, joeynmt

SAVE_SECONDS = 60  # of computing


def schedule(progress: float, step: int, warmup: int, cooldown: float) -> float:
    """Factor on the learning rate, as in utils.trainer: up over `warmup` steps, level, and linearly down to zero."""
    return min((step + 1) / max(1, warmup), 1.0) * min(1.0, (1.0 - min(progress, 1.0)) / max(cooldown, 1e-9))


def save(path: Path, value: object) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(value, temporary)
    os.replace(temporary, path)


def train(job: dict, folder: Path, fingerprint: str, build: Callable = joeynmt) -> tuple[nn.Module, Callable]:
    """The trained model and what makes its batches; the state is saved on the way, and taken up from there."""
    recipe = job["recipe"]
    torch.manual_seed(job["seed"])
    model, loss, make = build(job, recipe["dropout"], own_places=recipe["own_places"])
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe["optimizer"]]
    optimizer = kind(
        model.parameters(), recipe["lr"], betas=tuple(recipe["betas"]), weight_decay=recipe["weight_decay"], fused=True
    )
    progress = {"steps": 0, "tokens": 0, "minutes": 0.0}
    state = folder / "state.pt"
    if state.exists():
        saved = torch.load(state, weights_only=True)
        if saved["job"] == fingerprint:
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            progress = saved["progress"]
            print(f"going on at update {progress['steps']}", flush=True)

    def done() -> float:
        if job["updates"]:
            return progress["steps"] / job["updates"]
        return progress["minutes"] / job["minutes"]

    model.train()
    saved_at = time.thread_time()
    began = saved_at - 60 * progress["minutes"]
    while done() < 1:
        torch.manual_seed(job["seed"] * 1_000_003 + progress["steps"])  # of dropout: also after a pause
        factor = schedule(done(), progress["steps"], recipe["warmup"], recipe["cooldown"])
        for group in optimizer.param_groups:
            group["lr"] = recipe["lr"] * factor
        indices = job["batches"][progress["steps"] % len(job["batches"])]
        batch = {side: [job[side][i] for i in indices] for side in ("src", "tgt")}
        n_tokens = sum(len(t) + 1 for t in batch["tgt"])
        (loss(*make(batch)) / n_tokens).backward()
        if recipe["clip"]:
            nn.utils.clip_grad_norm_(model.parameters(), recipe["clip"])
        optimizer.step()
        optimizer.zero_grad()
        now = time.thread_time()
        progress["steps"], progress["tokens"] = progress["steps"] + 1, progress["tokens"] + n_tokens
        progress["minutes"] = (now - began) / 60
        if done() >= 1 or now > saved_at + SAVE_SECONDS:
            whole = {"job": fingerprint, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            save(state, whole | {"progress": progress})
            print(json.dumps(progress), flush=True)
            saved_at = time.thread_time()
            began += saved_at - now  # saving is not training
    (folder / "progress.json").write_text(json.dumps(progress), encoding="utf-8")
    return model, make


def translate(model: nn.Module, make: Callable, sources: list[list[int]], size: int = 64) -> list[list[int]]:
    """Target ids for each source, beam 4; batches of similar lengths, for little padding."""
    from joeynmt.search import search

    model.eval()
    found: list[list[int]] = [[] for _ in sources]
    order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
    for start in range(0, len(order), size):
        chunk = order[start : start + size]
        (batch,) = make({"src": [sources[i] for i in chunk], "tgt": [[] for _ in chunk]})
        limit = 2 * batch.src.shape[1] + 10
        ids, _, _ = search(model, batch, limit, beam_size=4, beam_alpha=1.0)
        for place, row in zip(batch.indices.tolist(), ids.tolist(), strict=True):
            end = row.index(model.eos_index) if model.eos_index in row else len(row)
            found[chunk[place]] = [token for token in row[:end] if token > EOS + 1]  # special tokens vanish
    return found


def main() -> None:
    path, folder = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    text = path.read_text(encoding="utf-8")
    model, make = train(json.loads(text), folder, hashlib.sha256(text.encode()).hexdigest())
    hypotheses = translate(model, make, json.loads(text)["test"])
    (folder / "hypotheses.json").write_text(json.dumps(hypotheses), encoding="utf-8")


if __name__ == "__main__":
    main()
