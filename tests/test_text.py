"""Text: one form of every sentence, cut where sentences end and nowhere else."""

import re
import time

import pytest
from helpers.tiny import few
from hypothesis import example, given
from hypothesis import strategies as st

from utils import corpus
from utils.text import LONGEST, clean, clean_english, clean_source, guess_source, is_chinese, split_sentences

# OpenCC has one character (薴) and some thirty names (乾清宮) whose result it would convert again: left out here.
troublesome = st.sampled_from("機器學習乾坤後麵著裡？！（　\t\n\u200b“’")
texts = st.text(st.one_of(st.characters(codec="utf-8", exclude_characters="薴"), troublesome))


@pytest.mark.slow
@given(texts)
def test_cleaning_twice_is_cleaning_once(text):
    assert clean(clean(text)) == clean(text)
    assert clean_english(clean_english(text)) == clean_english(text)


@given(texts)
def test_cleaned_text_is_one_line_without_spare_spaces(text):
    for cleaned in (clean(text), clean_english(text)):
        assert cleaned == " ".join(cleaned.split())


def test_cleaning_unifies_scripts_and_widths():
    assert clean("　機器學習，  ＡＢＣ？\u200b") == clean("机器学习,\tABC?") == "机器学习, ABC?"
    assert clean("") == clean(" \n") == ""
    assert clean_english("“It’s\u00a0me.”") == '"It\'s me."'


# ----------------------------------------------------------------------------------------------- the source language


def test_each_source_is_cleaned_in_its_own_way():
    assert clean_source("機械　學習", "zh") == "机械 学习"
    assert clean_source("機械　學習 „Öl“", "any") == '機械 學習 „Öl"'  # Japanese has characters that look traditional


@pytest.mark.parametrize(
    ("sentence", "chinese"),
    [
        ("我喜欢学习。", True),
        ("我們學習。", True),
        ("我用Python。", True),
        ("汤姆用Windows 7。", True),
        ("Er trinkt 茶.", False),
        ("私は本を読む。", False),
        ("3.14", False),
        ("", False),
    ],
)
def test_a_sentence_is_chinese_by_most_of_its_words(sentence, chinese):
    assert is_chinese(sentence) == chinese


def test_the_source_is_what_most_sentences_are():
    german, chinese = ["Anna trinkt Tee.", "Ben kauft Brot."] * 100, ["我喜欢茶。"]
    assert guess_source(german + 2 * chinese) == guess_source(["Er trinkt 茶."] * 9) == guess_source([]) == "any"
    assert guess_source(2 * german + 400 * chinese) == "any" != guess_source(iter(german + 201 * chinese)) == "zh"
    assert guess_source(["私は本を読む。", "これはペンです。", "日本"]) == "any"


# ------------------------------------------------------------------------------------------------------------- cut

MARKS = [
    "。",
    "！",
    "？",
    "；",
    "…",
    "……",
    "...",
    "......",
    ".",
    "．",
    "~",
    "～",
    "｡",
    "?!",
    "！！！",
    "⋯⋯",
    "❗",
    " 。 ",
    "‼",
]


@few
@given(st.text(st.characters(codec="utf-8"), max_size=300))
@example("，".join(["我" * 70] * 3))
@example("。" * 200 + "”" * 70)
@example("我\n你\u2028他😀𠮷" * 30)
@example("见https://a.bc/d.e?f=1。写信给a.b@c.de，<b>3.14</b>Dr. No. 5")
def test_pieces_joined_are_the_text(text):
    for longest in (5, *LONGEST.values()):
        assert "".join(pieces := split_sentences(text, longest)) == text
        assert all(pieces) and all(len(piece) <= longest or re.search(r"www|http|@|<", piece) for piece in pieces)


@pytest.fixture(scope="module")
def unmarked():
    """The sentences of the corpus that are one sentence, without their marks and not too long."""
    tatoeba = corpus.load()
    chinese = {pair.zh for pair in tatoeba.train} | {item.zh for item in tatoeba.dev + tatoeba.test}
    inside = "。!?;…⋯~〜.❗\"'“”‘’「」"
    found = sorted(zh.rstrip("。!?.") for zh in chinese)
    return [zh for zh in found if 0 < len(zh) < 50 and not set(zh) & set(inside)]


def joined(sentences: list[str], marks: list[str]) -> str:
    return "".join(sentence + mark for sentence, mark in zip(sentences, marks, strict=True))


@pytest.mark.slow
def test_sentences_of_the_corpus_are_found_behind_any_mark(unmarked):
    """Twenty at a time, each with another mark behind it."""
    assert len(unmarked) > 40_000
    for start in range(0, len(unmarked) - 20, 20):
        sentences = unmarked[start : start + 20]
        marks = [MARKS[(start + start // 20 * i + i) % len(MARKS)] for i in range(20)]
        for i, (mark, following) in enumerate(zip(marks, sentences[1:], strict=False)):
            # "Windows 7.3": a number; "吗.tom": the end of a file's name; "一~三": a range.
            if mark in ".．~～" and re.match(r"[\da-z一二三四五六七八九十百千万]", following):
                marks[i] = "。"
        text = clean(joined(sentences, marks))
        found = split_sentences(text)
        assert [piece.strip().startswith(s[:3]) for piece, s in zip(found, sentences, strict=True)] == [True] * 20, text


@few
@given(st.data())
def test_any_mix_of_marks_gives_as_many_pieces_as_sentences(unmarked, data):
    sentences = data.draw(st.lists(st.sampled_from(unmarked), min_size=1, max_size=8))
    ends = st.lists(st.sampled_from("。！？；…!?;｡"), min_size=1, max_size=4).map("".join)
    text = clean(joined(sentences, [data.draw(ends) for _ in sentences]))
    assert len(split_sentences(text)) == len(sentences) and "".join(split_sentences(text)) == text


@pytest.mark.parametrize(
    "sentence",
    [
        "圆周率是3.14。",
        "早上10.30出发。",
        "电影上午8 a.m.开始。",
        "Dr. Wang 和 Mr. Li 来了。",
        "请看No. 5和Fig. 2。",
        "1. 我来了。",
        "1.我来了。",
        "U.S.A.很大。",
        "我读J. K. Rowling的书。",
        "请打开plan.doc。",
        "我不知道如何使用.art文件。",
        "在Tatoeba.org有句子。",
        "要等3~5天。",
        "要等三~五天。",
        "“来吧!”,他说。",
        "...不然难免。",
        "在中国,身高 1.1 米以下的儿童坐火车不用买票。",
        "Er kommt am 3. Oktober.",
        "Das kostet z.B. 3.50 Euro.",
        '"Ja!" sagte er.',
    ],
)
def test_marks_that_end_no_sentence(sentence):
    assert split_sentences(sentence) == [sentence]
    assert split_sentences(sentence + "他在家。") == [sentence, "他在家。"]


def test_what_is_no_sentence_stands_alone():
    assert split_sentences("看https://a.bc/d.html?e=1了解更多。好。") == [
        "看",
        "https://a.bc/d.html?e=1",
        "了解更多。",
        "好。",
    ]
    assert split_sentences("写信给a.b@c.de。好") == ["写信给", "a.b@c.de。", "好"]
    assert split_sentences('<p class="a.b">我来了!</p>') == ['<p class="a.b">', "我来了!", "</p>"]
    assert split_sentences("a<b且c>d。") == ["a<b且c>d。"]


def test_cuts_come_after_marks_if_they_can():
    assert split_sentences("我来了。你好吗?好!") == ["我来了。", "你好吗?", "好!"]
    clauses = [char * 40 + "," for char in "我你他"]
    assert split_sentences("".join(clauses) + "好。") == [clauses[0], clauses[1], clauses[2] + "好。"]
    assert split_sentences("我" * 130) == ["我" * 60, "我" * 60, "我" * 10]
    assert split_sentences("我" * 56 + "Tatoeba来了") == ["我" * 56, "Tatoeba来了"]
    assert split_sentences("我" * 56 + ",3,000,000") == ["我" * 56 + ",", "3,000,000"]


@pytest.mark.parametrize(
    "text", ["x", "。", "。”", "”", "<a ", "www.", "3.", "a.", "a@", "http://", "1,", "x.x@", "我.a"]
)
def test_time_grows_with_the_length_alone(text):
    began = time.thread_time()
    split_sentences(text * (100_000 // len(text)))
    assert time.thread_time() - began < 5, "a tenth of a second, unless a pattern tries everything everywhere"
