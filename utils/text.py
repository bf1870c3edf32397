"""Cleaning: what is done to every sentence, in training and in use (lesson 08, section "Clean them")."""

import re
import unicodedata
from functools import cache as memoize

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
