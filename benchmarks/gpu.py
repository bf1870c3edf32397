"""What this course reaches on a GPU: a training step of Transformer base in bfloat16, decoding, and memory.

d_model 512, 6 + 6 layers, 8 heads, d_ff 2048, batches of 25,000 tokens made inside the clock, with and without
torch.compile: target tokens a second, and model FLOPs utilization (MFU), the share of the rate that bfloat16 matrix
products reached in the same run. Then the 1,000 test sentences with the shipped checkpoint.

python -m benchmarks.gpu --modes eager,compile
"""

import argparse
from pathlib import Path
from statistics import median

import torch

from benchmarks.common import gemm_rate, positive, record, refuse_unknown, say, seconds, spread, table
from benchmarks.peers.training import fitting
from benchmarks.training import batches, gemm_shapes, sizes, step_flops
from utils import corpus
from utils.checkpoint import build
from utils.config import ModelConfig
from utils.runtime import pick_device
from utils.translate import CHECKPOINT, load_translator

BASE = {"d_model": 512, "n_layers": 6, "n_heads": 8, "d_ff": 2048}
MODES = ("eager", "compile")
WARMUP = 3  # passes over the batches: kernels are chosen, and compiled code meets the shapes it must be general for


def peak_memory(device: torch.device) -> int | None:
    """The most bytes allocated since the last call; None where nobody counts them."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return peak


def training(model_sizes: dict, rows: list[dict], mode: str, rounds: int, device: torch.device) -> dict:
    """Seconds of each pass over the batches, peak memory, and the operations of one pass."""
    torch.manual_seed(0)
    model = build(ModelConfig(**model_sizes)).to(device)
    operations = step_flops(model.train(), rows, device, "bfloat16")
    model.zero_grad()
    one_pass = fitting(model, rows, device, precision="bfloat16", compile=mode == "compile")
    for _ in range(WARMUP):
        one_pass()
    peak_memory(device)
    found = [seconds(one_pass, device) for _ in range(rounds)]
    return {"seconds": found, "bytes": peak_memory(device), "flop": operations}


def decoding(sentences: list[str], beam_size: int, rounds: int, device: torch.device) -> dict:
    """Seconds of each translation of all the sentences with the shipped checkpoint, and peak memory."""
    translator = load_translator(CHECKPOINT, str(device))
    translator.translate(sentences, beam_size=beam_size)
    peak_memory(device)
    found = [seconds(lambda: translator.translate(sentences, beam_size=beam_size), device) for _ in range(rounds)]
    return {"seconds": found, "bytes": peak_memory(device)}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--modes", default="eager,compile", help="eager, compile, or both with a comma")
    add("--rounds", type=positive, default=5)
    add("--batches", type=positive, default=8)
    add("--batch-tokens", type=positive, default=25_000)
    for name, value in BASE.items():
        add("--" + name.replace("_", "-"), type=positive, default=value)
    add("--square", type=positive, default=8192, help="size of the square matrix product whose rate is measured, too")
    add("--sentences", type=positive, default=1000, help="so many of the test sentences")
    add("--device", default="cuda", help="another device shows that the program runs; its numbers mean little")
    add("--out", type=Path, help="default: benchmarks/results")
    args = parser.parse_args(argv)
    try:
        device = pick_device(args.device)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    modes = args.modes.split(",")
    refuse_unknown(modes, MODES, "mode")
    if device.type == "cuda":
        torch.cuda.set_device(device)  # whose clock the events read

    model_sizes = sizes() | {name: getattr(args, name) for name in BASE}
    rows = batches(args.batches, args.batch_tokens)
    tokens = sum(len(t) + 1 for batch in rows for t in batch["tgt"])
    shapes = gemm_shapes(model_sizes, args.batch_tokens, args.square)
    rates = gemm_rate(shapes, torch.bfloat16, device)
    trained = {}
    for mode in modes:
        say(f"training, {mode}")
        trained[mode] = training(model_sizes, rows, mode, args.rounds, device)
    later = gemm_rate(shapes, torch.bfloat16, device)
    rates = {shape: max(rates[shape], later[shape]) for shape in rates}
    sentences = [item.zh for item in corpus.load().test[: args.sentences]]
    decoded = {}
    for width in (1, 4):
        say(f"decoding, beam {width}")
        decoded[width] = decoding(sentences, width, args.rounds, device)

    def gibibytes(count: int | None) -> str:
        return "" if count is None else f"{count / 2**30:.2f} GiB"

    best = max(rates.values())
    lines = []
    for mode, run in trained.items():
        share = 100 * run["flop"] / median(run["seconds"]) / best
        speed = f"{tokens / median(run['seconds']):,.0f}"
        lines.append([f"training step, {mode}", f"{speed} tokens/s", f"{share:.0f} %", gibibytes(run["bytes"])])
    for width, run in decoded.items():
        speed = f"{spread([len(sentences) / t for t in run['seconds']])} sentences/s"
        lines.append([f"decoding, {'greedy' if width == 1 else f'beam {width}'}", speed, "", gibibytes(run["bytes"])])
    text = f"""## GPU

{model_sizes["n_layers"]} + {model_sizes["n_layers"]} layers, d_model {model_sizes["d_model"]}, bfloat16, \
{args.batches} batches of at most {args.batch_tokens:,} tokens ({tokens:,} real target tokens); decoding: the shipped \
checkpoint, float32, {len(sentences):,} test sentences.

{table(["", "speed", "MFU", "peak memory"], lines)}

Batches are made inside the clock. MFU: the share of {best / 1e12:,.1f} TFLOP/s, the best rate of a bfloat16 matrix \
product in this run."""
    found = {"training": trained, "decoding": decoded, "gemm": rates, "sizes": model_sizes, "tokens": tokens}
    record("gpu", argv, text, args.out, device, sentences=len(sentences), **found)


if __name__ == "__main__":
    main()
