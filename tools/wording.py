"""How the Chinese of the course is written: its terms are those of data/glossary.tsv, its punctuation is full-width.

Weaving and the tests ask for it, so that one term has one translation in all lessons. A row of the glossary names the
English term, its translation, the lesson that explains it, and after those what may stand in its place as well. A word
with a remark in parentheses means other things elsewhere: it is not looked for.
"""

import csv
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from utils.config import ROOT

GLOSSARY = ROOT / "data" / "glossary.tsv"
HAN = "\u3400-\u9fff"
FULL = "，。：；？！（）“”、《》"
# What nobody writes: a half-width sign after Chinese, a blank too few, a blank too many. C is code, M a formula.
SLIPS = {
    "half-width punctuation": (
        rf"[{HAN}][,;:?!](?!\d)|[{HAN}]\.(?![.A-Za-z])|[{HAN}]\((?!\))|\)[{HAN}]"
        rf"|[{FULL}](?:[,;:?!]|\.(?![.A-Za-z]))"
    ),
    "straight quotes": rf'"[{HAN}]|[{HAN}]"',
    "no space beside Latin letters, numbers or formulas": rf"[{HAN}]\**[A-Za-z0-9]|[A-Za-z0-9%]\**[{HAN}]",
    "a space beside full-width punctuation": rf"[{FULL}] (?=[{HAN}A-Za-z0-9])|(?<=[{HAN}A-Za-z0-9]) [{FULL}]",
    "a space between Chinese characters": rf"[{HAN}] [{HAN}]",
    "教师 alone: 老师, or 教师强制": "教师(?!强制|模型)",
    "a verdict without its form **✓ 对**。 or **✗ 不对**。": r"(?<!\*\*)[✓✗] 不?对|[✓✗] 不?对(?!\*\*。)",
}


class Row(NamedTuple):
    """A row of the glossary."""

    english: str
    chinese: str
    lesson: str
    also: tuple[str, ...]


@cache
def glossary() -> list[Row]:
    with GLOSSARY.open(encoding="utf-8", newline="") as file:
        return [
            Row(*row[:3], tuple(filter(None, row[3].split(";")))) for row in list(csv.reader(file, delimiter="\t"))[1:]
        ]


@cache
def patterns() -> list[tuple[Row, re.Pattern]]:
    """The terms to look for, in singular and plural."""
    found = []
    for row in glossary():
        if "(" not in row.english:
            word = f"{row.english[:-1]}(?:y|ies)" if row.english.endswith("y") else f"{row.english}(?:e?s)?"
            word = word.replace("hypothesis(?:e?s)?", "hypothes[ei]s")
            found.append((row, re.compile(rf"(?<![\w-]){word}(?![\w-])", re.IGNORECASE)))
    return found


def bare(text: str) -> str:
    """The prose of a text: C for code, M for a formula; without addresses and HTML."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)\s]*\)", "]", text)
    text = re.sub(r"`[^`]+`", "C", text)
    text = re.sub(r"\$\$[^$]+\$\$|</?(?!pad|bos|eos|unk)[a-z][^>]*>", "", text)
    return re.sub(r"\$[^$]+\$", "M", text)


def terms(english: str, chinese: str, shown: bool = False) -> Iterator[str]:
    """The terms of a text that its translation lacks.

    What stands in *stars* or "quotes" and stays English, as titles of papers do, does not count, nor do the names of
    exercises. What is said of a figure (`shown`) may quote the figure's English words.
    """
    english = re.sub(r"^## \d\. \w+$|: \w+(?= ★)", "", bare(english), flags=re.MULTILINE)
    for mark, kept in re.findall(r"([*\"])([^*\"]+)\1", english.replace("**", "")):
        english = english.replace(f"{mark}{kept}{mark}", "") if kept in bare(chinese) else english
    for row, pattern in patterns():
        if found := pattern.search(english):
            words = (row.chinese, *row.also, *([found[0].lower()] if shown else []))
            if not any(word in chinese.lower() for word in map(str.lower, words)):
                yield f"{found[0]!r} without {row.chinese} (data/glossary.tsv)"


def slips(chinese: str) -> Iterator[str]:
    """Punctuation and blanks that are not as in the rest of the course, each with what stands around it."""
    text = bare(chinese)
    for name, pattern in SLIPS.items():
        for found in re.finditer(pattern, text):
            yield f"{name}: {text[max(0, found.start() - 8) : found.end() + 8]!r}"
