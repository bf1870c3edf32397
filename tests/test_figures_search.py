"""Figures of lesson 08b show what they are given: a step of decoding, a growing cache, what BLEU counts."""

import pytest
import torch
from helpers.drawn import assert_words_stand_apart, contrasts, words_on
from matplotlib.colors import to_hex
from sacrebleu.metrics import BLEU

from utils import figures

pytestmark = pytest.mark.usefixtures("drawing_style")
SOURCE = [*"我喜欢学习。", "<eos>"]


def test_a_step_shows_where_it_looks_and_five_words():
    shares = torch.tensor([0.02, 0.6, 0.3, 0.05, 0.01, 0.01, 0.01])
    best, chances = ["▁like", "▁love", "▁study", "▁am", "<eos>"], torch.tensor([0.6, 0.2, 0.1, 0.08, 0.02])
    fig = figures.decoding_step(SOURCE, shares, ["▁I"], best, chances)
    words = words_on(fig)
    assert {*"我喜欢学习。", "end", "I", "like", "love", "60%", "30%", "5%"} <= set(words)
    assert len(fig.axes[0].containers) == 5
    assert_words_stand_apart(fig)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_cache_grows_by_one_and_without_it_all_is_computed_again(step: int):
    said = ["<bos>", "▁I", "▁like", "▁studying", "."]
    fig = figures.growing_cache(step, SOURCE, said)
    words = words_on(fig)
    n = len(SOURCE)
    assert f"positions computed so far: encoder {n}, decoder {step}" in words
    assert f"positions computed so far: encoder {step * n}, decoder {step * (step + 1) // 2}" in words
    assert words.count("studying") == (2 if step >= 4 else 0)
    assert_words_stand_apart(fig)
    assert min(contrasts(fig).values()) > 4.5


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_shared_ngrams_counts_like_sacrebleu(n: int):
    ours, theirs = "the cat sat on the the mat .".split(), "the black cat sat on the mat .".split()
    fig = figures.shared_ngrams(ours, theirs, n)
    found = BLEU().corpus_score([" ".join(ours)], [[" ".join(theirs)]])
    assert f"n = {n}: {found.counts[n - 1]} of {found.totals[n - 1]} count" in words_on(fig)[-1]
    dashed = [line for line in fig.axes[0].lines if to_hex(line.get_color()) == figures.ORANGE.lower()]
    assert len(dashed) == 2 * (found.totals[n - 1] - found.counts[n - 1])  # a line and its cross
    assert_words_stand_apart(fig)


def test_a_sentence_too_short_has_nothing_to_count():
    assert words_on(figures.shared_ngrams(["Hi", "!"], ["Hi", "!"], 3))[-1] == "n = 3: 0 of 0 count"
