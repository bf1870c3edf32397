"""Repetition: what counts as one, a search that cannot repeat itself, and the translator that falls back on it."""

import pytest
import torch
from helpers import real
from helpers.tiny import SRC, few, tiny_checkpoint, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from test_decoding import Scripted, at_random

from utils import load_translator
from utils.batching import pad
from utils.decoding import beam, greedy
from utils.ensemble import Ensemble
from utils.repeats import NoRepeat, loops
from utils.tokenizer import EOS
from utils.translate import Translator


@pytest.mark.parametrize(
    "zh, en",
    [
        ("他来了。", "He came and came and came and came."),
        ("他来了。", "He came, he came."),
        ("去年有地震。", "Last year the earthquake, the earthquake, the earthquake was over."),
        ("这很好。", "It is very very very good."),
        ("笑声。", "Hahahahaha."),
        ("我想减肥。", "I don't want to lose weight because I want to lose weight."),
        ("他们在哪里?", "What are you doing, Mr. Smith? What are you doing?"),
        ("哈哈。", "Ha ha ha ha."),
        ("快跑,快跑!", "Run, run, run!"),
    ],
)
def test_loops(zh, en):
    assert loops(zh, en)


@pytest.mark.parametrize(
    "zh, en",
    [
        ("他来了。", "He came."),
        ("他来了。", ""),
        ("这非常好。", "It is very, very good."),
        ("你有的越多,想要的越多。", "The more you have, the more you want."),
        ("快跑,快跑!", "Run fast, run fast!"),
        ("我喜欢你喜欢的人。", "I like the people that you like."),
        ("哈哈哈哈哈。", "Ha ha ha ha ha."),
        ("他知道我知道他知道。", "He knows that I know that he knows."),
        ("香蕉在密西西比。", "The banana is in Mississippi."),
        ("价格是1000000。", "The price is 1,000,000."),
    ],
)
def test_no_loops(zh, en):
    assert not loops(zh, en)


def test_people_do_not_loop():
    data = real.load()
    assert [(i.zh, i.references[0]) for i in [*data.dev, *data.test] if loops(i.zh, i.references[0])] == []


# ------------------------------------------------------------------------------------ a search without repetition


def by_hand(model: Scripted, n: int) -> Scripted:
    """The same script, where a token that completes n tokens that stood there before is impossible."""

    def script(src, done):
        logits = list(model.script(src, done))
        for v in range(len(logits)):
            run = (*done, v)[-n:]
            if len(run) == n and any(done[i : i + n] == run for i in range(len(done) - n + 1)):
                logits[v] = -torch.inf
        return logits

    return Scripted(script)


@few
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
def test_it_is_the_search_of_a_model_that_never_repeats(seed, n, beam_size):
    model, src = at_random(seed), torch.tensor([[3, 4, EOS], [5, EOS, 0]])
    assert greedy(NoRepeat(model, n), src, 9) == greedy(by_hand(model, n), src, 9)
    assert beam(NoRepeat(model, n), src, 9, beam_size) == beam(by_hand(model, n), src, 9, beam_size)


@pytest.mark.parametrize("kind", ["transformer", "rnn", "decoder-only"])
def test_no_run_of_n_tokens_stands_twice(kind):
    model, src, repeated = tiny_model(kind, seed=3), pad(SRC), 0
    for n in (1, 2, 3):
        for found, plain in zip(beam(NoRepeat(model, n), src, 12), beam(model, src, 12), strict=True):
            runs, before = ([tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)] for ids in (found, plain))
            assert len(set(runs)) == len(runs)
            repeated += len(set(before)) < len(before)
    assert repeated > 5  # or nothing was tested


def test_runs_longer_than_a_translation_change_nothing_and_models_together_are_one_model():
    model, src = tiny_model(), pad(SRC)
    assert beam(NoRepeat(model, 13), src, 12) == beam(model, src, 12)
    assert beam(NoRepeat(Ensemble([model, model]), 2), src, 12) == beam(NoRepeat(model, 2), src, 12)


# --------------------------------------------------------------------------------------- translations that loop


class Stammer(Translator):
    """Says "You like" five times where it is asked about "你", unless it may not repeat itself."""

    def generate(self, src, beam_size=4, length_penalty=1.0, no_repeat=0):
        self.asked.append((len(src), no_repeat))
        you = self.tokenizer.encode_src(["你"])[0][0]
        texts = ["You like " * (5 if ids[0] == you and not no_repeat else 1) for ids in src]
        return self.tokenizer.encode_tgt([text.strip() for text in texts])


@pytest.fixture
def stammer(tmp_path):
    plain = load_translator(tiny_checkpoint(tmp_path), "cpu")
    found = Stammer(plain.model, plain.tokenizer, plain.device)
    found.asked = []
    return found


def test_what_loops_is_searched_for_once_more_and_only_that(stammer):
    assert stammer.translate(["我喜欢。", "你喜欢。", "我们喜欢。"]) == ["You like"] * 3
    assert stammer.asked == [(3, 0), (1, 2)]
    assert "".join(stammer.attend("你喜欢。").tgt_tokens) == "▁You▁like<eos>"


def test_it_stays_where_the_source_repeats_itself_or_nobody_asked(stammer):
    assert stammer.translate("你喜欢。", no_repeat=0) == " ".join(["You like"] * 5)
    assert stammer.translate("你你你你你喜欢。") == " ".join(["You like"] * 5)


@pytest.mark.slow
def test_the_shipped_translator_does_not_loop_on_dev():
    translator, dev = load_translator(device="cpu"), real.load().dev
    every = [item.zh for item in dev]
    some = [zh for zh, en in zip(every, translator.translate(every, no_repeat=0), strict=True) if loops(zh, en)]
    assert some and not any(map(loops, some, translator.translate(some)))
