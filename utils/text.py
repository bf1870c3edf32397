"""Text: cleaned, and cut into sentences, the same way in training and in use (lesson 08, section "Clean").

A source is "zh" (Chinese) or "any" (every other language, in any script); the tokenizer of a checkpoint knows which.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache as memoize
from itertools import accumulate, pairwise

SOURCES = ("zh", "any")
CLEANING = 1  # the version of what `clean_source` does; a checkpoint keeps it
LONGEST = {"zh": 60, "any": 150}  # characters in one piece; the shipped model was trained on sentences of about twelve

# ---- clean ----

INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
QUOTES = str.maketrans("‘’“”", "''\"\"")
HAN = re.compile(r"[\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
WORD = re.compile(r"[^\W\d_]+")  # letters of any script
KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa]")


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


def clean_source(text: str, source: str) -> str:
    """Clean source text: as Chinese if `source` is "zh"; any other language is cleaned as English is."""
    return clean(text) if source == "zh" else clean_english(text)


def is_chinese(sentence: str) -> bool:
    """Whether a sentence is Chinese: at least as many Chinese characters as other words, and no Japanese kana."""
    characters, words = HAN.findall(sentence), WORD.findall(HAN.sub(" ", sentence))
    return len(characters) >= max(1, len(words)) and not KANA.search(sentence)


def guess_source(sentences: Iterable[str]) -> str:
    """Guess the source: "zh" if most of the sentences are Chinese, else "any". They are read once, and not kept."""
    lead = sum(1 if is_chinese(sentence) else -1 for sentence in sentences)
    return "zh" if lead > 0 else "any"


# ---- cut ----

MARKS, CLOSERS = "。!?;…⋯~〜.❗❓؟۔।", "\"'”’」』》】)"  # ends of sentences; what may follow one and belongs to it
NUMERAL = r"[\d一二三四五六七八九十百千万]"
# What holds marks that end no sentence.
NO_END = re.compile(
    rf"""
      (?<={NUMERAL})[.,:~〜](?={NUMERAL})                  # 3.14, 3,000, 10:30, 三~五
    | (?<=\w)\.(?=[A-Z\d](?![a-z]))                        # U.S.A, ASP.NET, v.2; but an end in Tom.Mary
    | (?<!\.)\.(?=[a-z])                                   # a.m, data.csv, and .csv after a Chinese character
    | \b[A-Za-z]\.(?=\s?[A-Z])                             # J. K. Rowling
    | (?<=\b[A-Za-z]\.[A-Za-z])\.                          # the last one of a.m. and U.S.
    | \b(?:Dr|Mrs?|Ms|Prof|St|Jr|Sr|vs|etc)\.
    | \b(?:No|Nr|Vol|Fig|pp?)\.(?=\s?\d)                   # No. 5
    | \b\d{{1,2}}\.(?=\s[A-Za-z])                          # 3. Oktober
    | (?<=\w)[{MARKS}]+[{CLOSERS}]*(?=\s[a-z])             # approx. ten; "Come!" said he
    | (?<![{MARKS}])[{MARKS}]+[{CLOSERS}]*(?=[,、:])       # “来吧!”,他说
    """,
    re.ASCII | re.VERBOSE,
)
# Marks that belong to no sentence before it, the number of a list (1. or a.), text, marks.
SENTENCE = re.compile(rf"[{MARKS}\s]*(?:(?:\d{{1,3}}|[A-Za-z])\.)?[^{MARKS}]*(?:\s*[{MARKS}]+[{CLOSERS}]*)*")
CLAUSE = re.compile(r"[^,、:\s]*[,、:\s]+|[^,、:\s]+")
# What no model translates: a URL, an e-mail address, a tag; with the marks after it.
FOREIGN = re.compile(
    rf"(?:(?:https?://|www\.)[!-;=?-~]*[\w/]|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.\w+)+|</?[a-z][\w-]*(?:\s[^<>]*)?/?>)[{MARKS},、]*",
    re.ASCII | re.IGNORECASE,
)


def split_sentences(text: str, longest: int = LONGEST["zh"]) -> list[str]:
    """Cut clean text into pieces of at most `longest` characters; joined they give the text.

    First at the ends of sentences; what is still too long at commas and spaces; what is still too long anywhere, but
    within a Latin word only if there is no other place. A URL, an e-mail address or a tag is a piece of its own, and
    may be longer.
    """
    pieces, start = [], 0
    for foreign in FOREIGN.finditer(text):
        pieces += [*_sentences(text[start : foreign.start()], longest), foreign[0]]
        start = foreign.end()
    return pieces + _sentences(text[start:], longest)


def _sentences(text: str, longest: int) -> list[str]:
    """`split_sentences` for text in which nothing is foreign."""
    masked = NO_END.sub(lambda found: "_" * len(found[0]), text)  # as long as the text: what is cut there is cut here
    anywhere = re.compile(rf"(?s:.{{1,{longest}}})(?!(?<=\w)\w)|.{{1,{longest}}}", re.ASCII)
    parts = []
    for sentence in SENTENCE.findall(masked):
        part = ""
        for clause in CLAUSE.findall(sentence) if len(sentence) > longest else [sentence]:
            if len(part) + len(clause) > longest:
                parts += anywhere.findall(part)
                part = ""
            part += clause
        parts += anywhere.findall(part)
    lengths = [0, *accumulate(map(len, parts))]
    return [text[start:end] for start, end in pairwise(lengths)]


# ---- what the translator is given ----


def whole_characters(text: str) -> str:
    """The text with "?" for half surrogate pairs, which are no text and which the cleaning would stumble over."""
    return text.encode(errors="replace").decode()


def readable(piece: str, source: str) -> bool:
    """Whether a piece of clean text is in the source language; if not, it is left as it is."""
    if FOREIGN.fullmatch(piece):
        return False
    return bool(HAN.search(piece)) if source == "zh" else bool(piece)


def pieces_of(line: str, source: str) -> list[str]:
    """A line cleaned and cut into sentences; a line of which nothing can be translated stays whole."""
    found = []
    for part in whole_characters(line).splitlines():
        cleaned = clean_source(part, source)
        if readable(cleaned, source):
            found += split_sentences(cleaned, LONGEST[source])
        else:
            found.append(" ".join(part.split()))
    return [piece.strip() for piece in found if piece.strip()]
