"""What changed since 2017, each change alone and all together, at equal parameters and updates (lesson 10).

Two benches: the course's translator, and the small GPT of lesson 09. A change that costs or saves weights is paid in
the width of the feed-forward layers. Writes data/experiments/since_2017.json; runs are kept in
data/cache/runs/since_2017/ and go on where they were.

python -m experiments.since_2017
"""

import argparse
import math
from dataclasses import fields

import torch

from experiments import add_training_arguments, record, rows_left, train_and_score
from experiments.language_model import CPU, config_of, english_tokenizer, gpt, texts
from utils import corpus
from utils.config import ROOT, ModelConfig, add_flags
from utils.trainer import dev_nll

# Widths of the feed-forward layers for 128 columns, 4 heads: of 3 + 3 layers, and of the 4 of GPT.
ARMS = {
    "the course's": ("", 512, 512),
    "post-norm, as in 2017": ("--post-norm", 512, 512),
    "RMSNorm": ("--norm rms", 512, 512),
    "SwiGLU": ("--activation swiglu", 341, 341),
    "rotary positions": ("--positions rotary", 512, 512),
    "no biases": ("--no-bias", 512, 512),
    "QK-norm": ("--qk-norm", 512, 512),
    "grouped queries": ("--key-heads 2", 608, 576),
    "all together": (
        "--norm rms --activation swiglu --positions rotary --no-bias --qk-norm --key-heads 2",
        405,
        384,
    ),
}


UPDATES = {"translator": 1000, "GPT": 750}  # of each run: so all 54 take some four hours of one core


def changes(name: str) -> dict:
    """An arm's flags as fields of a ModelConfig."""
    parser = argparse.ArgumentParser()
    add_flags(parser, ModelConfig)
    given = vars(parser.parse_args(ARMS[name][0].split()))
    return {f.name: given[f.name] for f in fields(ModelConfig) if given.get(f.name) is not None}


def updates(args: argparse.Namespace, bench: str) -> int:
    return args.steps or UPDATES[bench]


def translator(name: str, seed: int, args: argparse.Namespace) -> dict:
    """Train a translator and translate the test."""
    steps, d_ff = updates(args, "translator"), ARMS[name][1]
    options = f"--d-model 128 --d-ff {d_ff} --steps {steps} --seed {seed}".split()
    folder = args.runs / f"translator-{list(ARMS).index(name)}-{seed}"
    return train_and_score([*options, *args.options, *ARMS[name][0].split()], folder, corpus.load().test)[0]


def language_model(name: str, seed: int, args: argparse.Namespace) -> dict:
    """Train a GPT and ask for its perplexity."""
    sentences, dev, test = texts()
    tokenizer = english_tokenizer(sentences, args.vocabulary)
    config = config_of("decoder-only", tokenizer, d_ff=ARMS[name][2], **changes(name))
    folder = args.runs / f"gpt-{list(ARMS).index(name)}-{seed}"
    model, trainer = gpt(config, tokenizer, sentences, dev, folder, steps=updates(args, "GPT"), seed=seed)
    ids = tokenizer.encode_tgt(test)
    found = {"parameters": sum(p.numel() for p in model.parameters()), "history": trainer.progress.history}
    return found | {"perplexity": round(math.exp(dev_nll(model, [[]] * len(ids), ids, CPU)), 2)}


BENCHES = {"translator": translator, "GPT": language_model}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--benches", nargs="+", default=list(BENCHES), choices=BENCHES)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="ARM")
    parser.add_argument("--steps", type=int, help=f"for both benches; without it {UPDATES}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--vocabulary", type=int, default=4000, help="of GPT")
    add_training_arguments(parser, "since_2017")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    out = args.out or ROOT / "data/experiments/since_2017.json"
    keys = [(bench, name, seed) for seed in args.seeds for bench in args.benches for name in args.arms]
    settings = {"updates": {bench: updates(args, bench) for bench in BENCHES}, "vocabulary": args.vocabulary}
    rows, left = rows_left(out, keys, ("bench", "name", "seed"), **settings)
    for bench, name, seed in left:
        rows.append({"bench": bench, "name": name, "seed": seed, **BENCHES[bench](name, seed, args)})
        record("since_2017", argv, rows, out, **settings)


if __name__ == "__main__":
    main()
