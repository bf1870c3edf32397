"""From the code back to the page: every public part of the core names the lesson and the section that builds it."""

import importlib
import inspect
import re

import pytest

from utils.config import ROOT

MODULES = ["attention", "positional", "dropout", "transformer", "loss", "recurrent"]
PLACE = re.compile(r"[Ll]esson\s+(\d\db?),\s+\"([^\"]+)\"")


def headings(lesson: str) -> set[str]:
    (twin,) = (ROOT / "notebooks" / "text").glob(f"{lesson}_*.md")
    return set(re.findall(r"^#+ (.*)$", twin.read_text(encoding="utf-8"), flags=re.MULTILINE))


def public(module) -> dict:
    """The public functions and classes that the module itself defines."""
    mine = {name: x for name, x in vars(module).items() if getattr(x, "__module__", "") == module.__name__}
    return {name: x for name, x in mine.items() if callable(x) and not name.startswith("_")}


@pytest.mark.parametrize("name", MODULES)
def test_public_parts_name_the_section_that_builds_them(name: str):
    for part, thing in public(importlib.import_module(f"utils.{name}")).items():
        doc = inspect.getdoc(thing) or ""
        places = PLACE.findall(doc)
        assert places, f"{part} does not say which lesson builds it"
        for lesson, section in places:
            assert " ".join(section.split()) in headings(lesson), f"{part}: lesson {lesson} has no section {section!r}"
