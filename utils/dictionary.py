"""Glosses of the dictionary CC-CEDICT as more training pairs, and compounds kept out of training (lesson 08)."""

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache as memoize
from pathlib import Path
from typing import NamedTuple

from utils.config import ROOT
from utils.corpus import Corpus, Pair, TestItem
from utils.fetch import CACHE, fetched

UNSEEN = ROOT / "data" / "unseen.tsv"  # test: results are reported on it
UNSEEN_DEV = ROOT / "data" / "compounds_dev.tsv"  # dev: recipes are chosen on it

HAN = re.compile(r"[\u4e00-\u9fff]{2,4}")
LONG_HAN = re.compile(r"[\u4e00-\u9fff]{2,8}")
ENTRY = re.compile(r"\S+ (\S+) \[[^\]]*\] /(.*)/")
REMARK = re.compile(r"\s*\([^()]*\)\s*")
# Notes on the word itself, written where a meaning should stand, and meanings with a gap to fill (sb, sth).
NOTE = re.compile(
    r"(variant of|see|surname|abbr|classifier|particle|prefix|suffix|lit|fig|idiom|proverb|interjection|onom"
    r"|pinyin|short for|used|also|same as|equivalent|old|name of|title of|Chinese (surname|character))\b"
    r"(?! \w+$)"
    r"|see also|CL:|.*\b(sb|sth|one's|oneself|etc|esp|species|genus|County|county|prefecture|radical)\b"
)
RARE = re.compile(
    r"\b(archaic|old|dialect|literary|slang|vulgar|derog|bound form|idiom|loanword|Tw|Taiwan|surname|TCM)\b"
)
ENGLISH = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*(?: [A-Za-z]+(?:['-][A-Za-z]+)*){0,3}")
ENDING = re.compile(r"(?<=...)(?:ing|ion|ies|ied|ed|es|er|or|s|e|y)+$")
FUNCTION_WORDS = frozenset("to a an the of be in on at for".split())


def _senses(field: str) -> Iterator[str]:
    """The usable senses of a dictionary entry, each of at most four plain words."""
    for sense in re.split(r"[/;]", field):
        if not any(RARE.search(remark) for remark in REMARK.findall(sense)):
            sense = re.sub(r" (sb|sth)$", "", REMARK.sub(" ", sense).strip())
            if ENGLISH.fullmatch(sense) and not NOTE.match(sense) and _stems(sense):
                yield sense


def _stems(text: str) -> frozenset[str]:
    """Stems: content words without their most common endings, enough to find `to study` in `studying`."""
    words = re.findall(r"[a-z]+", text.lower())
    return frozenset(_stem(word) for word in words if word not in FUNCTION_WORDS)


@memoize
def _stem(word: str) -> str:
    return ENDING.sub("", word)


def bare(text: str) -> str:
    """Letters and digits only, in lower case: equal for sentences that differ in punctuation alone."""
    return re.sub(r"\W+", " ", text.casefold()).strip()


def _words(text: str) -> set[str]:
    return {text[i : i + n] for n in (2, 3, 4) for i in range(len(text) - n + 1)}


def glosses(corpus: Corpus, limit: int | None = None, senses: int = 2, cache: str | Path = CACHE) -> list[Pair]:
    """Glosses as more training pairs, the most useful first: 机器 -> machine (section "机器学习").

    A word has two to four characters, all of which occur in the training sentences. It gets at most `senses` meanings,
    those whose words occur most often in the English of the pairs that contain it. Words are ranked by the number of
    training pairs that contain them; a compound of two words counts those with its rarer half, too, so that 机器翻译
    comes soon after 机器. `limit` counts pairs. No gloss equals a dev or test sentence or a reference, and none
    contains a compound of `UNSEEN` or `UNSEEN_DEV`.
    """
    dictionary = _dictionary(corpus, fetched("cedict_ts.u8", cache))
    count: Counter[str] = Counter()
    support: Counter[tuple[str, str]] = Counter()
    for pair in corpus.train:
        stems = _stems(pair.en)
        for word in _words(pair.zh) & dictionary.keys():
            count[word] += 1
            support.update((word, sense) for sense, wanted in dictionary[word].items() if wanted <= stems)

    def usefulness(word: str) -> int:
        return count[word] + (min(count[word[:2]], count[word[2:]]) if len(word) == 4 else 0)

    def best_senses(word: str) -> list[str]:
        found = [sense for sense in dictionary[word] if support[word, sense]]
        # Without support a name is clutter, and a frequent "word" mostly the seam between two others.
        if not found and count[word] < 10:
            found = [sense for sense in dictionary[word] if sense.islower()]
        return sorted(found, key=lambda sense: -support[word, sense])[:senses]

    words = sorted(filter(usefulness, dictionary), key=lambda word: (-usefulness(word), word))
    return [Pair(word, sense) for word in words for sense in best_senses(word)][:limit]


def _dictionary(corpus: Corpus, path: Path) -> dict[str, dict[str, frozenset[str]]]:
    """Words that occur in training, whole or as two halves: word -> sense -> stems of the sense."""
    seen = set().union(*(_words(pair.zh) for pair in corpus.train))
    return {
        word: {sense: _stems(sense) for sense in senses}
        for word, senses in _entries(corpus, path).items()
        if HAN.fullmatch(word) and (word in seen or len(word) == 4 and {word[:2], word[2:]} <= seen)
    }


def _entries(corpus: Corpus, path: Path) -> dict[str, dict[str, None]]:
    """All words of the dictionary with their usable senses, without what is held out."""
    items = [*corpus.dev, *corpus.test]
    held_out = {bare(text) for item in items for text in (item.zh, *item.references)}
    compounds = re.compile("|".join(item.zh for item in [*unseen(), *unseen(UNSEEN_DEV)]))
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = ENTRY.match(line)
        word = entry[1] if entry else ""
        if LONG_HAN.fullmatch(word) and word not in held_out and not compounds.search(word):
            found[word] |= {sense: None for sense in _senses(entry[2]) if bare(sense) not in held_out}
    return {word: senses for word, senses in found.items() if senses}


class Part(NamedTuple):
    """A word of Chinese, how often it occurs in the training sentences, and its English as a part of a compound."""

    zh: str
    count: int
    en: tuple[str, ...]


def compounds(corpus: Corpus, n: int, seed: int = 0, cache: str | Path = CACHE) -> list[Pair]:
    """n compounds of two words each, none twice, put together at random: 网络 + 学习 -> network learning.

    Most mean nothing; what they show is that a compound's English is that of its parts, and which English: alone, 学习
    is to study. The source of this is the dictionary itself (`parts`). Frequent words are drawn more often, by the root
    of their counts. The same corpus and seed give the same; a small corpus gives at most half of what its parts could.
    Whoever trains on them drops those that are held out.
    Source: Good-Enough Compositional Data Augmentation (Andreas 2020, arXiv 1904.09545).
    """
    rng = random.Random(seed)
    before, after = parts(corpus, cache)
    weights = [[math.sqrt(part.count) for part in side] for side in (before, after)]
    made: dict[Pair, None] = {}
    while len(made) < min(n, len(before) * len(after) // 2):
        (a,), (b,) = (rng.choices(side, weight) for side, weight in zip((before, after), weights, strict=True))
        if a.zh != b.zh:
            made[Pair(a.zh + b.zh, f"{rng.choice(a.en)} {rng.choice(b.en)}")] = None
    return list(made)


def parts(corpus: Corpus, cache: str | Path = CACHE) -> tuple[list[Part], list[Part]]:
    """Words of the training sentences that begin a compound of the dictionary, and words that end one.

    深度学习, in the dictionary deep learning, is 深度 and 学习, and deep is a meaning of 深度: so 学习 at the end is
    learning. A word that only ends compounds has the same English where it begins one, since an English noun may stand
    before another: 学习 is learning there, too. Of several words that compounds show, a part has the most frequent.
    """
    entries = _entries(corpus, fetched("cedict_ts.u8", cache))
    meanings = {word: frozenset().union(*map(_stems, senses)) for word, senses in entries.items()}
    shown: tuple[dict[str, Counter[str]], ...] = (defaultdict(Counter), defaultdict(Counter))
    for word, senses in entries.items():
        for two in ((word[:cut], word[cut:]) for cut in range(2, len(word) - 1)):
            for sense in senses if entries.keys() >= set(two) else ():
                english = re.sub("^(a|an|the) ", "", sense).split()
                if len(english) == 2 and any(
                    _stem(e.lower()) in meanings[w] for w, e in zip(two, english, strict=True)
                ):
                    for place, w, e in zip(shown, two, english, strict=True):
                        name = any(sense[0].isupper() for sense in entries[w])
                        place[w][e if name else e.lower()] += 1
    count = Counter(word for pair in corpus.train for word in _words(pair.zh))
    most = [
        {w: tuple(e for e, times in found.items() if times == max(found.values())) for w, found in place.items()}
        for place in shown
    ]
    nouns_first = most[1] | most[0]
    before, after = (
        [Part(word, count[word], place[word]) for word in sorted(place.keys() & count.keys())]
        for place in (nouns_first, most[1])
    )
    return before, after


def unseen(path: str | Path = UNSEEN) -> list[TestItem]:
    """Compounds that no training pair contains, though all their parts occur: a test of composition ("机器学习")."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    cells = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [TestItem(zh, tuple(references.split("|"))) for zh, references in cells]


def matches(translation: str, item: TestItem) -> bool:
    """Whether a translation equals a reference, apart from case, articles, punctuation and a leading `to`."""

    def barest(text: str) -> str:
        return re.sub(r"^to |\b(a|an|the) ", "", bare(text))

    return barest(translation) in map(barest, item.references)
