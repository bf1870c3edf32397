"""A search that finds Chinese: its characters are indexed, and asked, as overlapping pairs. No dictionary."""

import re

from sphinx.search import languages
from sphinx.search.en import SearchEnglish

HAN = "\u3400-\u9fff\uf900-\ufaff"
PARTS = re.compile(rf"[{HAN}]+|[^\W{HAN}]+")


def words(text: str) -> list[str]:
    """What the index holds of a text: English words, and of Chinese the single characters and their pairs."""
    found = []
    for part in PARTS.findall(text):
        if re.match(f"[{HAN}]", part):
            found += [*(part[i : i + 2] for i in range(len(part) - 1)), *part]
        else:
            found.append(part)
    return found


class Pairs(SearchEnglish):
    """English as Sphinx knows it, and Chinese in pairs."""

    js_splitter_code = rf"""
function splitQuery(query) {{
  return (query.match(/[{HAN}]+|[^\s\p{{P}}\p{{S}}{HAN}]+/gu) || []).flatMap((part) =>
    /[{HAN}]/.test(part) && part.length > 1 ? [...part].slice(1).map((c, i) => part[i] + c) : [part]);
}}
"""

    def split(self, input: str) -> list[str]:
        return words(input)


def setup(app) -> dict:
    languages["en"] = Pairs
    return {"parallel_read_safe": True}
