"""Which changes to the recipe help? Each alone against the plain one, equal updates, on dev (lesson 08b).

R-Drop goes with a dropout of 0.3: compare it with that arm. Choices are made on dev, so that the test split stays a
test. Runs are kept in data/cache/runs/ and go on where they were; the result is written after each. Writes
data/experiments/recipe.json.

python -m experiments.recipe --updates 1500 --seeds 0
python -m experiments.recipe --seeds 1 2 --arms plain "5 + 2 layers" "vocabulary 2,000"     more seeds of some
"""

import argparse

from experiments import add_training_arguments, record, rows_left, train_and_score
from utils import corpus, dictionary
from utils.config import ROOT
from utils.evaluation import PLAIN_SEARCH, compounds
from utils.repeats import loops

MADE = "data/cache/stages"
TAUGHT = "data/cache/taught/pairs.tsv"
ARMS = {
    "plain": "",
    "dropout 0.3": "--dropout 0.3",
    "R-Drop": "--dropout 0.3 --r-drop 2.5",
    "10 % of tokens hidden": "--token-dropout 0.1",
    "vocabulary 1,000": "--tgt-vocab 1000",
    "vocabulary 2,000": "--tgt-vocab 2000",
    "5 + 2 layers": "--n-layers 5 --decoder-layers 2",
    "6 + 2 layers, feed-forward 512": "--n-layers 6 --decoder-layers 2 --d-ff 512",
    "no glosses": "--glosses 0",
    "all glosses": "--glosses 30000",
    "compounds put together": "--compounds 10000",
    "numbers and names": "--numbers 10000",
    "joined pairs": "--joined 10000",
    # These need the pairs that the first stages of `make train` leave in data/cache/stages/.
    "distillation": f"--synthetic {MADE}/from-there-1/pairs.tsv",
    "back-translation": f"--synthetic {MADE}/from-back-1/pairs.tsv",
    "both": f"--synthetic {MADE}/from-there-1/pairs.tsv,{MADE}/from-back-1/pairs.tsv",
    # This one needs `python -m utils.synthetic data/checkpoints/zh-en --nearest --beam-size 5 --out TAUGHT`.
    "taught by the translator that ships": f"--synthetic {TAUGHT}",
}


def run(name: str, seed: int, updates: int, folder, options: list[str]) -> dict:
    """Train one arm and translate dev: one row of the result."""
    dev = corpus.load().dev
    flags = ["--steps", str(updates), "--seed", str(seed), "--precision", "float32", *ARMS[name].split(), *options]
    row, translator = train_and_score(flags, folder, dev)
    english = translator.translate([item.zh for item in dev], **PLAIN_SEARCH)
    words = [sum(len(text.split()) for text in texts) for texts in (english, [item.references[0] for item in dev])]
    items = dictionary.unseen(dictionary.UNSEEN_DEV)
    right = sum(right for _, _, right in compounds(translator, items, **PLAIN_SEARCH))
    return {
        "name": name,
        "seed": seed,
        **row,
        "length_ratio": round(words[0] / words[1], 3),
        "loops": sum(loops(item.zh, en) for item, en in zip(dev, english, strict=True)),
        "compounds_right": right,
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="ARM")
    add_training_arguments(parser, "recipe")
    args = parser.parse_args(argv)
    out = args.out or ROOT / "data/experiments/recipe.json"
    keys = dict.fromkeys((name, seed) for seed in args.seeds for name in args.arms)
    rows, left = rows_left(out, keys, ("name", "seed"), updates=args.updates)
    for name, seed in left:
        folder = args.runs / f"{list(ARMS).index(name)}-{seed}"
        rows.append(run(name, seed, args.updates, folder, args.options))
        record("recipe", argv, rows, out, updates=args.updates)


if __name__ == "__main__":
    main()
