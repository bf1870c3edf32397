"""What is pre-training worth? Same meaning or not, with 100, 300, 1,000 and all labels (lesson 09).

An encoder-only model learns to guess hidden words of English sentences; then it, and one with random weights, learn
from labelled pairs (`utils.paraphrases`), with the same updates; beside them a bag of words, a bag of words that sees
the second sentence alone, and the share of common words, which is one number. Two more arms give the bag of words what
a frozen model says of the two sentences, pre-trained or random. Rates, decays and thresholds are chosen on dev for each
row; test is reported. Writes data/experiments/pretraining.json; checkpoints are kept in
data/cache/runs/pretraining/ and go on where they were.

python -m experiments.pretraining
"""

import argparse
import random
from pathlib import Path

import torch

from experiments import averaged, record, rows_left, train_kept
from experiments.language_model import CPU, RECIPE, config_of, english_tokenizer, texts
from utils import paraphrases, provenance
from utils.bag_of_words import BagOfWords
from utils.batching import pad
from utils.checkpoint import build
from utils.config import ROOT, ModelConfig, TrainConfig
from utils.encoder_only import (
    TextBatches,
    class_loss,
    hidden_word_loss,
    hidden_words_found,
    one_text,
    probability_of_one,
    two_texts,
)
from utils.paraphrases import English, Question, overlap
from utils.tokenizer import SPECIALS, Tokenizer
from utils.trainer import Trainer

WITH_BERT, WITH_RANDOM = "words, BERT's vectors", "words, random vectors"
ARMS = ("pretrained", "from scratch", "bag of words", "second sentence alone", "shared words", WITH_BERT, WITH_RANDOM)
RATES = (3e-4, 1e-3)
DECAYS = (1e-4, 1e-3, 1e-2)


def two_by_two(tokenizer: Tokenizer, sentences: list[str]) -> list[list[int]]:
    """Every sentence with another one drawn at random, two in a text as fine-tuning will have them."""
    ids = tokenizer.encode_tgt(random.Random(0).sample(sentences, len(sentences)))
    return [two_texts(a, b) for a, b in zip(ids[::2], ids[1::2], strict=False)]


def pretrained(config: ModelConfig, tokenizer: Tokenizer, folder: Path, seed: int, steps: int):
    """Pre-train in `folder`, or go on there: the model, and how well it guesses hidden words of dev on the way."""
    sentences, dev, _ = texts()
    torch.manual_seed(seed)
    settings = TrainConfig(**RECIPE | {"steps": steps, "seed": seed, "batch_tokens": 3000})
    data = TextBatches(two_by_two(tokenizer, sentences), None, settings.batch_tokens, seed)
    trainer, checked = Trainer(build(config), settings, data, CPU, hidden_word_loss), build(config)
    asked = [one_text(ids) for ids in tokenizer.encode_tgt(dev)]

    def report(trainer: Trainer) -> dict:
        checked.load_state_dict(trainer.weights())
        found = hidden_words_found(checked, asked)
        return {"dev_nll": round(found["nll"], 4), "dev_right": round(found["right"], 4)}

    return train_kept(trainer, tokenizer, folder, report).model, trainer.progress.history


def fine_tuned(weights: dict | None, config: ModelConfig, texts, labels, seed: int, updates: int, lr: float):
    """A model that learns from labels: from these weights, but a fresh head, or from random ones."""
    torch.manual_seed(seed)
    model = build(config)
    if weights is not None:
        model.load_state_dict({k: w for k, w in weights.items() if "pooler" not in k and "classifier" not in k}, False)
    settings = TrainConfig(
        steps=updates, lr=lr, warmup=updates // 10, batch_tokens=800, label_smoothing=0.0, ema=0.0, seed=seed
    )
    data = TextBatches(texts, labels, settings.batch_tokens, seed)
    return averaged(Trainer(model, settings, data, CPU, class_loss).fit(bar=False)).model


def accuracy(probability, questions: list[Question]) -> float:
    """The share of right answers."""
    right = [(p > 0.5) == bool(q.same) for p, q in zip(probability, questions, strict=True)]
    return round(sum(map(bool, right)) / len(right), 4)


def alone(questions: list[Question]) -> list[Question]:
    """The same questions, of which the second sentence alone is to be seen."""
    return [Question("", q.b, q.same) for q in questions]


@torch.inference_mode()
def comparisons(model, tokenizer: Tokenizer, english: English) -> dict[Question, torch.Tensor]:
    """Of each question |u - v| and u v, (2 D,): u and v are the mean top-layer vectors of its sentences' words.

    Each number has mean 0 and a spread of 0.1 over the questions of train, so that `DECAYS` suit them beside the words.
    """
    questions = [*english.train, *english.dev, *english.test]

    def mean_vectors(sentences):
        ids = pad([one_text(ids) for ids in tokenizer.encode_tgt(sentences)])
        is_word = (ids >= len(SPECIALS))[..., None]
        return (model.encoder_output(ids) * is_word).sum(dim=1) / is_word.sum(dim=1).clamp(min=1)

    model.eval()
    u, v = (mean_vectors(sentences) for sentences in ([q.a for q in questions], [q.b for q in questions]))
    x = torch.cat([(u - v).abs(), u * v], dim=1)  # (N, 2 D)
    trained_on = x[: len(english.train)]
    x = 0.1 * (x - trained_on.mean(dim=0)) / (trained_on.std(dim=0) + 1e-6)
    return dict(zip(questions, x, strict=True))


def answers(arm: str, chosen: list[Question], english: English, tokenizer: Tokenizer, weights, config, seed, updates):
    """For every setting that may be chosen on dev: its name, and the probabilities for dev and for test."""
    asked = (english.dev, english.test)
    if arm == "shared words":
        for cut in sorted({overlap(q.a, q.b) for q in chosen}):
            yield cut, *([0.0 + (overlap(q.a, q.b) >= cut) for q in part] for part in asked)
    elif arm in ("bag of words", "second sentence alone"):
        seen = alone if arm == "second sentence alone" else list
        for decay in DECAYS:
            model = BagOfWords(seen(chosen), decay)
            yield decay, *(model.probability_of_one(seen(part)).tolist() for part in asked)
    elif arm in (WITH_BERT, WITH_RANDOM):
        torch.manual_seed(seed)
        model = build(config)
        if arm == WITH_BERT:
            model.load_state_dict(weights)
        found = comparisons(model, tokenizer, english)
        for decay in DECAYS:
            bag = BagOfWords(chosen, decay, lambda part: torch.stack([found[q] for q in part]))
            yield decay, *(bag.probability_of_one(part).tolist() for part in asked)
    else:

        def encoded(part):
            return [two_texts(*tokenizer.encode_tgt([q.a, q.b])) for q in part]

        labels = [q.same for q in chosen]
        for lr in RATES:
            begin = weights if arm == "pretrained" else None
            model = fine_tuned(begin, config, encoded(chosen), labels, seed, updates, lr)
            yield lr, *(probability_of_one(model, encoded(part)).tolist() for part in asked)


def run(arm: str, n: int, seed: int, english: English, *others) -> dict:
    """One row: n labels, as many of each kind, drawn by the seed; what is best on dev, on test."""
    pairs = list(zip(english.train[::2], english.train[1::2], strict=True))
    drawn = random.Random(seed).sample(pairs, min(n // 2, len(pairs)))
    chosen = [question for pair in drawn for question in pair]
    tried = [
        {"setting": name, "dev": accuracy(dev, english.dev), "test": accuracy(test, english.test)}
        for name, dev, test in answers(arm, chosen, english, *others)
    ]
    best = max(tried, key=lambda one: one["dev"])
    return {"arm": arm, "asked_for": n, "labels": len(chosen), "seed": seed, **best, "tried": tried}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--labels", type=int, nargs="+", default=[100, 300, 1000, 10_000], help="the last one is more than there are")
    add("--arms", nargs="+", default=ARMS, choices=ARMS)
    add("--steps", type=int, default=3000, help="updates of pre-training")
    add("--updates", type=int, default=300, help="updates of fine-tuning")
    add("--vocabulary", type=int, default=4000)
    add("--runs", type=Path, default=ROOT / "data/cache/runs/pretraining")
    add("--out", type=Path, default=ROOT / "data/experiments/pretraining.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    english = paraphrases.load()
    tokenizer = english_tokenizer(english.sentences, args.vocabulary)
    config = config_of("encoder-only", tokenizer)
    keys = [(arm, n, seed) for seed in args.seeds for n in args.labels for arm in args.arms]
    settings = {"vocabulary": tokenizer.tgt_vocab, "steps": args.steps, "updates": args.updates}
    rows, left = rows_left(args.out, keys, ("arm", "asked_for", "seed"), **settings)
    weights, histories = {}, provenance.read(args.out).get("pretraining", {})  # those of other seeds stay
    for arm, n, seed in left:
        if arm in ("pretrained", WITH_BERT) and seed not in weights:
            model, histories[str(seed)] = pretrained(config, tokenizer, args.runs / f"bert-{seed}", seed, args.steps)
            weights[seed] = {name: w.clone() for name, w in model.state_dict().items()}
        rows.append(run(arm, n, seed, english, tokenizer, weights.get(seed), config, seed, args.updates))
        record("pretraining", argv, rows, args.out, **settings, pretraining=histories)


if __name__ == "__main__":
    main()
