"""The sentences of the checks for translators: collect them, and keep the catalogues of other languages complete.

    python -m tools.messages             add to each catalogue what it lacks, and drop what nobody says any more
    python -m tools.messages --status    only tell how many sentences of each catalogue have no translation yet

A catalogue is utils/checks/locale/LANGUAGE.po, as gettext has it; any editor for .po files opens it, and an empty file
begins a language. A sentence that has changed in English is new: its old translation is lost, and git has it. Sections
that a sentence names are called what the lesson's own catalogue calls them (see tools.weave).
"""

import argparse
import ast
import io
import re
import string
import sys
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from tools import weave
from utils import checks, language
from utils.checks.capstone import PARTS, oracles
from utils.checks.engine.cases import Draw
from utils.checks.engine.check import Check
from utils.checks.engine.messages import LOCALE

ROOT = Path(checks.__file__).parent
SAYING = ("say", "Wrong", "Missing")  # the last two hand on to the first what they are given
TABLES = ("AGAIN", "SPLIT", "TYPES")  # constants whose texts are given to it elsewhere
SECTION = {"zh": "(?<=“)[^”]*(?=”一节)"}  # how a language names a section; in English it stands in quotes


def name_of(node: ast.expr) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def literals(tree: ast.AST) -> list[str]:
    """The texts that stand in calls of `say`, and in the tables that hand theirs to it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node.func) in SAYING and node.args:
            found += [node.args[0]]
        elif isinstance(node, ast.Assign) and name_of(node.targets[0]) in TABLES:
            found += ast.walk(node.value)
    return [node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def exercises() -> list[Check]:
    """Every exercise of every lesson, and the parts of the capstone that are compared with one."""
    modules = (*checks.LESSONS, oracles)
    return [check for module in modules for check in vars(module).values() if isinstance(check, Check)]


def collected() -> list[str]:
    """Every sentence that a check may say, each once: the engine's, then each exercise's."""
    found: dict[str, None] = {}
    for path in sorted(ROOT.rglob("*.py")):
        found |= dict.fromkeys(literals(ast.parse(path.read_text(encoding="utf-8"))))
    for check in exercises():
        for mistake in check.mistakes:
            found |= {mistake.name: None, mistake.advice: None}
        if check.draw_cost:
            found |= dict.fromkeys(sentence for rules in check.draw_cost(Draw(0))[1:] for _, sentence in rules)
    for part in PARTS:
        found |= {part.task: None}
    return [text for text in found if any(sign.isalpha() for sign in text)]


def places(text: str) -> set[str]:
    """The named places of a sentence."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@cache
def headings(tongue: str) -> dict[str, str]:
    """The headings of all lessons that are translated, by the English ones, with and without "(deeper)"."""
    found = {}
    for notebook, path in weave.catalogues(tongue).items():
        words = language.read_catalogue(path)
        for _, kind, text in weave.pieces(weave.read(notebook)):
            both = [re.findall("^#+ (.+)", one, re.M) for one in (text, words.get((kind, language.digest(text)), ""))]
            found |= dict(zip(*both, strict=False))
    return {one.removesuffix(" (deeper)"): other for one, other in found.items()} | found


def called(text: str, other: str, tongue: str) -> str:
    """The translation, with the sections that it names called what the lesson calls them."""
    known, places = headings(tongue), re.findall(SECTION.get(tongue, "$^"), other)
    named = [name for name in re.findall('"([^"]+)"', text) if name in known]
    if len(named) == len(places):
        for name, place in zip(named, places, strict=True):
            other = other.replace(f"“{place}”", f"“{known[name]}”")
    return other


def renewed(catalog: Catalog, texts: list[str]) -> Catalog:
    """The catalogue with exactly these sentences, in this order, and the translations that it had."""
    made = Catalog(locale=catalog.locale, fuzzy=False)
    for text in texts:
        old = catalog.get(text)
        made.add(text, called(text, old.string, str(catalog.locale)) if old else "")
    return made


def written(catalog: Catalog) -> bytes:
    file = io.BytesIO()
    write_po(file, catalog, width=100, omit_header=True)
    return file.getvalue()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.messages", description=__doc__.splitlines()[0])
    parser.add_argument("--status", action="store_true", help="change nothing")
    args = parser.parse_args(argv)
    texts = collected()
    for path in sorted(LOCALE.glob("*.po")):
        with path.open("rb") as file:
            catalog = renewed(read_po(file, locale=path.stem), texts)
        if not args.status:
            path.write_bytes(written(catalog))
        missing = sum(not message.string for message in catalog if message.id)
        print(f"{path.stem}: {len(texts) - missing} of {len(texts)} sentences translated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
