"""Glosses of the dictionary CC-CEDICT as more training pairs, and compounds kept out of training (lesson 08)."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache as memoize
from pathlib import Path

from utils.config import ROOT
from utils.corpus import Corpus, Pair, TestItem
from utils.fetch import CACHE, fetched

UNSEEN = ROOT / "data" / "unseen.tsv"  # test: results are reported on it
UNSEEN_DEV = ROOT / "data" / "compounds_dev.tsv"  # dev: recipes are chosen on it

HAN = re.compile(r"[\u4e00-\u9fff]{2,4}")
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
    items = [*corpus.dev, *corpus.test]
    held_out = {bare(text) for item in items for text in (item.zh, *item.references)}
    compounds = re.compile("|".join(item.zh for item in [*unseen(), *unseen(UNSEEN_DEV)]))
    dictionary: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = ENTRY.match(line)
        word = entry[1] if entry else ""
        in_reach = word in seen or len(word) == 4 and {word[:2], word[2:]} <= seen
        if in_reach and HAN.fullmatch(word) and word not in held_out and not compounds.search(word):
            for sense in _senses(entry[2]):
                if bare(sense) not in held_out:
                    dictionary[word][sense] = _stems(sense)
    return dictionary


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
