"""How cost grows: a training step, decoding and the memory of attention against length and against batch.

Each curve is a power law with another exponent, printed as the slope of its logarithms: over the whole range, and at
its end, where what is small at first has become negligible.

python -m benchmarks.growth --lengths 16 32 64 128 256 512 1024 --batches 1 4 16 64 256
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from benchmarks.common import CPU, positive, record, say, seconds, slope, table
from benchmarks.decoding import NeverEnding
from benchmarks.training import sizes
from utils.attention import SMALL, attention, fast_attention
from utils.batching import make_batch
from utils.checkpoint import build
from utils.config import ModelConfig
from utils.decoding import greedy
from utils.loss import batch_loss


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that PyTorch held at one moment of the call beyond what it held before it."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = work()
    del kept
    held = peak = 0
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):  # allocations are positive, releases negative
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """The median of some calls after one that warms up."""
    work()
    return median(seconds(work, CPU) for _ in range(repeats))


def training_step(model, batch: int, length: int, repeats: int) -> float:
    """Seconds forwards and backwards for so many sentence pairs, all of one length."""
    ids = torch.randint(4, 2000, (batch, length)).tolist()
    made = make_batch(ids, [row[:-1] for row in ids])
    model.train()

    def step():
        batch_loss(model, made, 0.1)[0].backward()
        model.zero_grad()

    return median_seconds(step, repeats)


def decoding(model, batch: int, length: int, repeats: int) -> float:
    """Seconds for each token of a greedy search of exactly `length` tokens from sources of that length."""
    src = torch.randint(4, 2000, (batch, length))
    model.eval()
    return median_seconds(lambda: greedy(NeverEnding(model), src, length), repeats) / length


def heads(batch: int, length: int, n_heads: int, d_head: int) -> list[torch.Tensor]:
    return [torch.randn(batch, n_heads, length, d_head, requires_grad=True) for _ in range(3)]


def attention_memory(kernel: Callable, batch: int, length: int, n_heads: int, d_head: int) -> int:
    """Peak bytes of one causal attention with its gradient."""
    q, k, v = heads(batch, length, n_heads, d_head)
    mask = torch.ones(length, length, dtype=torch.bool).tril() if kernel is attention else None

    def work():
        out = attention(q, k, v, mask)[0] if kernel is attention else fast_attention(q, k, v, causal=True)
        return torch.autograd.grad(out.sum(), (q, k, v))

    return peak_bytes(work)


def measure(model, lengths: list[int], batches: list[int], at: tuple[int, int], repeats: int) -> dict:
    """Every curve: name -> unit and, per axis, x and y. `at`: the batch beside lengths, the length beside batches."""
    config = model.config
    shape = (config.n_heads, config.d_model // config.n_heads)
    curves = {
        "training step": ("s", lambda b, n: training_step(model, b, n, repeats)),
        "decoding, a token": ("s", lambda b, n: decoding(model, b, n, repeats)),
        "attention that shows its weights": ("bytes", lambda b, n: attention_memory(attention, b, n, *shape)),
        "fused attention": ("bytes", lambda b, n: attention_memory(fast_attention, b, n, *shape)),
    }
    found = {}
    for name, (unit, cost) in curves.items():
        say(name)
        found[name] = {
            "unit": unit,
            "length": {"x": lengths, "y": [cost(at[0], n) for n in lengths]},
            "batch": {"x": batches, "y": [cost(b, at[1]) for b in batches]},
        }
        for axis in ("length", "batch"):
            curve = found[name][axis]
            curve["slope"] = slope(curve["x"], curve["y"])
            curve["slope_at_the_end"] = slope(curve["x"][-2:], curve["y"][-2:])
    return found


def readable(value: float, unit: str) -> str:
    return f"{value / 2**20:,.2f} MiB" if unit == "bytes" else f"{1000 * value:,.1f} ms"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--lengths", type=positive, nargs="+", default=[16, 32, 64, 128, 256, 512, 1024])
    add("--batches", type=positive, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128, 256])
    add(
        "--at", type=positive, nargs=2, default=[4, 128], help="the batch beside lengths, and the length beside batches"
    )
    add("--repeats", type=positive, default=3)
    add("--threads", type=positive, default=os.cpu_count())
    add("--out", type=Path, help="default: benchmarks/results")
    args = parser.parse_args(argv)
    if min(len(set(args.lengths)), len(set(args.batches))) < 2:
        parser.error("a slope needs two --lengths and two --batches at least.")

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = build(ModelConfig(**sizes()))
    found = measure(model, args.lengths, args.batches, tuple(args.at), args.repeats)
    parts = []
    for axis, other, fixed in (("length", "batch", args.at[0]), ("batch", "length", args.at[1])):
        xs = args.lengths if axis == "length" else args.batches
        lines = [
            [
                name,
                *(readable(y, curve["unit"]) for y in curve[axis]["y"]),
                f"{curve[axis]['slope']:.2f}",
                f"{curve[axis]['slope_at_the_end']:.2f}",
            ]
            for name, curve in found.items()
        ]
        parts += [f"Against {axis}, {other} {fixed}:", table([axis, *map(str, xs), "slope", "at the end"], lines)]
    text = "\n\n".join(
        [
            "## Growth",
            f"{args.threads} threads, float32; memory is the peak, gradient included. Fused attention is our "
            f"`fast_attention`, which takes plain products up to {SMALL} weights a head, as at length 16.",
            *parts,
        ]
    )
    record("growth", argv, text, args.out, threads=args.threads, at=args.at, curves=found)


if __name__ == "__main__":
    main()
