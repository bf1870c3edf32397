"""More training pairs: other numbers and names, sentences of templates, two pairs joined to a long one (lesson 08).

Numbers and names are to be copied, and the 48,000 sentences have few of them. The numbers of the test
(`utils.numbers.items`), names and templates never occur here.
"""

import math
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from utils.config import ROOT
from utils.corpus import Pair
from utils.names import names, renamed
from utils.numbers import (
    KINDS,
    Found,
    Number,
    Template,
    any_number,
    chinese_forms,
    draw,
    english_forms,
    find,
    held_out,
    near,
    normalize,
)
from utils.numbers import templates as read_templates

TEMPLATES = ROOT / "data" / "augment.tsv"
PRACTICE = ROOT / "data" / "practice.tsv"
MORE_PRACTICE = ROOT / "data" / "more_practice.tsv"
BRACKET = re.compile(r"\[(?:(\d):)?([^\]]*)\]")
GAP = re.compile(r"\{(\w*)\}")
MONEY = re.compile(r"dollar|buck|yuan|yen|euro|[$¥€]", re.IGNORECASE)

# Shares of the pairs that `pairs` makes of training pairs; the rest is made of templates.
NUMBER, NAME = 0.3, 0.2
# How many pairs of each kind `copies` makes, in proportion: most of the kinds whose digits are many.
MANY_DIGITS = {"phone": 5, "large": 4, "price": 4, "integer": 3, "decimal": 2}
FEW_DIGITS = dict.fromkeys(("year", "date", "clock", "percent", "ordinal"), 1)
# The same of `practice`, whose templates are of many more kinds of sentence.
PRACTISED = dict.fromkeys(KINDS, 2) | {"phone": 4, "price": 4, "large": 3, "decimal": 3, "percent": 3}
# The same of `more_practice`: most of what was still lost.
MORE_PRACTISED = dict.fromkeys(KINDS, 2) | {"decimal": 8, "price": 6, "ordinal": 4, "clock": 3, "phone": 3, "large": 3}
TWICE = 0.4  # share of the numbers of many digits in which one stands twice in a row


class Place(NamedTuple):
    """A number that stands on both sides of a pair, and how its English is written."""

    found: Found
    style: str
    start: int
    end: int


# ------------------------------------------------------------------------------------ other numbers in real pairs


def _forms(number: Number) -> dict[str, str]:
    """The English forms, and a price's amount alone: the corpus calls a 元 a dollar as well as a yuan."""
    amount = english_forms(number._replace(kind="integer")) if number.kind == "price" and number.value.isdigit() else {}
    return english_forms(number) | {f"amount {style}": text for style, text in amount.items()}


def _place(found: Found, en: str) -> Place | None:
    """Where the English has the number, if it does so once; not where another number would need another word."""
    number = found.number
    if number.value == "1" or number.kind == "ordinal" and number.value == "2":  # 1 book; 第二天 is the next day
        return None
    for style, text in sorted(_forms(number).items(), key=lambda form: -len(form[1])):
        if text.lower() not in en.lower():  # quick
            continue
        spots = list(re.finditer(rf"(?<![\w.,:$¥€-]){re.escape(text)}(?![\w%]|[.,:]\d)", en, re.IGNORECASE))
        if len(spots) == 1:
            article = re.search(r"\ban? $", en[: spots[0].start()], re.IGNORECASE)  # an 8-hour day, a 7-hour day
            pieces = style.startswith("amount") and not MONEY.search(en)  # 三块蛋糕: three cakes
            return None if article or pieces else Place(found, style, *spots[0].span())
    return None


def _replaced(text: str, changes: list[tuple[int, int, str]]) -> str:
    """The text with new text from start to end, at several places."""
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def places(pair: Pair) -> list[Place]:
    """The numbers of a pair, at most three, if each stands once on both sides and no other stands on one; else none."""
    found = find(pair.zh)
    where = [place for one in found if (place := _place(one, pair.en))] if len(found) <= 3 else []
    if not where or len(where) < len(found):
        return []
    spans = sorted((place.start, place.end) for place in where)
    if any(end > start for (_, end), (start, _) in zip(spans, spans[1:], strict=False)):
        return []  # two times the same
    rest = normalize(_replaced(pair.en, [(start, end, "#") for start, end in spans]))
    return [] if {int(n) for n in re.findall(r"\d+", rest)} - {0, 1, 2} else where


def renumbered(pair: Pair, where: list[Place], rng: random.Random) -> Pair:
    """The pair with other numbers of the same kinds in these places, digits in the place of Chinese numerals, too."""
    zh, en = [], []
    for found, style, start, end in where:
        new, text = _another(found.number, style, rng)
        zh.append((found.start, found.end, _chinese(new, style == "sign", rng)))
        en.append((start, end, text[0].upper() + text[1:] if pair.en[start].isupper() else text))
    return Pair(_replaced(pair.zh, zh), _replaced(pair.en, en))


def _another(old: Number, style: str, rng: random.Random) -> tuple[Number, str]:
    """A number to stand in the place of an old one, and its English in the same style; words only up to a hundred."""
    counts = ("integer", "numeral")
    while True:
        low, high = _bounds(old)
        if old.kind in counts and rng.random() < 0.3:
            low, high = 3, 10 ** rng.randint(2, 4)
        new = draw(rng.choice(counts) if old.kind in counts else old.kind, low, high, rng, test=False)
        new = new._replace(currency=old.currency)
        large = new.value.isdigit() and int(new.value) > 100
        text = _forms(new).get(style.replace("words", "digits") if large else style)
        if text:
            return new, text


def _bounds(old: Number) -> tuple[int, int]:
    """Bounds of the new number. A clock's hours stay in their half of the day: 早上 and a.m. may stand beside."""
    if old.kind != "clock":
        return near(old)
    hour = int(old.value.split(":")[0])
    return (1, 5) if hour in range(1, 6) else (6, 11) if hour < 13 else (13, 23)


def _chinese(number: Number, sign: bool, rng: random.Random) -> str:
    """One of the ways to write the number in Chinese; with a currency's sign if the English has it."""
    forms = chinese_forms(number)
    texts = [text for style, text in forms.items() if style != "sign"]
    return forms["sign"] if sign and "sign" in forms and rng.random() < 0.5 else rng.choice(texts)


# ------------------------------------------------------------------------------------------------- templates


def _chosen(text: str, choices: dict[int, int]) -> str:
    """The text with each bracket replaced by one of its choices."""
    count = iter(range(1, 10))

    def choice(match: re.Match) -> str:
        at = int(match[1] or next(count))
        options = match[2].split("|")
        return options[choices[at] % len(options)]

    return BRACKET.sub(choice, text)


def _english(number: Number, style: str, zh: str, rng: random.Random) -> str:
    """The English of a gap: in the style that it asks for, or as one would write it beside this Chinese."""
    forms = english_forms(number)
    small = number.value.isdigit() and int(number.value) <= 100 and "words" in forms and not re.search(r"\d", zh)
    if style == "nth":
        return forms["words nth" if int(number.value) <= 20 else "nth"]
    if style == "th":  # 4th, not fourth: digits, however small
        return forms["nth"]
    if style:
        return forms[style]
    if number.kind == "phone":
        return zh
    if number.kind == "price":
        return forms["sign" if zh[0] in "¥$€" else "words" if small and rng.random() < 0.5 else "digits"]
    if number.kind == "percent":
        return forms["sign" if "%" in zh else "words" if small and rng.random() < 0.3 else "digits"]
    if number.kind == "date":
        return forms[rng.choice(("plain", "plain", "nth", "of"))]
    if number.kind == "clock":
        said = [style for style in ("colon", "o'clock", "words o'clock", "half") if style in forms]
        return forms["colon" if ":" in zh or int(number.value.split(":")[0]) > 12 else rng.choice(said)]
    return forms["words"] if small and rng.random() < 0.5 else forms.get("short") or forms["digits"]


def templates_by_kind(*files: Path) -> dict[str, list[Template]]:
    """Training's templates for each kind of number, of these files; some serve two."""
    every = [template for file in files for template in read_templates(file)]
    return {kind: [template for template in every if kind in template.kind.split(",")] for kind in KINDS}


def filled(template: Template, rng: random.Random, draw=draw) -> Pair:
    """A pair of a template, with random choices and a random number, drawn by `draw`."""
    choices = {at: rng.randrange(12) for at in range(1, 10)}
    zh, en = _chosen(template.zh, choices), _chosen(template.en, choices)
    kind = rng.choice(template.kind.split(","))
    parts = {"zh": zh.split("{}"), "en": GAP.split(en)}
    out_zh, out_en = parts["zh"][0], parts["en"][0]
    for i, after in enumerate(parts["zh"][1:]):
        number = draw(kind, template.low, template.high, rng, test=False)
        text = _chinese(number, True, rng)
        out_zh += text + after
        out_en += _english(number, parts["en"][2 * i + 1], text, rng) + parts["en"][2 * i + 2]
    return Pair(out_zh, out_en[0].upper() + out_en[1:])


# ------------------------------------------------------------------------------------------------------ all


def pairs(train: Iterable[Pair], n: int, seed: int = 0) -> list[Pair]:
    """n new pairs, none twice: of templates (half), of the training pairs with other numbers (3/10) or names (2/10).

    The same pairs and seed give the same. Whoever trains on them drops what equals a dev or test sentence.
    """
    rng = random.Random(seed)
    train = list(train)
    numbered = [(pair, where) for pair in train if (where := places(pair))]
    named = [pair for pair in train if names(*pair) and not find(pair.zh)]
    by_kind = templates_by_kind(TEMPLATES)
    made: dict[Pair, None] = {}
    while len(made) < n:
        which = rng.random()
        if which < NUMBER and numbered:
            made[renumbered(*rng.choice(numbered), rng)] = None
        elif which < NUMBER + NAME and named:
            new = renamed(*rng.choice(named), rng)
            made |= {new[0]: None} if new else {}
        else:
            made[filled(rng.choice(by_kind[rng.choice(KINDS)]), rng)] = None
    return list(made)


# ------------------------------------------------------------------------------------------- digits to copy


def draw_digits(kind: str, low: int, high: int, rng: random.Random, test: bool) -> Number:
    """A random number as `draw` gives it, but of three digits as often as of four or five, some with a digit doubled.

    Evenly drawn from 3 to 5,000, eight in ten have four digits; and what a model loses are digits that come again.
    """
    while True:
        if kind in MANY_DIGITS:
            n = round(math.exp(rng.uniform(math.log(max(low, 1)), math.log(max(high, 1)))))
        else:
            n = rng.randint(low, high)
        number = any_number(kind, n, n, rng)
        at = rng.randrange(1, len(number.value)) if len(number.value) > 2 else 0
        twice = kind in MANY_DIGITS and kind != "large" and rng.random() < TWICE  # a large one has two digits and zeros
        if twice and number.value[at - 1 : at + 1].isdigit():
            number = number._replace(value=number.value[:at] + number.value[at - 1] + number.value[at + 1 :])
        if held_out(number.value) == test:
            return number


def copies(train: Iterable[Pair], n: int, seed: int = 0) -> list[Pair]:
    """n pairs to learn to copy digits from, none twice: of templates, every second with a training pair beside it.

    So a number stands at all places of a sentence. The same pairs and seed give the same.
    """
    return _beside(train, n, seed, templates_by_kind(TEMPLATES), MANY_DIGITS | FEW_DIGITS, draw_digits)


def practice(train: Iterable[Pair], n: int, seed: int = 0) -> list[Pair]:
    """n pairs as `copies` makes them, of more templates, and of all kinds of number."""
    return _beside(train, n, seed, templates_by_kind(TEMPLATES, PRACTICE), PRACTISED, draw_digits)


def more_practice(train: Iterable[Pair], n: int, seed: int = 0) -> list[Pair]:
    """n pairs as `practice` makes them, of still more templates, many of decimals, prices and ordinals.

    Most of these are sentences of the training split with a number put in: where a model knows what a sentence says
    without the number, it may leave the number out. No digit is doubled here; the bounds say how many there are.
    """
    return _beside(train, n, seed, templates_by_kind(TEMPLATES, PRACTICE, MORE_PRACTICE), MORE_PRACTISED, draw)


def _beside(
    train: Iterable[Pair], n: int, seed: int, by_kind: dict[str, list[Template]], shares: dict[str, int], draw
) -> list[Pair]:
    """n pairs of templates, of each kind its share, every second with a training pair without a number beside it."""
    rng, train = random.Random(seed), list(train)
    made: dict[Pair, None] = {}
    while len(made) < n:
        kind = rng.choices(list(shares), shares.values())[0]
        both = [filled(rng.choice(by_kind[kind])._replace(kind=kind), rng, draw)]
        if train and rng.random() < 0.5 and not find((other := rng.choice(train)).zh):
            both.insert(rng.randrange(2), other)
        made[Pair("".join(pair.zh for pair in both), " ".join(pair.en for pair in both))] = None
    return list(made)


def other_names(train: Iterable[Pair], n: int, seed: int = 0) -> list[Pair]:
    """n training pairs with other names in Latin letters, none twice; the same pairs and seed give the same.

    None where no training pair has a name that is known (`utils.names.known`).
    """
    rng = random.Random(seed)
    named = [pair for pair in train if names(*pair)]
    made: dict[Pair, None] = {}
    while named and len(made) < n:
        if new := renamed(*rng.choice(named), rng):
            made[new[0]] = None
    return list(made)


# -------------------------------------------------------------------------------------------------- two as one


def joined(train: Iterable[Pair], n: int, seed: int = 0) -> list[Pair]:
    """n long pairs, each two random training pairs after one another; the same pairs and seed give the same.

    Long sentences are rare in the corpus, and a model has hardly seen the positions of their ends. Source: Data
    Augmentation by Concatenation for Low-Resource Translation (arXiv 2105.01691).
    """
    rng, train = random.Random(seed), list(train)
    couples = [rng.choices(train, k=2) for _ in range(n)]
    return [Pair(a.zh + b.zh, f"{a.en} {b.en}") for a, b in couples]
