"""Search: against brute force, against itself row by row, and with models that have the seam and nothing else."""

import itertools
import random
from dataclasses import dataclass

import pytest
import torch
from helpers.tiny import few, random_ids, tiny_model
from hypothesis import given
from hypothesis import strategies as st

from utils.decoding import beam, greedy, hypotheses
from utils.tokenizer import BOS, EOS, PAD

A, B, C = 3, 4, 5  # three words; with <pad>, <bos> and <eos> a vocabulary of six
NEVER = -30.0


@dataclass
class State:
    rows: list[tuple[tuple[int, ...], tuple[int, ...]]]  # (source, tokens so far) of every row of the batch

    def reorder(self, rows: torch.Tensor, sentences: torch.Tensor | None = None) -> None:
        self.rows = [self.rows[i] for i in rows.tolist()]


class Scripted:
    """A model with the three methods of the seam: `script` maps (source, tokens so far) to six logits."""

    def __init__(self, script):
        self.script, self.rows_at_step = script, []

    def encode(self, src, src_mask):
        assert src_mask.shape == (len(src), 1, 1, src.shape[1])
        return State([(tuple(row[row != PAD].tolist()), ()) for row in src])

    def step(self, tokens, state):
        assert len(tokens) == len(state.rows)
        self.rows_at_step.append(len(tokens))
        state.rows = [(src, (*done, t)) for (src, done), t in zip(state.rows, tokens.tolist(), strict=True)]
        return torch.tensor([self.script(*row) for row in state.rows]), state


def at_random(seed: int) -> Scripted:
    """Random logits that depend on the source and on every token so far: forget to reorder, and all is wrong."""
    return Scripted(lambda src, done: [random.Random(f"{seed} {src} {done} {v}").gauss(0, 2) for v in range(6)])


def probabilities(table: dict, default: dict):
    """A script from probabilities by tokens so far (<bos> left out); words not named come (nearly) never."""

    def script(src, done):
        chosen = table.get(done[1:], default)
        return [torch.tensor(chosen[v]).log().item() if v in chosen else NEVER for v in range(6)]

    return script


def by_brute_force(next_logits, vocab: int, max_len: int, length_penalty: float) -> list[int]:
    """All hypotheses of up to `max_len` tokens; the best finished one, or the best live one if none can finish.

    `next_logits(tokens)` gives the logits after <bos> and these tokens; <pad> and <bos> are never next.
    """
    words = [v for v in range(vocab) if v not in (PAD, BOS)]

    def score(tokens):
        total = 0.0
        for t, token in enumerate(tokens):
            logits = torch.as_tensor(next_logits(tokens[:t])).double()
            total += (logits[token] - logits[words].logsumexp(0)).item()
        return total / len(tokens) ** length_penalty

    unmarked = [v for v in words if v != EOS]
    finished = [(*w, EOS) for n in range(max_len) for w in itertools.product(unmarked, repeat=n)]
    return list(max(finished, key=score))[:-1]


def by_loops(next_logits, max_len: int, beam_size: int, length_penalty: float) -> list[list[int]]:
    """Beam search over six words with lists: extend the live, leave the finished, keep the best; all, best first."""

    def score(hypothesis):
        tokens, total = hypothesis
        return total / len(tokens) ** length_penalty

    kept = [((), 0.0)]
    for _ in range(max_len):
        candidates = []
        for tokens, total in kept:
            if EOS in tokens:
                candidates.append((tokens, total))
                continue
            logits = torch.tensor(next_logits(tokens)).double()
            words = [EOS, A, B, C]
            candidates += [((*tokens, v), total + (logits[v] - logits[words].logsumexp(0)).item()) for v in words]
        kept = sorted(candidates, key=score, reverse=True)[:beam_size]
    kept.sort(key=lambda h: (EOS in h[0], score(h)), reverse=True)
    return [[v for v in tokens if v != EOS] for tokens, _ in kept]


# -------------------------------------------------------------------------------------------------- equal to


@few
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 6), st.sampled_from([0.0, 0.6, 1.0, 2.0]))
def test_beam_is_the_same_with_lists(seed, beam_size, max_len, length_penalty):
    model = at_random(seed)
    want = by_loops(lambda w: model.script((7, EOS), (BOS, *w)), max_len, beam_size, length_penalty)
    settings = torch.tensor([[7, EOS]]), max_len, beam_size, length_penalty
    # A beam wider than all that there is to say is filled up with hypotheses of no probability, after all others.
    assert hypotheses(model, *settings)[0][: len(want)] == want
    assert beam(model, *settings) == [want[0]]


@few
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.0]))
def test_a_beam_wide_enough_is_brute_force(seed, length_penalty):
    model, src = at_random(seed), torch.tensor([[7, 8, EOS]])
    found = beam(model, src, max_len=3, beam_size=60, length_penalty=length_penalty)
    assert found == [by_brute_force(lambda w: model.script((7, 8, EOS), (BOS, *w)), 6, 3, length_penalty)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer", "rnn", "decoder-only"])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_beam_wide_enough_is_brute_force_on_real_models(kind, length_penalty):
    """The logits of brute force come from `forward`, which has neither cache nor reordering."""
    model, src = tiny_model(kind, tgt_vocab=6), random_ids([4, 2], 13)

    def next_logits(row):
        return lambda w: model(row, torch.tensor([[BOS, *w]]))[0, -1].detach()

    want = [by_brute_force(next_logits(row), 6, 3, length_penalty) for row in (src[:1], src[1:, :2])]
    assert beam(model, src, max_len=3, beam_size=60, length_penalty=length_penalty) == want


@few
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.6, 1.0, 2.0]), st.integers(1, 8))
def test_beam_of_one_is_greedy(seed, length_penalty, max_len):
    src = random_ids([3, 1, 2], 13, seed)
    want = greedy(at_random(seed), src, max_len)
    assert beam(at_random(seed), src, max_len, beam_size=1, length_penalty=length_penalty) == want


@pytest.mark.parametrize("kind", ["transformer", "rnn", "decoder-only"])
@pytest.mark.parametrize("seed", range(3))
def test_beam_of_one_is_greedy_on_real_models(kind, seed):
    model, src = tiny_model(kind, seed), random_ids([4, 2, 6], 13)
    assert beam(model, src, 12, beam_size=1) == greedy(model, src, 12)


@few
@given(st.integers(0, 10**6), st.integers(1, 5), st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_batched_is_one_by_one(seed, beam_size, lengths):
    src = random_ids(lengths, 13, seed)
    alone = [src[row : row + 1, :n] for row, n in enumerate(lengths)]
    for search in (greedy, lambda *args: beam(*args, beam_size=beam_size)):
        assert search(at_random(seed), src, 6) == [search(at_random(seed), row, 6)[0] for row in alone]


@pytest.mark.parametrize("kind", ["transformer", "rnn", "decoder-only"])
def test_batched_is_one_by_one_on_real_models(kind):
    model, lengths = tiny_model(kind), [4, 2, 6, 1]
    src = random_ids(lengths, 13)
    for search in (greedy, beam):
        assert search(model, src, 9) == [search(model, src[i : i + 1, :n], 9)[0] for i, n in enumerate(lengths)]


@few
@given(st.integers(0, 10**6))
def test_greedy_takes_the_most_probable_word_again_and_again(seed):
    model, want = at_random(seed), []
    while len(want) < 6:
        logits = model.script((7, EOS), (BOS, *want))
        token = max((v for v in range(6) if v not in (PAD, BOS)), key=logits.__getitem__)
        if token == EOS:
            break
        want.append(token)
    assert greedy(model, torch.tensor([[7, EOS]]), 6) == [want]


# ----------------------------------------------------------------------------------------------- what happens


def test_a_wider_beam_finds_what_greedy_misses():
    table = {(): {A: 0.5, B: 0.4, EOS: 0.1}, (A,): {EOS: 0.3, A: 0.3, B: 0.4}, (B,): {EOS: 1.0}}
    model, src = Scripted(probabilities(table, {EOS: 1.0})), torch.tensor([[7]])
    assert greedy(model, src, 5) == [[A, B]]
    assert beam(model, src, 5, beam_size=2) == [[B]]


def test_a_finished_hypothesis_stays_until_the_end():
    """The live rival goes on for ever and never finishes; the early one waits, and is the answer."""
    table = {(): {EOS: 0.5, A: 0.4, B: 0.1}}
    model = Scripted(probabilities(table, {A: 0.4, B: 0.3, C: 0.3}))
    assert beam(model, torch.tensor([[7]]), 20, beam_size=2) == [[]]
    assert len(model.rows_at_step) == 20


def test_any_finished_hypothesis_beats_the_live_ones_at_the_end():
    table = {(): {A: 0.9, EOS: 0.1}}
    model = Scripted(probabilities(table, {A: 1.0}))
    assert beam(model, torch.tensor([[7]]), 4, beam_size=2) == [[]]
    # With none finished the best live one is better than nothing.
    assert beam(Scripted(probabilities({}, {A: 0.9, B: 0.1})), torch.tensor([[7]]), 4, beam_size=2) == [[A] * 4]


def test_the_length_penalty_decides_between_short_and_long():
    """Short: log 0.4 / 1 = -0.92. Long: log(0.6 * 0.6) = -1.02 in all, -0.34 for each of three tokens."""
    table = {(): {EOS: 0.4, A: 0.6}, (A,): {B: 0.6, C: 0.4}, (A, B): {EOS: 1.0}}
    model, src = Scripted(probabilities(table, {EOS: 1.0})), torch.tensor([[7]])
    assert beam(model, src, 5, beam_size=4, length_penalty=0.0) == [[]]
    assert beam(model, src, 5, beam_size=4, length_penalty=1.0) == [[A, B]]


def test_every_sentence_may_have_a_limit_of_its_own():
    """So that a sentence whose translation never ends is cut where it would be alone."""
    endless = probabilities({}, {A: 0.6, B: 0.4})
    for search in (greedy, lambda *args: beam(*args, beam_size=2)):
        model = Scripted(endless)
        assert search(model, torch.tensor([[7], [8], [9]]), [2, 5, 1]) == [[A] * 2, [A] * 5, [A]]
        assert len(model.rows_at_step) == 5 and model.rows_at_step[-1] == model.rows_at_step[0] // 3


def test_search_ends_when_all_hypotheses_have():
    for search, rows in ((greedy, 1), (beam, 4)):
        model = Scripted(probabilities({}, {EOS: 0.97, A: 0.01, B: 0.01, C: 0.01}))
        assert search(model, torch.tensor([[7]]), 50) == [[]]
        assert model.rows_at_step[0] == rows and len(model.rows_at_step) <= 3


def test_sentences_that_have_ended_leave_the_batch():
    """Sentence 7 ends at once, sentence 8 after two words, sentence 9 never."""

    def script(src, done):
        ends = {7: 1, 8: 3, 9: 99}[src[0]] == len(done)
        return [0.0, 0.0, 9.0 if ends else NEVER, NEVER if ends else 5.0, NEVER, NEVER]

    src = torch.tensor([[9], [7], [8]])
    for search, K in ((greedy, 1), (lambda *args: beam(*args, beam_size=1), 1)):
        model = Scripted(script)
        assert search(model, src, 6) == [[A] * 6, [], [A, A]]
        assert model.rows_at_step == [3 * K, 2 * K, 2 * K, K, K, K]


@pytest.mark.parametrize("search", [greedy, beam])
def test_marks_never_come_out_and_logits_are_left_alone(search):
    """<pad> and <bos> are the most probable here, and the model keeps the tensor it returns."""

    class Stubborn(Scripted):
        kept = torch.tensor([9.0, 9.0, NEVER, 1.0, 0.5, 0.0])

        def step(self, tokens, state):
            super().step(tokens, state)
            self.logits = self.kept.repeat(len(tokens), 1)
            self.copies = [*getattr(self, "copies", []), self.logits]
            return self.logits, state

    model = Stubborn(lambda *_: [0.0] * 6)
    assert search(model, torch.tensor([[7]]), 3) == [[A, A, A]]
    assert all(torch.equal(copy, model.kept.expand_as(copy)) for copy in model.copies)
