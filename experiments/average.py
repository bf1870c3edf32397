"""Between two models that began as one: BLEU on dev of every mixture of their weights (lesson 08b).

The two are the stages `digits` and `copying` of `make train`, whose folders it needs; the mean of both is what ships.
Writes data/experiments/average.json.

python -m experiments.average
"""

import argparse
from pathlib import Path

from experiments import record
from utils import corpus
from utils.config import ROOT
from utils.evaluation import evaluate
from utils.translate import load_translator

MADE = ROOT / "data/cache/stages"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def run(first: Path, second: Path, share: float) -> dict:
    """Dev translated with weights of which `share` comes from the second model."""
    translator, other = load_translator(first, "cpu"), load_translator(second, "cpu").model.state_dict()
    own = translator.model.state_dict()
    translator.model.load_state_dict({name: w.lerp(other[name], share) for name, w in own.items()})
    scores = evaluate(translator, corpus.load().dev)
    return {"share": share, **{name: scores[name] for name in ("bleu", "chrf", "bleu_multi")}}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=Path, default=MADE / "digits")
    parser.add_argument("--second", type=Path, default=MADE / "copying")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--out", type=Path, help="default: data/experiments/average.json")
    args = parser.parse_args(argv)
    record("average", argv, [run(args.first, args.second, share) for share in args.shares], args.out)


if __name__ == "__main__":
    main()
