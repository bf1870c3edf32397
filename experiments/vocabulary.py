"""Letters, pieces or words? English cut ever more coarsely, the same minutes of training each (lesson 08).

A vocabulary of 100 leaves little but single letters; with 16,000 nearly every word of training is one token.
Writes data/experiments/vocabulary.json; runs are kept in data/cache/runs/ and go on where they were.

python -m experiments.vocabulary --minutes 10 --seeds 0
"""

import argparse

from experiments import add_training_arguments, record, train_and_score
from utils import corpus

SIZES = (100, 1000, 4000, 16000)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    add_training_arguments(parser, "vocabulary")
    args = parser.parse_args(argv)
    test, runs = corpus.load().test, []
    english = [item.references[0] for item in test]
    for seed in args.seeds:
        for size in args.sizes:
            folder = args.runs / f"size-{size}-{seed}"
            options = ["--minutes", str(args.minutes), "--seed", str(seed), "--tgt-vocab", str(size), *args.options]
            row, translator = train_and_score(options, folder, test)
            tokenizer = translator.tokenizer
            tokens = sum(map(len, tokenizer.encode_tgt(english))) / sum(len(text.split()) for text in english)
            row |= {"vocabulary": tokenizer.tgt_vocab, "tokens_per_word": round(tokens, 3)}
            runs.append({"size": size, "seed": seed, **row})
    record("vocabulary", argv, runs, args.out, minutes=args.minutes, seeds=args.seeds)


if __name__ == "__main__":
    main()
