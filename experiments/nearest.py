"""Of the beam's translations the best, or the one likest to people's: which teaches more? (lesson 08b)

The model of the stage `mean-4` of `make train`, whose folders this needs, translates the training sentences with a beam
of five. "nearest" is the stage `near`: it goes on with those of the five that are most like people's. "best" goes on
with those that the model itself holds for the best, with the same options and seed. (These are more pairs; and the
stored *near* was stopped after 2,370 updates, "best" had 2,500.) Writes data/experiments/nearest.json.

python -m experiments.nearest
"""

import argparse
from pathlib import Path

from experiments import add_training_arguments, graded, record, rows_left, train_and_score
from utils import corpus, synthetic
from utils.config import ROOT
from utils.evaluation import scores
from utils.recipe import RECIPE
from utils.translate import load_translator

MADE = Path("data/cache/stages")
ARMS = ("before", "best", "nearest")


def about(folder: Path, data: corpus.Corpus) -> dict[str, float]:
    """How much a folder's pairs are like people's: BLEU and chrF of their English, and how many they are."""
    people = synthetic.sources(data)
    pairs = synthetic.read(folder / "pairs.tsv", synthetic.HeldOut(data))
    found = scores([pair.en for pair in pairs], [corpus.TestItem(pair.zh, tuple(people[pair.zh])) for pair in pairs])
    return {"made": len(pairs), "made_bleu": found["bleu_multi"], "made_chrf": found["chrf"]}


def run(name: str, folder: Path, options: list[str]) -> dict:
    """One row of the result: dev translated by the model before, or by one that went on."""
    data, made = corpus.load(), ROOT / MADE
    if name == "before":
        return {"name": name, **graded(load_translator(made / "mean-4", "cpu"), data.dev)}
    (stage,) = (stage for stage in RECIPE if stage.name == "near")
    if name == "nearest":
        row = graded(load_translator(made / "near", "cpu"), data.dev)
        return {"name": name, **row, **about(made / stage.needs[0], data)}
    if not (folder / "pairs.tsv").exists():
        synthetic.write([made / "mean-4"], folder / "pairs.tsv", beam_size=5)
    places = {need: str(MADE / need) for need in stage.needs} | {stage.needs[0]: str(folder), "out": str(folder)}
    flags = stage.arguments.replace("--out {out}", "").format(**places).split()
    row, _ = train_and_score([*flags, *options], folder / "model", data.dev)
    return {"name": name, **row, **about(folder, data)}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_training_arguments(parser, "nearest")
    args = parser.parse_args(argv)
    out = args.out or ROOT / "data/experiments/nearest.json"
    rows, left = rows_left(out, [(name,) for name in ARMS], ("name",))
    for (name,) in left:
        rows.append(run(name, args.runs / name, args.options))
        record("nearest", argv, rows, out)


if __name__ == "__main__":
    main()
