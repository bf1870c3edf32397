"""Cleaning: one form of every sentence."""

from hypothesis import given
from hypothesis import strategies as st

from utils.text import clean, clean_english

# OpenCC has one character (薴) and some thirty names (乾清宮) whose result it would convert again: left out here.
troublesome = st.sampled_from("機器學習乾坤後麵著裡？！（　\t\n\u200b“’")
texts = st.text(st.one_of(st.characters(codec="utf-8", exclude_characters="薴"), troublesome))


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
