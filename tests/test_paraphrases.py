"""English: no leak between what is learned from and what is asked, and labels that shared words do not tell."""

import random
from statistics import mean

import pytest
import torch
from helpers import real

from utils import paraphrases
from utils.bag_of_words import BagOfWords
from utils.corpus import Pair
from utils.dictionary import bare
from utils.paraphrases import Question, build, families, overlap, same_meaning, words

SMALL = {"train": 30, "dev": 10, "test": 15}


@pytest.fixture(scope="module")
def pairs():
    return real.load().train[:9000]


@pytest.fixture(scope="module")
def english(pairs):
    return build(pairs, SMALL)


def sentences(questions):
    return {bare(text) for q in questions for text in (q.a, q.b)}


def test_no_sentence_is_in_two_places_case_and_marks_apart(english):
    parts = [set(map(bare, english.sentences)), *(sentences(getattr(english, split)) for split in SMALL)]
    assert all(parts)
    for i, one in enumerate(parts):
        assert not any(one & other for other in parts[i + 1 :])


def test_whole_families_are_set_aside(english, pairs):
    """Neither a sentence nor a translation of a labelled sentence is among those to learn from, or in another split."""
    zh_of = {}
    for pair in pairs:
        zh_of.setdefault(bare(pair.en), set()).add(pair.zh)
    learned = {zh for text in english.sentences for zh in zh_of[bare(text)]}
    asked = [{zh for text in sentences(getattr(english, split)) for zh in zh_of[text]} for split in SMALL]
    for i, one in enumerate(asked):
        assert not one & learned and not any(one & other for other in asked[i + 1 :])


def test_nothing_of_the_corpus_dev_and_test_is_there(english):
    held_out = {text for item in [*real.load().dev, *real.load().test] for text in item.references}
    assert not held_out & set(english.sentences)


def test_the_same_means_two_translations_of_one_sentence_and_its_counterpart_has_no_link(english, pairs):
    links = {(pair.zh, bare(pair.en)) for pair in pairs}
    zh_of = {}
    for zh, en in links:
        zh_of.setdefault(en, set()).add(zh)
    for split in SMALL:
        questions = getattr(english, split)
        assert len(questions) >= 2 * SMALL[split] and sum(q.same for q in questions) == len(questions) / 2
        for yes, no in zip(questions[::2], questions[1::2], strict=True):
            assert (yes.same, no.same) == (1, 0) and yes.a == no.a and bare(yes.a) != bare(yes.b)
            assert zh_of[bare(yes.a)] & zh_of[bare(yes.b)] and not zh_of[bare(no.a)] & zh_of[bare(no.b)]
            assert abs(overlap(yes.a, yes.b) - overlap(no.a, no.b)) <= paraphrases.NEAR


def test_the_order_of_families_depends_on_the_text_alone(pairs):
    shuffled = random.Random(0).sample(pairs[:3000], 3000)
    assert [set(family) for family in families(pairs[:3000])] == [set(family) for family in families(shuffled)]


def test_families_by_links_in_both_languages():
    pairs = [Pair("一", "One."), Pair("二", "one"), Pair("二", "Two."), Pair("三", "Three."), Pair("四", "Four.")]
    found = {frozenset(pair.zh for pair in family) for family in families(pairs)}
    assert found == {frozenset("一二"), frozenset("三"), frozenset("四")}
    assert same_meaning(
        [Pair("一", "It is so."), Pair("一", "It is so!"), Pair("一", "So it is."), Pair("二", "No.")]
    ) == [("It is so.", "So it is.")]


def test_overlap():
    assert words("It's 5 o'clock, Tom!") == {"it", "s", "5", "o", "clock", "tom"}
    assert overlap("a b", "b c") == pytest.approx(1 / 3) and overlap("a", "A!") == 1 and overlap("", "") == 0


@pytest.mark.slow
def test_the_whole_corpus():
    english = paraphrases.load()
    assert 45_000 < len(english.sentences) < 48_000
    assert [len(part) for part in english[1:]] == [1328, 262, 544]
    for questions in english[1:]:  # how many words are shared tells nearly nothing
        shared = [[overlap(q.a, q.b) for q in questions if q.same == same] for same in (0, 1)]
        assert abs(mean(shared[0]) - mean(shared[1])) < 0.03


# ------------------------------------------------------------------------------------------- bag of words

QUESTIONS = [
    Question("a b c", "c b a", 1),
    Question("a b", "a not b", 0),
    Question("d", "d", 1),
    Question("not d", "d", 0),
]


def test_bag_of_words_learns_a_word_and_knows_no_order():
    model = BagOfWords(QUESTIONS, decay=1e-4)
    assert (model.probability_of_one(QUESTIONS) > 0.5).tolist() == [True, False, True, False]
    turned = [Question(q.b, " ".join(reversed(q.a.split())), q.same) for q in QUESTIONS]
    assert torch.equal(model.probability_of_one(QUESTIONS), model.probability_of_one(turned))
    unknown = model.probability_of_one([Question("x y", "z", 0)])
    assert torch.allclose(unknown, torch.sigmoid(model.bias))


def test_bag_of_words_is_at_the_bottom_of_its_loss():
    """Where the gradient is zero: mean (p - y) x + 2 decay w, the loss being convex."""
    model = BagOfWords(QUESTIONS, decay=0.01)
    x, y = model.features(QUESTIONS), torch.tensor([float(q.same) for q in QUESTIONS])
    gradient = x.T @ (model.probability_of_one(QUESTIONS) - y) / 4 + 2 * 0.01 * model.weight.detach()
    assert gradient.abs().max() < 1e-3
