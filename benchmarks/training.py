"""The training step of this course against other implementations: real target tokens a second.

Forward, loss, backward, clipping and optimizer on the same batches of Tatoeba, float32, the same threads. All peers'
processes live at the same time and take turns; ratios are taken round by round. Beside them the floor: the operations
of our step's matrix products at the rate that this machine reached for such products in the same run.

python -m benchmarks.training --rounds 10 --peers torch,marian,x-transformers,joeynmt
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
    products_alone,
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
from utils.runtime import autocast
from utils.translate import CHECKPOINT

NAMES = {
    "ours": "this course",
    "ours-compile": "this course, torch.compile",
    "torch": "torch.nn.Transformer",
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
    data = EpochBatches(
        tokenizer.encode_src([p.zh for p in pairs]), tokenizer.encode_tgt([p.en for p in pairs]), batch_tokens
    )
    return [
        {"src": [data.src[i] for i in indices], "tgt": [data.tgt[i] for i in indices]}
        for indices in data.indices(0)[:n]
    ]


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


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--peers", default=",".join(p for p in PEERS if p != "ours-compile"), help=f"with commas, of {', '.join(PEERS)}"
    )
    add("--rounds", type=int, default=10)
    add("--batches", type=int, default=12)
    add("--batch-tokens", type=int, default=2500)
    add("--threads", type=int, default=os.cpu_count())
    add("--out", type=Path, help="default: benchmarks/results")
    args = parser.parse_args(argv)
    peers = chosen(args.peers, PEERS)

    torch.set_num_threads(args.threads)
    model_sizes, rows = sizes(), batches(args.batches, args.batch_tokens)
    common = {"threads": args.threads, "batch_tokens": args.batch_tokens}
    job = write_job(BENCH / "training.json", sizes=model_sizes, batches=rows, **common)
    shapes, float32 = gemm_shapes(model_sizes, args.batch_tokens), torch.float32
    with at_work(["ours", *peers], "benchmarks.peers.training", job, args.threads) as (workers, failed):
        about = {name: worker.about for name, worker in workers.items()}
        before = gemm_rate(shapes, float32, CPU)
        answers = take_turns(workers, failed, {}, args.rounds)
        after = gemm_rate(shapes, float32, CPU)

    say("profile of our step")
    _, step = steps.ours(json.loads(job.read_text(encoding="utf-8")))
    step({})
    spent = profile(lambda: step({}))
    rates = {shape: max(before[shape], after[shape]) for shape in before}
    operations = step_flops(build(ModelConfig(**model_sizes)), rows, CPU)
    tokens = sum(len(t) + 1 for batch in rows for t in batch["tgt"])
    floor = tokens * max(rates.values()) / operations
    speed = {name: [a["tokens"] / a["seconds"] for a in found] for name, found in answers.items()}
    lines = []
    for name in ["ours", *peers]:
        if name in failed:
            lines.append([NAMES[name], failed[name], "", "", "", ""])
            continue
        times = "" if name == "ours" else spread(ratios(speed["ours"], speed[name]))
        reached = f"{100 * median(speed[name]) / floor:.0f} %"
        parameters = f"{about[name]['parameters'] / 1e6:.2f} M"
        versions = ", ".join(f"{k} {v}" for k, v in about[name]["versions"].items())
        lines.append([NAMES[name], f"{median(speed[name]):,.0f}", times, reached, parameters, versions])
    lines.append(["the floor: its matrix products alone", f"{floor:,.0f}", "", "100 %", "", ""])
    text = f"""## Training step

{args.batches} batches of at most {args.batch_tokens} tokens, {tokens:,} real target tokens, {args.rounds} rounds in \
turns, {args.threads} threads, float32.

{table(["implementation", "tokens/s", "ours is faster by", "of the floor", "parameters", "versions"], lines)}

Ratios: median (smallest..largest) over the rounds. The floor: {operations / 1e9:,.0f} GFLOP for these batches \
(attention counted whole, nothing but matrix products) at {max(rates.values()) / 1e9:,.0f} GFLOP/s, the best rate of \
a float32 matrix product in this run.

Where the time of our step goes, profiled after the rounds: {shares(spent)}. If all but the matrix products took no \
time, and these kept the rate that they have inside the step, ours would be faster by: \
{products_alone(spent, speed, NAMES)}."""
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
        floor=floor,
        profile=spent,
        tokens_per_second=speed,
        loss={name: [a["loss"] for a in found] for name, found in answers.items()},
        failed=failed,
        about=about,
    )


if __name__ == "__main__":
    main()
