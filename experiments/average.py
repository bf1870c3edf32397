"""Models that began as one, and the means of their weights: BLEU on dev of each (lesson 08b).

The models are the last stages of `make train`, whose folders it needs. Writes data/experiments/average.json.

python -m experiments.average
"""

import argparse
import tempfile
from pathlib import Path

from experiments import SCORES, record
from utils import average, corpus
from utils.config import ROOT
from utils.evaluation import PLAIN_SEARCH, evaluate
from utils.translate import load_translator

MADE = ROOT / "data/cache/stages"
MEANS = (
    *("digits", "copying", "digits+copying"),
    *("longer", "sentences", "longer+sentences"),
    *("words", "sentences+words"),
    *("anywhere", "anywhere-2", "anywhere+anywhere-2"),
    *("near", "near-2", "near+near-2"),
)


def run(mean: str, made: Path) -> dict:
    """Dev translated by the mean of the stages that are named, or by one as it is."""
    with tempfile.TemporaryDirectory() as folder:
        average.write([made / name for name in mean.split("+")], Path(folder))
        penalty = PLAIN_SEARCH["length_penalty"]
        scores = evaluate(load_translator(folder, "cpu"), corpus.load().dev, length_penalty=penalty)
    return {"mean_of": mean, **{key: scores[key] for key in SCORES}}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--made", type=Path, default=MADE, help="the folder of the stages")
    parser.add_argument("--means", nargs="+", default=MEANS, help="names of stages, with + between")
    parser.add_argument("--out", type=Path, help="default: data/experiments/average.json")
    args = parser.parse_args(argv)
    record("average", argv, [run(mean, args.made) for mean in args.means], args.out)


if __name__ == "__main__":
    main()
