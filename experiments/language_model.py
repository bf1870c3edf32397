"""GPT against counted trigrams: perplexity on the same tokens of dev and test, by the amount of text (lesson 09).

The text is the English of the training split without the labelled families (`utils.paraphrases`). A small decoder-only
model and a trigram model with Kneser-Ney smoothing read the same subwords. Writes data/experiments/language_model.json;
checkpoints are kept in data/cache/runs/language_model/ and go on where they were.

python -m experiments.language_model
"""

import argparse
import math
import random
from pathlib import Path

import torch

from experiments import record, rows_left, train_kept
from utils import corpus, paraphrases
from utils.batching import EpochBatches
from utils.checkpoint import build, load_model, save_model
from utils.config import ROOT, ModelConfig, TrainConfig
from utils.tokenizer import Tokenizer
from utils.trainer import Trainer, dev_nll
from utils.trigram import Trigram

CPU = torch.device("cpu")
SIZES = {"d_model": 128, "n_heads": 4, "n_layers": 4, "d_ff": 512, "dropout": 0.1}
RECIPE = {"batch_tokens": 1500, "lr": 2e-3, "warmup": 200, "label_smoothing": 0.0, "eval_minutes": 1.0}


def texts() -> tuple[list[str], list[str], list[str]]:
    """English to learn from, and the first references of dev and of test."""
    whole = corpus.load()
    return paraphrases.load().sentences, *([item.references[0] for item in part] for part in (whole.dev, whole.test))


def english_tokenizer(sentences: list[str], vocabulary: int) -> Tokenizer:
    """Subwords of English; the source side has marks alone, for nothing is translated."""
    return Tokenizer.train([], sentences, vocabulary, source="any")


def config_of(kind: str, tokenizer: Tokenizer, **changes) -> ModelConfig:
    """The small model that these experiments train."""
    return ModelConfig(tokenizer.src_vocab, tokenizer.tgt_vocab, kind, **SIZES | changes)


def gpt(
    config: ModelConfig, tokenizer: Tokenizer, train: list[str], dev: list[str], folder: Path, **recipe
) -> tuple[torch.nn.Module, Trainer]:
    """Train a language model in `folder`, or go on there: nothing is its source, sentences are its targets.

    Returned is the model of the check with the lowest loss on dev: few sentences, read often, are learned by heart.
    """
    torch.manual_seed(recipe.get("seed", 0))
    settings = TrainConfig(**RECIPE | recipe)
    ids, dev_ids = tokenizer.encode_tgt(train), tokenizer.encode_tgt(dev)
    data = EpochBatches([[]] * len(ids), ids, settings.batch_tokens, settings.seed)
    trainer, checked = Trainer(build(config), settings, data, CPU), build(config)

    def report(trainer: Trainer) -> dict:
        checked.load_state_dict(trainer.weights())
        found = round(dev_nll(checked, [[]] * len(dev_ids), dev_ids, CPU), 4)
        if found < min((row["dev_nll"] for row in trainer.progress.history), default=math.inf):
            save_model(folder / "best", trainer.weights(), config, tokenizer)
        return {"dev_nll": found}

    train_kept(trainer, tokenizer, folder, report)
    return load_model(folder / "best")[0], trainer


def perplexities(nll, tokenizer: Tokenizer, dev: list[str], test: list[str]) -> dict:
    """Of a function that gives the mean -log p of a token of some sentences."""
    return {name: round(math.exp(nll(tokenizer.encode_tgt(part))), 2) for name, part in (("dev", dev), ("test", test))}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--shares", type=int, nargs="+", default=[1, 4, 16], help="of the sentences: all, a quarter, a sixteenth")
    add("--steps", type=int, default=3000)
    add("--vocabulary", type=int, default=4000)
    add("--runs", type=Path, default=ROOT / "data/cache/runs/language_model")
    add("--out", type=Path, default=ROOT / "data/experiments/language_model.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    sentences, dev, test = texts()
    tokenizer = english_tokenizer(sentences, args.vocabulary)
    keys = [(name, share, seed) for share in args.shares for seed in args.seeds for name in ("trigram", "GPT")]
    settings = {"steps": args.steps, "vocabulary": tokenizer.tgt_vocab}
    rows, left = rows_left(args.out, keys, ("name", "share", "seed"), **settings)
    for name, share, seed in left:
        train = random.Random(seed).sample(sentences, len(sentences) // share)
        row = {"name": name, "share": share, "seed": seed, "sentences": len(train)}
        if name == "trigram":
            n_tokens = tokenizer.tgt_vocab - 2  # neither <pad> nor <bos> comes next
            nll = Trigram(tokenizer.encode_tgt(train), n_tokens).nll
        else:
            folder = args.runs / f"share-{share}-{seed}"
            config = config_of("decoder-only", tokenizer)
            model, trainer = gpt(config, tokenizer, train, dev, folder, steps=args.steps, seed=seed)
            row |= {"parameters": sum(p.numel() for p in model.parameters()), "history": trainer.progress.history}

            def nll(ids, model=model):
                return dev_nll(model, [[]] * len(ids), ids, CPU)

        rows.append(row | perplexities(nll, tokenizer, dev, test))
        record("language_model", argv, rows, args.out, **settings)


if __name__ == "__main__":
    main()
