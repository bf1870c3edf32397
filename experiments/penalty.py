"""Which length penalty should the translator's search have? Each of some on all of dev (lesson 08b).

Chosen is the least with which the translations have 97 % of the words of the reference; the forty compounds for
choosing tell whether longer answers turn a compound into a sentence. Writes data/experiments/penalty.json.

python -m experiments.penalty
"""

import argparse
from pathlib import Path

from experiments import SCORES, record
from utils import corpus, dictionary
from utils.config import CHECKPOINT
from utils.evaluation import compounds, scores
from utils.limits import on_dev
from utils.translate import load_translator

PENALTIES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--penalties", type=float, nargs="+", default=PENALTIES)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--out", type=Path, help="default: data/experiments/penalty.json")
    args = parser.parse_args(argv)
    translator, dev = load_translator(args.checkpoint, "cpu"), corpus.load().dev
    words = dictionary.unseen(dictionary.UNSEEN_DEV)
    rows = []
    for penalty in args.penalties:
        english = translator.translate([item.zh for item in dev], length_penalty=penalty)
        found = scores(english, dev)
        rows.append(
            {
                "length_penalty": penalty,
                "length_ratio": on_dev(dev, english)["length_ratio"],
                **{key: found[key] for key in SCORES},
                "compounds_right": sum(right for _, _, right in compounds(translator, words, penalty)),
            }
        )
        record("penalty", argv, rows, args.out)


if __name__ == "__main__":
    main()
