"""English for models of one language: sentences to learn from, and pairs that mean the same or not (lesson 09).

Two English translations of one Chinese sentence mean the same. The corpus knows such families by its links, so nobody
has to label anything. Families with a labelled pair are set aside: none of their sentences is in the sentences to learn
from, and each is in one split alone.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache as memoize
from itertools import combinations
from typing import NamedTuple

from utils import corpus
from utils.corpus import Pair, Row, group
from utils.dictionary import bare

FAMILIES = {"train": 500, "dev": 100, "test": 200}  # with labelled pairs; 800 in all
MOST = 3  # pairs of one family: large families are not to outweigh others
NEAR = 0.1  # how much the words that two sentences share may differ between a pair and its counterpart


class Question(NamedTuple):
    """Two sentences, and whether they mean the same (1) or not (0)."""

    a: str
    b: str
    same: int


class English(NamedTuple):
    """Sentences to learn from, and the labelled pairs of each split; no sentence is in two of the four."""

    sentences: list[str]
    train: list[Question]
    dev: list[Question]
    test: list[Question]


def words(sentence: str) -> frozenset[str]:
    """The different words of a sentence, in lower case."""
    return frozenset(re.findall(r"[a-z]+|\d+", sentence.lower()))


def overlap(a: str, b: str) -> float:
    """The share of the words of two sentences that are words of both: 0 to 1."""
    a, b = words(a), words(b)
    return len(a & b) / max(1, len(a | b))


def families(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs that share a sentence, directly or through others; English counts without case and punctuation.

    In the order of the SHA-256 of their smallest Chinese sentence: as good as random, and the same everywhere.
    """
    rows = [Row(i, pair.zh, i, bare(pair.en)) for i, pair in enumerate(pairs)]
    groups = sorted(group(rows), key=lambda rows: hashlib.sha256(min(row.zh for row in rows).encode()).hexdigest())
    return [[pairs[row.zh_id] for row in rows] for rows in groups]


def same_meaning(family: list[Pair]) -> list[tuple[str, str]]:
    """The pairs of English sentences that translate one Chinese sentence, and differ in more than case and marks."""
    translations: dict[str, dict[str, str]] = defaultdict(dict)
    for pair in family:
        translations[pair.zh].setdefault(bare(pair.en), pair.en)
    found = (combinations(english.values(), 2) for english in translations.values())
    return list(dict.fromkeys(pair for pairs in found for pair in pairs))


def build(pairs: Sequence[Pair], n_families: dict[str, int] = FAMILIES) -> English:
    """Set families aside and label pairs; all other sentences are to learn from.

    Each pair (a, b) of a family has a counterpart (a, c) with the label 0: c is of another family that has paraphrases,
    shares as many words with a as b does, within NEAR, and has no link to a. So the label cannot be told from how many
    words are shared, or from what kind of sentence the second one is. A pair that has no such counterpart is left out.
    """
    all_families = families(pairs)
    paraphrases = {i: found for i, family in enumerate(all_families) if (found := same_meaning(family))}
    others = [(i, pair.en, words(pair.en)) for i in paraphrases for pair in all_families[i]]
    with_word = defaultdict(list)  # of each word, the sentences that have it
    for at, (_, _, found_words) in enumerate(others):
        for word in found_words:
            with_word[word].append(at)

    aside: dict[int, str] = {}  # families with a labelled sentence, and the split that has them

    def counterpart(a: str, b: str) -> tuple[float, str, int]:
        """The sentence that shares as many words with a as b does: how nearly, the sentence, its family."""
        wanted, own, nearest = overlap(a, b), words(a), (1.0, "", -1)
        for at, n in Counter(at for word in own for at in with_word[word]).items():  # n words are shared
            family, c, others_words = others[at]
            distance = abs(n / (len(own) + len(others_words) - n) - wanted)
            if distance <= nearest[0] and family not in aside:
                nearest = min(nearest, (distance, c, family))
        return nearest

    found: dict[str, list[Question]] = {}
    left = iter(paraphrases)
    for split, wanted in n_families.items():
        found[split], n = [], 0
        while n < wanted:
            family = next(left)
            if family in aside:  # it has a sentence that is somebody's counterpart
                continue
            aside[family] = split
            questions = []
            for a, b in paraphrases[family][:MOST]:
                distance, c, other = counterpart(a, b)
                if distance <= NEAR:
                    aside[other] = split
                    questions += [Question(a, b, 1), Question(a, c, 0)]
            if questions:
                found[split] += questions
                n += 1
            else:
                del aside[family]
    sentences = dict.fromkeys(pair.en for i, family in enumerate(all_families) if i not in aside for pair in family)
    return English(list(sentences), **found)


@memoize
def load() -> English:
    """The English of the corpus's training split (about seven seconds, once); of its dev and test there is nothing."""
    return build(corpus.load().train)
