"""What makes numbers arrive: more pairs with any, those that are hard to copy, or more kinds of sentence? (lesson 08b)

All arms go on for equal updates from the model of the stage `final` of `make train`, whose folder they need; "many
digits" is the stage `digits`, "many sentences" the same with pairs of more templates in the place of those (not run
yet). The numbers and names that are counted have a seed of their own: those of `python -m utils.limits` stay a test.
Writes data/experiments/copying.json.

python -m experiments.copying
"""

import argparse
import re
from pathlib import Path

from experiments import add_training_arguments, record, rows_left, train_and_score
from utils import corpus, names
from utils.config import ROOT
from utils.evaluation import PLAIN_SEARCH
from utils.limits import share
from utils.numbers import KINDS, Item, items, keeps
from utils.recipe import RECIPE
from utils.translate import Translator, load_translator

START = Path("data/cache/stages/final")
ARMS = {
    "before": None,
    "any numbers": "--numbers 50000 --copies 0",
    "many digits": "--numbers 20000 --copies 30000",
    "many sentences": "--numbers 20000 --copies 0 --practice 30000",
}


def kept(translator: Translator) -> dict[str, dict]:
    """How many numbers of each kind arrive, and names; of more telephone numbers, those with a digit twice in a row."""
    data = corpus.load()

    def right(asked: list[Item]) -> list[bool]:
        answers = translator.translate([item.zh for item in asked], **PLAIN_SEARCH)
        return [keeps(en, item) for item, en in zip(asked, answers, strict=True)]

    asked = items(data.dev, data.train, 1000, 200, seed=1)
    found = list(zip(asked, right(asked), strict=True))
    shares = {kind: share(ok for item, ok in found if item.number.kind == kind) for kind in KINDS}
    shares["all numbers"] = share(ok for _, ok in found)
    more = [item for seed in range(1, 9) for item in items(data.dev, data.train, 1000, 200, seed)]
    phones = {twice: [i for i in more if i.number.kind == "phone" and twice == doubled(i)] for twice in (True, False)}
    shares["phone, a digit twice in a row"] = share(right(phones[True]))
    shares["phone, no digit twice in a row"] = share(right(phones[False]))
    named = names.name_items(data.dev, data.train, 200, seed=1)
    answers = translator.translate([item.zh for item in named], **PLAIN_SEARCH)
    both = zip(named, answers, strict=True)
    return shares | {"names": share(names.kept(name, en) for item, en in both for name in item.names)}


def doubled(item: Item) -> bool:
    """Whether a digit of the number stands twice in a row."""
    return re.search(r"(\d)\1", item.number.value) is not None


def run(name: str, seed: int, folder, options: list[str]) -> dict:
    """Train one arm, or take the model before: one row of the result."""
    if ARMS[name] is None:
        return {"name": name, "seed": seed, "kept": kept(load_translator(ROOT / START, "cpu"))}
    (stage,) = (stage for stage in RECIPE if stage.name == "digits")
    flags = stage.arguments.replace("--out {out}", "").replace("{final}", str(START)).split()
    flags += [*ARMS[name].split(), "--seed", str(seed), *options]
    row, translator = train_and_score(flags, folder, corpus.load().dev)
    return {"name": name, "seed": seed, **row, "kept": kept(translator)}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[6])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="ARM")
    add_training_arguments(parser, "copying")
    args = parser.parse_args(argv)
    out = args.out or ROOT / "data/experiments/copying.json"
    keys = [(name, seed) for seed in args.seeds for name in args.arms]
    rows, left = rows_left(out, keys, ("name", "seed"))
    for name, seed in left:
        rows.append(run(name, seed, args.runs / f"{list(ARMS).index(name)}-{seed}", args.options))
        record("copying", argv, rows, out)


if __name__ == "__main__":
    main()
