"""Many small trainings on short sentences, equal updates and three seeds each (lesson 08).

- models: RNN with attention and Transformer, each at four learning rates; the best on dev, three seeds.
- cuts: Chinese as characters, as pieces (BPE), as words of a dictionary.
- glosses: none; 10,000 without a word of four characters; the 10,000 of the recipe; these and the next 10,000; these
  and 10,000 compounds put together of two words each. Asked are compounds that none contains.

Models of some 140,000 parameters (200,000 with pieces or words) on sentences of at most eight characters, float32, one
thread: some ten seconds a run on a quiet machine. Rows are written after each run, and those that are there are not
made again.

python -m experiments.short_sentences
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from experiments import record
from utils import corpus, decoding, dictionary, provenance
from utils.batching import EpochBatches, chunks, pad
from utils.checkpoint import build
from utils.config import ROOT, ModelConfig, TrainConfig
from utils.fetch import fetched
from utils.runtime import seed_everything, set_threads
from utils.synthetic import HeldOut
from utils.tokenizer import SPECIALS, Tokenizer
from utils.trainer import Trainer, dev_nll

SIZES = {"transformer": dict(n_layers=2, d_ff=128), "rnn": dict(n_layers=1, d_ff=48)}  # of an RNN: its state's width
RATES = (3e-3, 1e-2, 3e-2, 1e-1)
CUTS = ("characters", "pieces", "words")
GLOSSES = ("none", "no four characters", "all", "twice as many", "and compounds")
LENGTH, CPU = 8, torch.device("cpu")


# ---- data ----


def chinese_words(sentence: str, entries: set[str]) -> list[str]:
    """From left to right the longest entry of the dictionary that fits, else one character."""
    words = []
    while sentence:
        n = next((n for n in range(min(8, len(sentence)), 1, -1) if sentence[:n] in entries), 1)
        words.append(sentence[:n])
        sentence = sentence[n:]
    return words


def pieces_of(texts: list[str], size: int):
    """Byte-pair encoding of Chinese: characters, and `size` tokens in all."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    found = Tokenizer(models.BPE(unk_token="<unk>"))
    cut = pre_tokenizers.Split(Regex(r"\p{Han}+|[^\p{Han}\s]"), behavior="isolated")  # no piece holds punctuation
    found.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), cut])
    found.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIALS, show_progress=False))
    return found


def words_of(texts: list[str]):
    """Whole words, which `texts` has apart, that occur twice or more."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    found = Tokenizer(models.WordLevel(unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    options = dict(vocab_size=10**6, min_frequency=2, special_tokens=SPECIALS, show_progress=False)
    found.train_from_iterator(texts, trainers.WordLevelTrainer(**options))
    return found


def gloss_pairs(name: str, data: corpus.Corpus, n: int = 10_000) -> list[corpus.Pair]:
    if name == "none":
        return []
    pairs = dictionary.glosses(data, 2 * n)
    if name == "twice as many":
        return pairs
    if name == "and compounds":
        return pairs[:n] + HeldOut(data).filtered(dictionary.compounds(data, n))
    return [pair for pair in pairs if name == "all" or len(pair.zh) < 4][:n]


# ---- one training ----


class Setting:
    """The sentences of all runs, and their tokenizers."""

    def __init__(self, data: corpus.Corpus, tgt_vocab: int = 500):
        self.data = data
        short = lambda pairs: [pair for pair in pairs if len(pair.zh) <= LENGTH]  # noqa: E731
        self.train, self.dev, self.test = short(data.train), short(data.dev), short(data.test)
        zh, en = [pair.zh for pair in self.train], [pair.en for pair in self.train]
        plain = Tokenizer.train(zh, en, tgt_vocab=tgt_vocab)
        lines = fetched("cedict_ts.u8").read_text(encoding="utf-8").splitlines()
        entries = {line.split()[1] for line in lines if not line.startswith("#")}
        spaced = lambda text: " ".join(chinese_words(text, entries))  # noqa: E731
        self.spell = {"characters": str, "pieces": str, "words": spaced}
        pieces = pieces_of(zh, 2 * plain.src_vocab)
        self.tokenizers = {
            "characters": plain,
            "pieces": Tokenizer(pieces, plain.tgt),
            "words": Tokenizer(words_of([spaced(text) for text in zh]), plain.tgt),
        }


def train(setting, question: str, name: str, seed: int, updates: int, lr: float, kind="transformer", cut="characters"):
    """One row: the losses on dev and test in nats a token; for the glosses, what became of the compounds."""
    pairs = setting.train + (gloss_pairs(name, setting.data) if question == "glosses" else [])
    tokenizer, spell = setting.tokenizers[cut], setting.spell[cut]
    encode = lambda texts: tokenizer.encode_src([spell(text) for text in texts])  # noqa: E731
    src, tgt = encode([pair.zh for pair in pairs]), tokenizer.encode_tgt([pair.en for pair in pairs])
    seed_everything(seed)
    sizes = ModelConfig(tokenizer.src_vocab, tokenizer.tgt_vocab, kind=kind, d_model=32, **SIZES[kind])
    model = build(sizes)
    recipe = TrainConfig(steps=updates, batch_tokens=500, lr=lr, warmup=50, ema=0.98, seed=seed)
    trainer = Trainer(model, recipe, EpochBatches(src, tgt, 500, seed), CPU).fit(bar=False)
    model.load_state_dict(trainer.weights(), strict=False)
    model.eval()
    row = {"question": question, "name": name, "kind": kind, "cut": cut, "lr": lr, "seed": seed, "updates": updates}
    row |= {
        "pairs": len(pairs),
        "target_tokens": trainer.progress.tokens,
        "minutes": round(trainer.progress.minutes, 2),
    }
    row["parameters"] = sum(p.numel() for p in model.parameters())
    row["src_tokens"] = round(float(np.mean([len(ids) for ids in src[: len(setting.train)]])), 2)
    for split, items in (("dev", setting.dev), ("test", setting.test)):
        first = [item.references[0] for item in items]
        ids = encode([item.zh for item in items])
        row[f"{split}_nll"] = round(dev_nll(model, ids, tokenizer.encode_tgt(first), CPU), 3)
    if question == "glosses":
        for which, path in (("compounds", dictionary.UNSEEN), ("dev_compounds", dictionary.UNSEEN_DEV)):
            items = dictionary.unseen(path)
            ids = encode([item.zh for item in items])
            said = say(model, tokenizer, ids)
            wanted = tokenizer.encode_tgt([item.references[0] for item in items])
            row[f"{which}_nll"] = round(dev_nll(model, ids, wanted, CPU), 3)
            row[f"{which}_right"] = sum(dictionary.matches(en, item) for en, item in zip(said, items, strict=True))
            row[which] = {item.zh: en for item, en in zip(items, said, strict=True)}
    return row


@torch.inference_mode()
def say(model, tokenizer: Tokenizer, src: list[list[int]]) -> list[str]:
    """Greedy translations of encoded sentences."""
    return [tokenizer.decode(ids) for part in chunks(src, 100) for ids in decoding.greedy(model, pad(part), 30)]


# ---- all of them ----


def best_rate(rows: list[dict], kind: str) -> float:
    """The rate with the lowest dev loss at seed 0."""
    tried = [row for row in rows if row["question"] == "models" and row["kind"] == kind and row["seed"] == 0]
    return min(tried, key=lambda row: row["dev_nll"])["lr"]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--gloss-updates", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--cut-rate", type=float, default=1e-2, help="the Transformer's best of the first question")
    parser.add_argument("--cuts", nargs="+", default=CUTS)
    parser.add_argument("--kinds", nargs="+", default=list(SIZES))
    parser.add_argument("--questions", nargs="+", default=["models", "cuts", "glosses"])
    parser.add_argument("--out", type=Path, default=ROOT / "data/experiments/short_sentences.json")
    args = parser.parse_args(argv)
    set_threads(1)
    setting, rows = Setting(corpus.load()), provenance.runs(args.out)

    def run(question: str, name: str, seed: int, **options) -> None:
        wanted = SimpleNamespace(question=question, name=name, seed=seed, **options)
        if not any(all(row[key] == value for key, value in vars(wanted).items()) for row in rows):
            rows.append(train(setting, question, name, seed, **options))
            record("short_sentences", argv, rows, args.out)

    if "models" in args.questions:
        for kind in args.kinds:
            for lr in args.rates:
                run("models", kind, args.seeds[0], kind=kind, updates=args.updates, lr=lr)
            for seed in args.seeds[1:]:
                run("models", kind, seed, kind=kind, updates=args.updates, lr=best_rate(rows, kind))
    for seed in args.seeds:
        for cut in args.cuts if "cuts" in args.questions else ():
            run("cuts", cut, seed, cut=cut, updates=args.updates, lr=args.cut_rate)
        for name in GLOSSES if "glosses" in args.questions else ():
            run("glosses", name, seed, updates=args.gloss_updates, lr=3e-3)


if __name__ == "__main__":
    main()
