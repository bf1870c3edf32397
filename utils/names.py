"""Names in Latin letters: where a sentence pair has one, and sentences with another in its place (lesson 08)."""

import random
import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from utils.config import ROOT
from utils.corpus import Pair
from utils.numbers import held_out

NAMES = ROOT / "data" / "names.tsv"


class Name(NamedTuple):
    """A name: man, woman or place; in Latin letters, and in Chinese characters if the corpus writes it so."""

    kind: str
    latin: str
    chinese: str = ""


def read_names(path=NAMES) -> list[Name]:
    """The names of a file."""
    names = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            kind, words = line.split("\t")
            names += [Name(kind, *word.split("=")) for word in words.split()]
    return names


class Table(NamedTuple):
    """The names of data/names.tsv, by what a text may call them, and the pattern that finds them in a text."""

    names: list[Name]
    by_text: dict[str, Name]
    find: re.Pattern


@cache
def known() -> Table:
    """Read when it is asked for: an installed package has no data/, and imports all the same."""
    names = read_names()
    latin = {name.latin: name for name in names}
    chinese = {name.chinese: name for name in names if name.chinese}
    # 汤姆 is not looked for in 汤姆森, nor Tom in Tommy: longest first, and letters end where the word ends.
    pattern = "|".join(sorted(chinese, key=len, reverse=True)) + rf"|(?<![A-Za-z])(?:{'|'.join(latin)})(?![A-Za-z])"
    return Table(names, latin | chinese, re.compile(pattern))


def name_frame(zh: str) -> str:
    """The sentence without its names: two sentences that differ in names alone have the same."""
    return known().find.sub("#", zh)


def kept(name: str, en: str) -> bool:
    """Whether an English sentence has the name, as a word of its own."""
    return bool(re.search(rf"(?<![A-Za-z]){name}(?![A-Za-z])", en))


def names(zh: str, en: str) -> list[tuple[str, Name]]:
    """The known names that stand once on both sides, each as the Chinese sentence writes it."""
    texts = known().find.findall(zh)
    found = [(text, known().by_text[text]) for text in texts if texts.count(text) == 1]
    return [(text, name) for text, name in found if len(re.findall(rf"\b{name.latin}\b", en)) == 1]


def draw_name(kind: str, rng: random.Random, test: bool) -> str:
    """A name of the test's, one in five of the list; or of training's others.

    A model learns to copy from many names: half of training's are blends of two (Jessica and Thomas: Jessmas).
    """
    real = [name.latin for name in known().names if name.kind == kind]
    while True:
        name = rng.choice(real)
        if not test and rng.random() < 0.5:
            other = rng.choice(real)
            name = name[: len(name) // 2 + 1] + other[(len(other) + 1) // 2 :]
        sayable = not re.search("[^aeiouy]{4}|(.)\\1\\1", name.lower())
        if held_out(name) == test and (sayable or name in known().by_text):
            return name


def renamed(zh: str, en: str, rng: random.Random, test: bool = False) -> tuple[Pair, list[str]] | None:
    """A pair with other names, in Latin letters on both sides, and the new names; None where no name is known."""
    new: list[str] = []
    for text, name in names(zh, en):
        other = draw_name(name.kind, rng, test)
        if other in new or kept(other, en):
            return None
        zh = known().find.sub(lambda match, text=text, other=other: other if match[0] == text else match[0], zh)
        en = re.sub(rf"\b{name.latin}\b", other, en)
        new.append(other)
    return (Pair(zh, en), new) if new else None


class NameItem(NamedTuple):
    """A Chinese sentence and the names that its translation must keep."""

    zh: str
    names: tuple[str, ...]


def name_items(dev: Iterable, train: Iterable[Pair], n: int = 200, seed: int = 0) -> list[NameItem]:
    """The test of names: dev sentences with other names put in, which training never has in Latin letters.

    Only sentences whose reference has the name, and that are not sentences of training with another name.
    """
    rng = random.Random(seed)
    train = list(train)
    frames = {name_frame(pair.zh) for pair in train}
    seen = {word for pair in train for word in re.findall("[A-Za-z]+", pair.zh)}
    usable = [item for item in dev if name_frame(item.zh) not in frames and names(item.zh, item.references[0])]
    made: dict[str, NameItem] = {}
    while usable and len(made) < n:
        item = usable[len(made) % len(usable)]
        new = renamed(item.zh, item.references[0], rng, test=True)
        if new and not seen & set(new[1]):
            made[new[0].zh] = NameItem(new[0].zh, tuple(new[1]))
    return list(made.values())
