"""The training step of this course against other implementations: real target tokens a second.

From lists of ids: padding into tensors, forward, loss, backward, clipping and optimizer, on the same sentences of
Tatoeba with the same threads, in float32, and in bfloat16 where the processor is fast at it. All peers' processes live
at the same time and take turns; ratios are taken round by round. Model FLOPs utilization (MFU) is the share of the
machine's best rate of matrix products in the same run that the step's own matrix products reach.

python -m benchmarks.training --rounds 5 --peers torch,marian,x-transformers,joeynmt
"""

import argparse
import json
import os
from pathlib import Path
from statistics import median

import torch
from torch import nn

from benchmarks.common import (
    BENCH,
    CPU,
    at_work,
    chosen,
    flops,
    gemm_rate,
    positive,
    profile,
    ratios,
    record,
    say,
    shares,
    spread,
    table,
    take_turns,
)
from benchmarks.peers import training as steps
from utils import corpus
from utils.batching import EpochBatches, make_batch
from utils.checkpoint import build, load_model
from utils.config import ModelConfig
from utils.loss import batch_loss
from utils.runtime import autocast, has_fast_bfloat16
from utils.translate import CHECKPOINT

NAMES = {
    "ours": "this course",
    "ours-bfloat16": "this course, bfloat16",
    "ours-compile": "this course, torch.compile",
    "torch": "torch.nn.Transformer",
    "torch-bfloat16": "torch.nn.Transformer, bfloat16",
    "torch-real": "torch.nn.Transformer, no logits for padding",
    "marian": "Hugging Face MarianMTModel",
    "x-transformers": "x-transformers XTransformer",
    "joeynmt": "JoeyNMT",
    "joeynmt-batches": "JoeyNMT, its own batches",
}
PEERS = [name for name in NAMES if name != "ours"]


def sizes() -> dict:
    """The shipped checkpoint's sizes, as the peers read them."""
    config = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    return {key: config[key] for key in ("src_vocab", "tgt_vocab", "d_model", "n_heads", "n_layers", "d_ff")}


def batches(n: int, batch_tokens: int) -> list[dict]:
    """The first n batches of an epoch, shuffled and so of mixed lengths, as rows of ids without marks on the target."""
    _, tokenizer = load_model(CHECKPOINT)
    pairs = corpus.load().train
    src, tgt = tokenizer.encode_src([p.zh for p in pairs]), tokenizer.encode_tgt([p.en for p in pairs])
    order = EpochBatches(src, tgt, batch_tokens).indices(0)
    return [{"src": [src[i] for i in indices], "tgt": [tgt[i] for i in indices]} for indices in order[:n]]


def write_job(path: Path, **job) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(job), encoding="utf-8")
    return path


def step_flops(model: nn.Module, rows: list[dict], device: torch.device, precision: str = "float32") -> int:
    """Operations of our step on all the batches: matrix products and attentions, forwards and backwards."""

    def step(batch: dict) -> None:
        with autocast(device, precision):
            loss, _ = batch_loss(model, make_batch(batch["src"], batch["tgt"]).to(device), 0.1)
        loss.backward()

    return sum(flops(lambda batch=batch: step(batch)) for batch in rows)


def gemm_shapes(sizes: dict, batch_tokens: int, square: int = 2048) -> list[tuple[int, int, int]]:
    """Products as they occur in the step, and a large square one."""
    d, ff, n = sizes["d_model"], sizes["d_ff"], batch_tokens
    return [(n, d, ff), (n, ff, d), (n, d, 3 * d), (n, d, sizes["tgt_vocab"]), (d, n, ff), (square, square, square)]


def precision_of(peer: str) -> str:
    return "bfloat16" if peer.endswith("bfloat16") else "float32"


def rows_of_table(
    names: list[str], speed: dict[str, list[float]], bound: float, failed: dict[str, str], about: dict[str, dict]
) -> list[list[str]]:
    """A row for each implementation, all of one precision; the first name is ours. A last row for the upper bound."""
    lines = []
    for name in names:
        if name in failed:
            lines.append([NAMES[name], failed[name], "", "", "", ""])
            continue
        compared = name != names[0] and names[0] in speed
        speedup = spread(ratios(speed[names[0]], speed[name])) if compared else ""
        mfu = f"{100 * median(speed[name]) / bound:.0f} %"
        parameters = f"{about[name]['parameters'] / 1e6:.2f} M"
        versions = ", ".join(f"{k} {v}" for k, v in about[name]["versions"].items())
        lines.append([NAMES[name], f"{median(speed[name]):,.0f}", speedup, mfu, parameters, versions])
    return [*lines, ["upper bound: our matrix products alone", f"{bound:,.0f}", "", "100 %", "", ""]]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--peers", default=",".join(p for p in PEERS if p != "ours-compile"), help=f"with commas, of {', '.join(PEERS)}"
    )
    add("--rounds", type=positive, default=5)
    add("--batches", type=positive, default=6)
    add("--batch-tokens", type=positive, default=2500)
    add("--threads", type=positive, default=os.cpu_count())
    add("--out", type=Path, help="default: benchmarks/results")
    args = parser.parse_args(argv)
    peers = chosen(args.peers, PEERS)
    fast = has_fast_bfloat16(CPU)
    half = [peer for peer in peers if fast and precision_of(peer) == "bfloat16"]
    tables = {"float32": ["ours", *(peer for peer in peers if precision_of(peer) == "float32")]}
    if half:
        tables["bfloat16"] = ["ours-bfloat16", *(peer for peer in half if peer != "ours-bfloat16")]

    torch.set_num_threads(args.threads)
    model_sizes, rows = sizes(), batches(args.batches, args.batch_tokens)
    common = {"threads": args.threads, "batch_tokens": args.batch_tokens}
    job = write_job(BENCH / "training.json", sizes=model_sizes, batches=rows, **common)
    shapes = gemm_shapes(model_sizes, args.batch_tokens)
    with at_work(sum(tables.values(), []), "benchmarks.peers.training", job, args.threads) as (workers, failed):
        about = {name: worker.about for name, worker in workers.items()}
        before = {precision: gemm_rate(shapes, getattr(torch, precision), CPU) for precision in tables}
        answers = take_turns(workers, failed, {}, args.rounds)
        after = {precision: gemm_rate(shapes, getattr(torch, precision), CPU) for precision in tables}

    say("profile of our step")
    _, step = steps.ours(json.loads(job.read_text(encoding="utf-8")))
    step({})
    spent = profile(lambda: step({}))
    operations = step_flops(build(ModelConfig(**model_sizes)), rows, CPU)
    tokens = sum(len(t) + 1 for batch in rows for t in batch["tgt"])
    rates = {p: {shape: max(rate, after[p][shape]) for shape, rate in before[p].items()} for p in tables}
    best = {precision: max(found.values()) for precision, found in rates.items()}
    bound = {precision: tokens * rate / operations for precision, rate in best.items()}
    speed = {name: [a["tokens"] / a["seconds"] for a in found] for name, found in answers.items()}
    header = ["implementation", "tokens/s", "our speedup", "MFU", "parameters", "versions"]
    parts = [
        f"In {precision}:\n\n{table(header, rows_of_table(names, speed, bound[precision], failed, about))}"
        for precision, names in tables.items()
    ]
    if not fast:
        parts.append("Not in bfloat16: this processor is not fast at it.")
    tables_text = "\n\n".join(parts)
    text = f"""## Training step

{args.batches} batches of at most {args.batch_tokens} tokens, {tokens:,} real target tokens, {args.rounds} rounds in \
turns, {args.threads} threads. Padding lists of ids into tensors is part of each step; sampling and sorting are not.

{tables_text}

Speedup: our rate over theirs, median (smallest..largest) over the rounds. The upper bound: {operations / 1e9:,.0f} \
GFLOP for these batches (attention counted whole, nothing but matrix products) at the best rate of a matrix product in \
this run, {" and ".join(f"{rate / 1e9:,.0f} GFLOP/s in {precision}" for precision, rate in best.items())}; MFU is the \
share of it. In bfloat16, weights, sums and the optimizer stay in float32.

Where the time of our step goes, profiled in float32 after the rounds: {shares(spent)}."""
    record(
        "training",
        argv,
        text,
        args.out,
        **common,
        names=NAMES,
        sizes=model_sizes,
        tokens=tokens,
        flop=operations,
        gemm=rates,
        bound=bound,
        profile=spent,
        tokens_per_second=speed,
        loss={name: [a["loss"] for a in found] for name, found in answers.items()},
        failed=failed,
        about=about,
    )


if __name__ == "__main__":
    main()
