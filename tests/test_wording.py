"""The Chinese of the course: one translation a term, as in data/glossary.tsv, and one way of punctuation."""

import re

import pytest
from babel.messages.pofile import read_po

from tools import glossary, wording
from utils.checks.engine.messages import LOCALE
from utils.config import ROOT


def test_the_glossary_has_each_term_once_and_those_of_the_lessons_tables():
    rows = {row.english.partition(" (")[0]: row for row in wording.glossary()}
    assert len(rows) == len(wording.glossary()) > 90
    assert list(rows) == sorted(rows, key=str.lower)
    for term in glossary.terms(ROOT):
        english = re.sub(r" \([^)]*\)| ?\$[^$]+\$", "", term.english).split(", ")
        chinese = re.sub("（[^）]*）", "", term.chinese).split("、")
        for i, word in enumerate(english):
            if row := rows.get(word):
                said = chinese[i] if len(chinese) == len(english) else chinese[0]
                assert said in (row.chinese, *row.also), term
                assert row.lesson or "(" in row.english, f"{word} is explained in lesson {term.lesson}"
            else:
                assert word in ("BLEU", "chrF", "place"), f"data/glossary.tsv lacks {word}, of lesson {term.lesson}"


def test_the_checks_sentences_are_punctuated_like_the_lessons():
    with (LOCALE / "zh.po").open("rb") as file:
        said = [message.string for message in read_po(file, locale="zh") if message.id and message.string]
    assert len(said) > 1000
    assert [(slip, text[:60]) for text in said for slip in wording.slips(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "中文API",
        "你好,世界",
        "好。 再",
        "他 ，走",
        "图(一)",
        "一 个",
        "`x`的",
        "$x$是",
        "教师说",
        "✓ 对。",
        '词"词"',
        "好.",
    ],
)
def test_each_slip_is_seen(text):
    assert list(wording.slips(text.replace("_", " ")))


@pytest.mark.parametrize(
    "text",
    [
        "中文 API，好。",
        "`x` 是 $y$，不是 3 %。",
        "**✓ 对**。",
        "有老师：教师强制",
        "**注意** *it*：……",
        "比例 1:2",
        "（`f(x)`）",
    ],
)
def test_what_is_right_is_left_alone(text):
    assert list(wording.slips(text)) == []


def test_a_term_has_its_translation():
    assert list(wording.terms("Two queries and a `mask`.", "两个查询和 `mask`。")) == []
    assert list(wording.terms("Two queries.", "两个请求。")) == ["'queries' without 查询 (data/glossary.tsv)"]
    assert list(wording.terms("See *Roofline models of memory*.", "见 *Roofline models of memory*。")) == []
    assert list(wording.terms("The post-norm curve.", "post-norm 的曲线。", shown=True)) == []
    assert len(list(wording.terms("The causal mask.", "因果的遮盖。"))) == 1
