"""`python tools/data_card.py` rewrites the figures in data/README.md; a test recomputes them."""

import re
from collections.abc import Iterable

from utils.config import ROOT
from utils.corpus import Pair, Row, TestItem, group, read_rows, split
from utils.dictionary import glosses, unseen
from utils.fetch import fetched

CARD = ROOT / "data" / "README.md"
MARKS = "<!-- figures, written by tools/data_card.py -->\n", "<!-- end of figures -->"
NAMES = re.compile(r"\b(Tom|Mary)\b")


def figures(rows: list[Row], found: list[Pair]) -> str:
    """The two tables of the card, in Markdown, from the cleaned rows and all glosses."""
    groups, corpus = group(rows), split(rows)
    parts = [[TestItem(pair.zh, (pair.en,)) for pair in corpus.train], corpus.dev, corpus.test]
    known = {c for pair in corpus.train for c in pair.zh}
    n_pairs = len({(row.zh, row.en) for row in rows})
    n_used = sum(len(item.references) for part in parts for item in part)

    whole = {
        "rows of the table": len(rows),
        "distinct pairs after cleaning": n_pairs,
        "distinct Chinese sentences": len({row.zh for row in rows}),
        "distinct English sentences": len({row.en for row in rows}),
        "groups": len(groups),
        "rows of the largest group": max(map(len, groups)),
        "pairs of dev and test groups that are left out": n_pairs - n_used,
        "glosses, pairs": len(found),
        "glosses, words": len({pair.zh for pair in found}),
        "unseen compounds": len(unseen()),
    }
    by_part = {
        "pairs": lambda part: f"{sum(len(item.references) for item in part):,}",
        "Chinese sentences": lambda part: f"{len({item.zh for item in part}):,}",
        "characters of a Chinese sentence: median / 95 % / most": lambda part: spread(len(item.zh) for item in part),
        "words of the (first) reference: median / 95 % / most": lambda part: spread(
            len(item.references[0].split()) for item in part
        ),
        "distinct characters": lambda part: f"{len({c for item in part for c in item.zh}):,}",
        "characters that train never has": lambda part: share(c not in known for i in part for c in i.zh),
        "sentences with such a character": lambda part: share(not known.issuperset(i.zh) for i in part),
        "sentences with more than one reference": lambda part: (
            share(len(item.references) > 1 for item in part) if part is not parts[0] else "-"
        ),
        "references that name Tom or Mary": lambda part: share(bool(NAMES.search(item.references[0])) for item in part),
    }
    table = "| the whole | |\n| --- | ---: |\n"
    table += "".join(f"| {name} | {value:,} |\n" for name, value in whole.items())
    table += "\n| by split | train | dev | test |\n| --- | ---: | ---: | ---: |\n"
    return table + "".join(f"| {name} | {' | '.join(map(cell, parts))} |\n" for name, cell in by_part.items())


def spread(lengths: Iterable[int]) -> str:
    ordered = sorted(lengths)
    return " / ".join(str(ordered[int(q * (len(ordered) - 1))]) for q in (0.5, 0.95, 1))


def share(truths: Iterable[bool]) -> str:
    truths = list(truths)
    return f"{100 * sum(truths) / len(truths):.2f} %"


if __name__ == "__main__":
    table = list(read_rows(fetched("tatoeba.tsv")))
    new = figures(table, glosses(split(table)))
    head, rest = CARD.read_text(encoding="utf-8").split(MARKS[0])
    tail = rest.split(MARKS[1])[1]
    CARD.write_text(head + MARKS[0] + new + MARKS[1] + tail, encoding="utf-8")
