"""How much does a leaky split flatter? The same test sentences, two training sets, the same steps (lesson 08).

1,000 pairs drawn at random are the test. "random split" trains on the other pairs as they come, among them other
translations of the test sentences; "groups split" on as many pairs that share no sentence with the test.
Writes data/experiments/leaks.json; runs are kept in data/cache/runs/ and go on where they were.

python -m experiments.leaks --steps 2500 --seeds 0 1 2
"""

import argparse
import random

from experiments import add_training_arguments, record, train_and_score, write_pairs
from utils.corpus import Row, TestItem, group, read_rows
from utils.evaluation import PLAIN_SEARCH, evaluate
from utils.fetch import fetched


def two_training_sets(rows: list[Row], n_test: int, seed: int) -> tuple[list[TestItem], dict[str, list[Row]]]:
    """Test items drawn at random, and the training rows of both splits: equally many, without the test's own rows."""
    shuffled = random.Random(seed).sample(rows, len(rows))
    test, others = shuffled[:n_test], shuffled[n_test:]
    touched = {row for rows in group(rows) if not set(rows).isdisjoint(test) for row in rows}
    clean = [row for row in others if row not in touched]
    siblings = [row for row in others if row in touched]
    leaky = siblings + clean[: len(clean) - len(siblings)]
    return [TestItem(row.zh, (row.en,)) for row in test], {"random split": leaky, "groups split": clean}


def by_kind(test: list[TestItem], leaky: list[Row]) -> dict[str, list[TestItem]]:
    """The test items that share a sentence with the leaky training set, and those that do not."""
    known = {side for row in leaky for side in (row.zh, row.en)}
    shares = [bool(known & {item.zh, *item.references}) for item in test]
    return {
        "shared": [item for item, shared in zip(test, shares, strict=True) if shared],
        "unshared": [item for item, shared in zip(test, shares, strict=True) if not shared],
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n-test", type=int, default=1000)
    add_training_arguments(parser, "leaks")
    args = parser.parse_args(argv)
    distinct = {(row.zh, row.en): row for row in read_rows(fetched("tatoeba.tsv"))}
    runs = []
    for seed in args.seeds:
        test, sets = two_training_sets(list(distinct.values()), args.n_test, seed)
        for name, rows in sets.items():
            folder = args.runs / f"{name.replace(' ', '-')}-{seed}"
            pairs = folder.with_suffix(".tsv")
            write_pairs(pairs, rows)
            options = ["--pairs", str(pairs), "--steps", str(args.steps), "--seed", str(seed), *args.options]
            row, translator = train_and_score(options, folder, test)
            for kind, items in by_kind(test, sets["random split"]).items():
                row[kind] = {"sentences": len(items), "bleu": evaluate(translator, items, **PLAIN_SEARCH)["bleu"]}
            runs.append({"name": name, "seed": seed, **row})
    record("leaks", argv, runs, args.out, steps=args.steps, seeds=args.seeds)


if __name__ == "__main__":
    main()
