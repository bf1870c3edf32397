"""New training pairs: the same numbers and names on both sides, and nothing of the test among them."""

import random
import re

import pytest
from helpers import real

from utils import augment
from utils import numbers as N
from utils.augment import (
    BRACKET,
    copies,
    draw_digits,
    filled,
    joined,
    more_practice,
    other_names,
    pairs,
    places,
    practice,
    renumbered,
)
from utils.corpus import Pair
from utils.names import draw_name, kept, known, name_frame, name_items, names, renamed
from utils.numbers import KINDS, Item, draw, find, frame, held_out, keeps

TEMPLATES = [row for file in (augment.TEMPLATES, augment.PRACTICE, augment.MORE_PRACTICE) for row in N.templates(file)]


@pytest.fixture(scope="module")
def data():
    return real.load()


@pytest.fixture(scope="module")
def train(data):
    """Every eighth training pair: enough of them have numbers and names."""
    return data.train[::8]


@pytest.fixture(scope="module")
def made(train):
    return pairs(train, 800, seed=1)


def test_the_same_seed_gives_the_same_pairs():
    few = [Pair("我有三本书。", "I have three books."), Pair("汤姆在睡觉。", "Tom is asleep.")]
    assert pairs(few, 50, seed=3) == pairs(few, 50, seed=3) != pairs(few, 50, seed=4)
    assert len(set(pairs([], 50))) == 50  # of templates alone


@pytest.mark.slow
def test_both_sides_state_the_same_numbers(made):
    stated = [(pair, found.number) for pair in made for found in find(pair.zh)]
    lost = [(pair, number) for pair, number in stated if not keeps(pair.en, Item(pair.zh, number, ""))]
    # 星期三 is Wednesday: to `find` it is a three.
    assert [(pair, number) for pair, number in lost if "星期" not in pair.zh] == []
    assert len(stated) > 500 and {number.kind for _, number in stated} == set(KINDS)


@pytest.mark.slow
def test_the_tests_numbers_never_occur(made):
    assert [pair for pair in made if any(held_out(found.number.value) for found in find(pair.zh))] == []
    rng = random.Random(0)
    for kind in KINDS:
        drawn = {test: {draw(kind, 1, 20, rng, test).value for _ in range(100)} for test in (False, True)}
        assert drawn[True] and drawn[False] and not drawn[True] & drawn[False]


def test_the_tests_sentences_never_occur_even_with_other_numbers(data, train, made):
    of_test = {frame(item.zh) for item in N.items(data.dev, train)}
    assert not of_test & {frame(pair.zh) for pair in made}
    rng = random.Random(0)
    assert not of_test & {frame(filled(template, rng).zh) for template in TEMPLATES for _ in range(2)}


# --------------------------------------------------------------------------------------------- real pairs


@pytest.mark.parametrize(
    "zh, en",
    [
        ("我有三本书。", "I have three books."),
        ("他1998年来。", "He came in 1998."),
        ("五月十二日早上八点来吧。", "Come at 8 a.m. on May 12th."),
        ("那时一杯咖啡要200日元。", "In those days, a cup of coffee cost 200 yen."),
        ("我付了30元。", "I paid thirty dollars."),
        ("请看第15页。", "Look at page 15."),
        ("失业率是百分之五。", "The unemployment rate is 5%."),
        ("两个男孩跑了3公里。", "Two boys ran 3 kilometers."),
    ],
)
def test_numbers_on_both_sides_change_together(zh, en):
    where = places(Pair(zh, en))
    assert where
    rng = random.Random(0)
    for _ in range(30):
        new = renumbered(Pair(zh, en), where, rng)
        assert frame(new.zh) == frame(zh)
        for old, found in zip(find(zh), find(new.zh), strict=True):
            assert not held_out(found.number.value)
            if "元" not in zh[old.start : old.end]:
                assert keeps(new.en, Item(new.zh, found.number, "")), new
        assert new.en[0].isupper() or new.en[0].isdigit()


@pytest.mark.parametrize(
    "zh, en",
    [
        ("我有1本书。", "I have 1 book."),  # another number would be 5 book
        ("这是一条8小时的路。", "It is an 8-hour way."),  # and an 7-hour way
        ("第二天他走了。", "On the second day he left."),
        ("七月他来。", "He comes in July."),
        ("我们0:2输了。", "Our team lost, 2-0."),
        ("他有3个孩子。", "He has 4 children."),
        ("他有3个孩子。", "He has 3 children, 5 and 7 years old."),
        ("5年里写了5本书。", "She wrote 5 books in 5 years."),
        ("我吃了三块蛋糕。", "I ate three cakes."),
        ("你好。", "Hello."),
    ],
)
def test_pairs_where_numbers_cannot_change_are_left_alone(zh, en):
    assert places(Pair(zh, en)) == []


# --------------------------------------------------------------------------------------------- templates


def test_brackets_of_both_sides_have_as_many_choices():
    for template in TEMPLATES:
        zh = [choices.count("|") for _, choices in BRACKET.findall(template.zh)]
        count = iter(range(1, 10))
        for number, choices in BRACKET.findall(template.en):
            assert zh[int(number or next(count)) - 1] == choices.count("|"), template
        assert set(template.kind.split(",")) <= set(KINDS) and not re.search("[A-Za-z]", template.zh)


def test_templates_are_filled():
    rng = random.Random(0)
    for template in TEMPLATES:
        for _ in range(2):
            pair = filled(template, rng)
            assert not re.search(r"[\[\]{}|]", pair.zh + pair.en), pair
            assert pair.zh[-1] in "。?" and pair.en[-1] in ".?" and not pair.en[0].islower(), pair
            assert all(
                keeps(pair.en, Item(pair.zh, found.number, "")) for found in find(pair.zh) if "星期" not in pair.zh
            )


# ------------------------------------------------------------------------------------------------- names


def test_names_change_on_both_sides():
    rng = random.Random(0)
    pair = Pair("汤姆喜欢Mary,不喜欢波士顿。", "Tom likes Mary, not Boston. Tommy does.")
    for _ in range(30):
        new, latin = renamed(*pair, rng)
        assert len(set(latin)) == 3 and all(kept(name, new.en) and kept(name, new.zh) for name in latin)
        assert name_frame(pair.zh) == "#喜欢#,不喜欢#。" and new.en.endswith("Tommy does.")
        assert not any(held_out(name) for name in latin)
    assert names("汤姆和汤姆", "Tom and Tom") == names("他来了。", "Tom came.") == []
    assert kept("Ann", "Ann's dog") and not kept("Ann", "Anna's dog")


def test_the_test_of_names_is_apart(data, train):
    items = name_items(data.dev, train, n=100)
    asked = {name for item in items for name in item.names}
    assert len(items) == 100 and len(asked) > 40 and all(held_out(name) for name in asked)
    assert not asked & {word for pair in train for word in re.findall("[A-Za-z]+", pair.zh)}
    assert not {name_frame(item.zh) for item in items} & {name_frame(pair.zh) for pair in train}
    rng = random.Random(0)
    drawn = {draw_name(kind, rng, test=False) for kind in ("man", "woman", "place") for _ in range(250)}
    assert not asked & drawn and len(drawn) > 400 and len(drawn - {name.latin for name in known().names}) > 200


# ------------------------------------------------------------------------------------------ digits to copy


@pytest.mark.parametrize("make", [copies, practice, more_practice])
def test_the_same_seed_gives_the_same_digits(make):
    few = [Pair("我来。", "I come."), Pair("我有三本书。", "I have three books.")]
    assert make(few, 40, seed=3) == make(few, 40, seed=3) != make(few, 40, seed=4)
    made = make(few, 200)
    assert len(set(made)) == 200 and make([], 0) == []
    beside = [pair for pair in made if "我来。" in pair.zh]
    assert 30 < len(beside) < 70, "every second asks for one of the two, and the other has a number of its own"
    assert all("I come." in pair.en for pair in beside)
    assert {pair.zh.startswith("我来。") for pair in beside} == {True, False}


@pytest.mark.parametrize("make", [copies, practice, more_practice])
def test_what_is_to_be_copied_stands_on_both_sides_and_is_not_the_tests(make, data, train):
    for pair in make([], 800, seed=1):
        stated = [found.number for found in find(pair.zh) if "星期" not in pair.zh]
        assert [number for number in stated if not keeps(pair.en, Item(pair.zh, number, ""))] == [], pair
    of_test = [frame(item.zh) for item in N.items(data.dev, train) if item.source == "template"]
    for pair in make(train, 800, seed=1):
        assert not any(held_out(found.number.value) for found in find(pair.zh)), pair
        assert not any(one in frame(pair.zh) for one in of_test), pair


def test_digits_are_many_and_come_twice():
    def values(kind, draw):
        rng = random.Random(0)
        return [draw(kind, 3, 5000, rng, False).value for _ in range(400)]

    def twice(values):
        return sum(bool(re.search(r"(\d)\1", value)) for value in values) / len(values)

    assert twice(values("phone", draw_digits)) > twice(values("phone", draw)) + 0.1
    lengths = [
        [sum(len(v.split(".")[0]) == n for v in values("price", one)) for n in (3, 4)] for one in (draw, draw_digits)
    ]
    assert lengths[0][0] < lengths[0][1] / 3 and lengths[1][0] > lengths[1][1] * 0.8
    for kind in KINDS:
        number = draw_digits(kind, 1, 20, random.Random(1), False)
        assert number.kind == kind and find(f"是{list(N.chinese_forms(number).values())[0]}。") or number.value == "1"


def test_other_names_stand_on_both_sides_and_are_not_the_tests(train):
    made = other_names(train, 300, seed=1)
    assert made == other_names(train, 300, seed=1) != other_names(train, 300, seed=2) and len(set(made)) == 300
    for pair in made:
        latin = [name for name in re.findall("[A-Za-z]+", pair.zh) if kept(name, pair.en)]
        assert latin and not any(held_out(name) and name in known().by_text for name in latin), pair
    assert other_names([Pair("他来了。", "He came.")], 5) == other_names([], 5) == other_names(train, 0) == []


def test_joined_pairs_are_two_training_pairs_after_one_another():
    few = [Pair("我来。", "I come."), Pair("你去。", "You go."), Pair("雨。", "Rain.")]
    made = joined(few, 60, seed=2)
    assert made == joined(few, 60, seed=2) != joined(few, 60, seed=3)
    assert set(made) == {Pair(a.zh + b.zh, f"{a.en} {b.en}") for a in few for b in few}
    assert joined(few, 0) == []
