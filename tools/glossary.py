"""The glossary: every term of the lessons' tables, in English and Chinese, with the lesson that explains it."""

import json
import re
from pathlib import Path
from typing import NamedTuple

from tools import editions

HEAD = re.compile(r"\| (term|英文) \| 中文 \| (in this lesson|在这一课里) \|")


class Term(NamedTuple):
    """A row of a lesson's table."""

    english: str
    chinese: str
    meaning: str
    lesson: str  # a notebook's name without its ending


def terms(root: Path, tongue: str = "") -> list[Term]:
    """The rows of all lessons' tables of terms, in the order of the lessons; in another language where they have it."""
    found = []
    for path in sorted((root / "notebooks").glob("[0-9]*.ipynb")):
        path = root / editions.source(path.relative_to(root).as_posix(), tongue)
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for text in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"):
            if head := HEAD.search(text):
                rows = text[head.end() :].split("\n\n")[0].splitlines()[2:]
                for row in rows:
                    cells_of_row = re.split(r"(?<!\\)\|", row.strip().strip("|"))
                    found.append(Term(*(cell.strip() for cell in cells_of_row), path.stem))
    return found


def page(root: Path, tongue: str = "") -> str:
    """The glossary in Markdown, as a page of notebooks/, by the alphabet."""
    title, about, *head = (
        editions.word(text, tongue)
        for text in (
            "Glossary",
            "The terms of the lessons, each where it is explained first or anew.",
            *("term", "中文", "meaning", "lesson"),
        )
    )
    text = f"# {title}\n\n{about}\n\n| {' | '.join(head)} |\n| --- | --- | --- | --- |\n"
    for term in sorted(terms(root, tongue), key=lambda term: (term.english.lower(), term.lesson)):
        lesson = f"[{term.lesson.split('_')[0]}]({term.lesson}.ipynb)"
        text += f"| {term.english} | {term.chinese} | {term.meaning} | {lesson} |\n"
    return text
