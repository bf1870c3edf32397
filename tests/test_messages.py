"""The checks in another language: every sentence is collected, its places are kept, and English is the default."""

import ast
import re
import subprocess
import sys

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from tools import messages
from utils import language
from utils.checks.engine import messages as engine
from utils.checks.engine.messages import LOCALE, say
from utils.config import ROOT

SENTENCE = re.compile(r"[a-z]{2,},? [a-z]{2,},? [a-z]{2,}")


@pytest.fixture
def pseudo(monkeypatch):
    """A language in which every sentence that was collected stands in brackets, with its places as they are."""
    found = {text: f"⟦{text}⟧" for text in messages.collected()}
    monkeypatch.setattr(engine, "translations", lambda language: found)


def bare(text: str) -> str:
    """What stands in no brackets, and in no quoted name, code or value."""
    while "⟦" in text and (inner := re.sub(r"⟦[^⟦⟧]*⟧", "", text)) != text:
        text = inner
    return text


CHECKS = messages.exercises()


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.lesson}.{check.name}")
def test_no_sentence_is_left_out(check, pseudo):
    """Wrong answers of many kinds: whatever they are told has been collected."""
    told = [check.examine(mistake.code, 0)[1] for mistake in check.mistakes[:3]]
    told += [check.examine(lambda *args: None, 0)[1], check.examine(check.answers[0].function, 0)[1]]
    for text in told:
        left = "\n".join(line for line in bare(text).splitlines() if not re.match(r"\s+(got|expected|\w+ =)", line))
        assert not SENTENCE.search(left), left


def test_what_is_collected_holds_mistakes_rules_tasks_and_the_engines_own():
    found = set(messages.collected())
    assert {mistake.advice for check in CHECKS for mistake in check.mistakes} <= found
    assert "not attempted yet. Fill in the function above, run its cell, then run this one." in found
    assert {part.task for part in messages.PARTS} <= found
    assert len(found) == len(messages.collected()), "each once"


def test_a_new_sentence_is_empty_an_old_one_is_kept_and_a_lost_one_is_dropped():
    old = Catalog(locale="zh")
    old.add("kept {n}", "留下 {n}")
    old.add("lost", "丢了")
    new = messages.renewed(old, ["new", "kept {n}"])
    assert {message.id: message.string for message in new if message.id} == {"new": "", "kept {n}": "留下 {n}"}


def test_a_section_is_called_what_the_lesson_calls_it(monkeypatch):
    monkeypatch.setattr(messages, "headings", lambda tongue: {"Why so?": "为什么？"})
    said = "见“何故”一节，“词”也是。"
    assert messages.called('See "Why so?", and "words".', said, "zh") == "见“为什么？”一节，“词”也是。"
    assert messages.called('See "Why not?", and "words".', said, "zh") == said, "a lesson that is not translated yet"


@pytest.mark.parametrize("path", sorted(LOCALE.glob("*.po")), ids=lambda path: path.stem)
def test_a_catalogue_has_every_sentence_and_its_places(path):
    with path.open("rb") as file:
        catalog = read_po(file, locale=path.stem)
    assert [message.id for message in catalog if message.id] == messages.collected(), "run: python -m tools.messages"
    torn = [m.id for m in catalog if m.id and m.string and messages.places(m.id) != messages.places(m.string)]
    assert not torn, "a place is missing, or there is one too many"
    renewed = messages.written(messages.renewed(catalog, messages.collected()))
    assert path.read_bytes() == renewed, "run: python -m tools.messages (did a lesson's heading change?)"


@pytest.mark.slow
def test_english_is_the_default_and_needs_no_catalogue(monkeypatch):
    monkeypatch.delenv("TRANSFORMER_COURSE_LANGUAGE", raising=False)
    assert say("{n} cases", n=3) == "3 cases"
    monkeypatch.setenv("TRANSFORMER_COURSE_LANGUAGE", "xx")
    assert say("{n} cases", n=3) == "3 cases", "a language without a catalogue"
    code = "import sys; from utils import checks; checks.lesson02.scores(len); print('babel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_another_language_is_spoken(monkeypatch, tmp_path):
    (tmp_path / "xx.po").write_text(
        'msgid ""\nmsgstr ""\n\nmsgid "{n} cases"\nmsgstr "{n} Fälle"\n\nmsgid "not yet"\nmsgstr ""\n', encoding="utf-8"
    )
    monkeypatch.setattr(engine, "LOCALE", tmp_path)
    monkeypatch.setitem(language.NAMES, "xx", "Xx")
    monkeypatch.setenv("TRANSFORMER_COURSE_LANGUAGE", "xx")
    engine.translations.cache_clear()
    try:
        assert say("{n} cases", n=3) == "3 Fälle" and say("not yet") == "not yet"
    finally:
        engine.translations.cache_clear()


def test_an_unknown_language_is_told_once_and_english_spoken(monkeypatch, capsys):
    monkeypatch.setenv("TRANSFORMER_COURSE_LANGUAGE", "yy")
    assert [language.language(), say("{n} cases", n=3), language.language()] == ["en", "3 cases", "en"]
    assert capsys.readouterr().err == "The course has no language 'yy': ask for en (English) or zh (中文).\n"


def test_only_literals_are_collected():
    tree = ast.parse('say("a b"); print("c"); TYPES = {1: ("d", 2)}; OTHER = "e"')
    assert sorted(messages.literals(tree)) == ["a b", "d"]
