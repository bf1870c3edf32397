"""The glossary: every term of the lessons' tables, in English and Chinese, with the lesson that explains it."""

import json
import re
from pathlib import Path
from typing import NamedTuple

HEAD = "| term | 中文 | in this lesson |"


class Term(NamedTuple):
    """A row of a lesson's table."""

    english: str
    chinese: str
    meaning: str
    lesson: str  # a notebook's name without its ending


def terms(root: Path) -> list[Term]:
    """The rows of all lessons' tables of terms, in the order of the lessons."""
    found = []
    for path in sorted((root / "notebooks").glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for text in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"):
            if HEAD in text:
                rows = text.split(HEAD)[1].split("\n\n")[0].splitlines()[2:]
                for row in rows:
                    cells_of_row = re.split(r"(?<!\\)\|", row.strip().strip("|"))
                    found.append(Term(*(cell.strip() for cell in cells_of_row), path.stem))
    return found


def page(root: Path) -> str:
    """The glossary in Markdown, as a page of notebooks/, by the alphabet."""
    text = "# Glossary\n\nThe terms of the lessons, each where it is explained first or anew.\n\n"
    text += "| term | 中文 | meaning | lesson |\n| --- | --- | --- | --- |\n"
    for term in sorted(terms(root), key=lambda term: (term.english.lower(), term.lesson)):
        lesson = f"[{term.lesson.split('_')[0]}]({term.lesson}.ipynb)"
        text += f"| {term.english} | {term.chinese} | {term.meaning} | {lesson} |\n"
    return text
