"""The corpus: Chinese-English sentence pairs of Tatoeba, cleaned and split without leaks (lesson 08).

`python -m utils.corpus`, part of the set-up, fetches it and prints its sizes.
"""

import argparse
import csv
import hashlib
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache as memoize
from pathlib import Path
from typing import NamedTuple

from utils.fetch import CACHE, CorpusError, fetch, fetched
from utils.text import clean, clean_english


class Pair(NamedTuple):
    """A pair: a Chinese sentence and one English translation."""

    zh: str
    en: str


class TestItem(NamedTuple):
    """A test item: a Chinese sentence and all its English references, the preferred one first."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    zh: str
    references: tuple[str, ...]


class Row(NamedTuple):
    """A row of the Tatoeba table: two sentences with their Tatoeba ids."""

    zh_id: int
    zh: str
    en_id: int
    en: str


class Corpus(NamedTuple):
    """The three splits; no sentence of either language is in two of them (section "Split without leaks")."""

    train: list[Pair]
    dev: list[TestItem]
    test: list[TestItem]


def read_rows(path: str | Path) -> Iterator[Row]:
    """Read and clean the rows of the Tatoeba table, columns: zh id, zh, en id, en (section "Clean")."""
    clean_once = memoize(clean)  # a sentence has a row for each of its translations
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        for zh_id, zh, en_id, en in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield Row(int(zh_id), clean_once(zh), int(en_id), clean_english(en))


def group(rows: Iterable[Row]) -> list[list[Row]]:
    """Group rows that share a sentence of either language, directly or through others (union-find).

    Section "Split without leaks"; `utils.pairs.families` does the same for millions of rows.
    """
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def find(node):
        root = node
        while parent.setdefault(root, root) != root:
            root = parent[root]
        while node != root:  # path compression
            parent[node], node = root, parent[node]
        return root

    rows = list(rows)
    for row in rows:
        parent[find(("zh", row.zh))] = find(("en", row.en))
    groups = defaultdict(list)
    for row in rows:
        groups[find(("zh", row.zh))].append(row)
    return list(groups.values())


def split(rows: Iterable[Row], n_test: int = 1000, n_dev: int = 1000) -> Corpus:
    """Split whole groups, ordered by the SHA-256 of their smallest Chinese sentence: test, dev, then train.

    The order depends on the text alone: as good as random, and the same everywhere. A test or dev group gives one
    item: its Chinese sentence of smallest Tatoeba id with all its English translations, smallest id first. The shipped
    model was trained on this split: a test holds it fixed (section "Split without leaks").
    """

    def key(rows: list[Row]) -> str:
        return hashlib.sha256(min(row.zh for row in rows).encode()).hexdigest()

    def item(rows: list[Row]) -> TestItem:
        zh = min(rows).zh
        references = sorted((row.en_id, row.en) for row in rows if row.zh == zh)
        return TestItem(zh, tuple(dict.fromkeys(en for _, en in references)))

    groups = sorted(group(rows), key=key)
    train = dict.fromkeys(Pair(row.zh, row.en) for rows in groups[n_test + n_dev :] for row in rows)
    test, dev = groups[:n_test], groups[n_test : n_test + n_dev]
    return Corpus(list(train), [item(rows) for rows in dev], [item(rows) for rows in test])


def load(cache: str | Path = CACHE) -> Corpus:
    """Read, clean and split the fetched sentences (about two seconds)."""
    return split(read_rows(fetched("tatoeba.tsv", cache)))


def main(argv: list[str] | None = None) -> None:
    """Fetch the corpus unless it is there, and print its sizes."""
    argparse.ArgumentParser(prog="python -m utils.corpus", description=main.__doc__).parse_args(argv)
    try:
        folder = fetch().parent
        sizes = [len(part) for part in load()]
    except CorpusError as error:
        sys.exit(str(error))
    print("Corpus in {}: {:,} training pairs, {:,} dev and {:,} test sentences.".format(folder, *sizes))


if __name__ == "__main__":
    main()
