"""The language that a learner reads: English, or one whose catalogues lie in notebooks/text/LANGUAGE/.

TRANSFORMER_COURSE_LANGUAGE names it, as in `make lab LANGUAGE=zh`. A catalogue holds the words of one lesson, each with
a hash of the English that it was made from, so that it cannot drift: what has no translation stays English.
"""

import hashlib
import json
import os
import re
import sys
from functools import cache
from pathlib import Path

from utils.config import ROOT

CATALOGUES = ROOT / "notebooks" / "text"
ENTRY = re.compile(r"^\+\+\+ (\{.*\})\n", re.MULTILINE)
KINDS = ("en", "caption", "alt")  # a Markdown cell, a figure's caption, and the figure in words
NAMES = {"zh": "中文"}  # how a language calls itself
WORDS = {  # what stands at every caption, and in the place of a stored widget
    "zh": {
        "Figure": "图",
        "The picture in words": "图中有什么",
        "Run this cell to play with the figure.": "运行这个单元格，就可以动手试这张图。",
    }
}


def language() -> str:
    """The language's two letters; "en" where nothing is said, or one that there is not, which is told once."""
    if sentence := unknown():
        tell_once(sentence)
        return "en"
    return os.environ.get("TRANSFORMER_COURSE_LANGUAGE") or "en"


def unknown() -> str:
    """A sentence where a language is asked for that the course does not have, with those that it has; else ""."""
    asked = os.environ.get("TRANSFORMER_COURSE_LANGUAGE") or "en"
    if asked in ("en", *NAMES):
        return ""
    there = " or ".join(f"{letters} ({name})" for letters, name in NAMES.items())
    return f"The course has no language {asked!r}: ask for en (English) or {there}."


@cache
def tell_once(sentence: str) -> None:
    """Print it to stderr, at the first call alone."""
    print(sentence, file=sys.stderr)


def digest(text: str) -> str:
    """What a catalogue calls an English text: eight hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:8]


def read_catalogue(path: Path) -> dict[tuple[str, str], str]:
    """The words of one lesson: {(kind, digest of the English): text}. ValueError, one sentence, where it is broken.

    An entry is a line `+++ {"en": "1f3c5a7b"}` and the text below it; a text of lines that begin with % is a
    note to the translator, and no translation.
    """
    found: dict[tuple[str, str], str] = {}
    head, *parts = ENTRY.split(path.read_text(encoding="utf-8"))
    if head.strip() and not head.lstrip().startswith("%"):
        raise ValueError(f"{path.name} begins with {head.strip()[:40]!r}: a line +++ {{...}} comes first.")
    for about, text in zip(parts[::2], parts[1::2], strict=True):
        kinds = [(kind, value) for kind, value in json.loads(about).items() if kind in KINDS]
        if len(kinds) != 1 or kinds[0] in found:
            raise ValueError(f"{path.name}: +++ {about} names no kind of text, several, or one that stands twice.")
        lines = [line for line in text.strip().splitlines() if not line.startswith("% ")]
        if text := "\n".join(lines).strip():
            found[kinds[0]] = text
    return found


@cache
def captions(language: str) -> dict[tuple[str, str], str]:
    """The captions and alt texts of all lessons of a language."""
    found = {}
    for path in sorted((CATALOGUES / language).rglob("*.md")):
        found |= {key: text for key, text in read_catalogue(path).items() if key[0] != "en"}
    return found


def caption(text: str, kind: str = "caption") -> str:
    """A figure's caption, or its alt text, in the learner's language."""
    return captions(language()).get((kind, digest(text)), text) if language() != "en" else text


def word(text: str) -> str:
    """One of the words that stand at every caption."""
    return WORDS.get(language(), {}).get(text, text)
