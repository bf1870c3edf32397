"""The trigram model is a probability, equal to the formula counted from scratch, and better than what it is made of."""

import math
import random
from collections import Counter

import pytest
from helpers.tiny import few
from hypothesis import given
from hypothesis import strategies as st

from utils.tokenizer import BOS, EOS
from utils.trigram import Trigram

TOKENS = [EOS, 4, 5, 6, 7, 8]  # what may come next
sentences = st.lists(st.lists(st.integers(4, 7), max_size=5), min_size=1, max_size=6)


def from_scratch(token, context, texts):
    """The formula for one token, all counts taken anew from the list of all triples."""
    triples = [t for ids in texts for m in [[BOS, BOS, *ids, EOS]] for t in zip(m, m[1:], m[2:], strict=False)]
    before_pair = {t for t in triples}
    lists = {3: triples, 2: [t[1:] for t in before_pair], 1: [p[1:] for p in {t[1:] for t in before_pair}]}

    def p(n):
        if n == 0:
            return 1 / len(TOKENS)
        grams = lists[n]
        seen = [g for g in grams if g[:-1] == tuple(context[2 - n + 1 :])]
        once, twice = (sum(grams.count(g) == k for g in set(grams)) for k in (1, 2))
        d = once / (once + 2 * twice) if once and twice else 0.5
        if not seen:
            return p(n - 1)
        own = max(sum(g[-1] == token for g in seen) - d, 0)
        return own / len(seen) + d * len(set(seen)) / len(seen) * p(n - 1)

    return p(3)


@few
@given(sentences, st.integers(0, 10**6))
def test_it_is_the_formula_and_a_probability(texts, seed):
    model, rng = Trigram(texts, len(TOKENS)), random.Random(seed)
    for context in [(BOS, BOS), (BOS, 4), (4, 5), (rng.choice(TOKENS), rng.choice(TOKENS))]:
        found = {token: model.probability(token, context) for token in TOKENS}
        assert sum(found.values()) == pytest.approx(1) and min(found.values()) > 0
        assert found == pytest.approx({token: from_scratch(token, context, texts) for token in TOKENS})


def test_a_frequent_token_of_one_context_is_no_good_guess_elsewhere():
    """San Francisco: 8 is as frequent as 5, but always after 7."""
    texts = [[7, 8]] * 6 + [[4, 5], [5, 5], [6, 5], [7, 5], [5, 4], [4, 6]]
    model = Trigram(texts, len(TOKENS))
    assert model.probability(8, (BOS, 7)) > model.probability(5, (BOS, 7))
    assert model.probability(5, (9, 9)) > 2 * model.probability(8, (9, 9))


def test_perplexity_counts_the_end():
    model = Trigram([[4, 5]] * 3, len(TOKENS))
    want = [model.probability(w, c) for w, c in ((4, (BOS, BOS)), (5, (BOS, 4)), (EOS, (4, 5)))]
    assert model.nll([[4, 5]]) == pytest.approx(-sum(map(math.log, want)) / 3)
    assert model.nll([[4, 5]]) < model.nll([[5, 4]]) < math.log(1000)


def test_longer_contexts_help_where_text_has_them():
    """Text of a second order: the next token is decided by the two before it, nine times in ten."""
    rng = random.Random(0)

    def text():
        ids = [rng.randrange(4, 9) for _ in range(2)]
        for _ in range(20):
            ids.append(4 + (ids[-1] + 2 * ids[-2]) % 5 if rng.random() < 0.9 else rng.randrange(4, 9))
        return ids

    train, dev = [text() for _ in range(300)], [text() for _ in range(30)]
    model, short = Trigram(train, len(TOKENS)), Trigram(train, len(TOKENS))
    short.total = Counter({key: n for key, n in short.total.items() if key[0] < 3})  # knows no triple
    assert model.nll(dev) < short.nll(dev) - 0.5
