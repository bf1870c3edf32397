"""Batches: every sentence once, the budget kept, and an order that only (seed, epoch) decides."""

import pytest
import torch
from helpers.tiny import few
from hypothesis import given
from hypothesis import strategies as st

from utils.batching import EpochBatches, make_batch, pad, token_batches
from utils.tokenizer import BOS, EOS, PAD

lengths = st.lists(st.integers(1, 30), max_size=40)


@few
@given(lengths, st.integers(30, 100))
def test_each_index_once_within_the_budget(lengths, budget):
    batches = token_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[i] for i in batch) <= budget for batch in batches)
    assert all(batches)


@few
@given(st.permutations(range(12)), st.lists(st.integers(1, 30), min_size=12, max_size=12), st.integers(30, 100))
def test_no_more_batches_than_in_any_other_order(order, lengths, budget):
    """Filled greedily in some other order, sentences never need fewer batches."""
    others = [[]]
    for i in order:
        if (len(others[-1]) + 1) * max(lengths[j] for j in [*others[-1], i]) > budget:
            others.append([])
        others[-1].append(i)
    assert len(token_batches(lengths, budget)) <= len(others)


def test_a_sentence_longer_than_the_budget_is_named():
    with pytest.raises(ValueError, match="A sentence of 9 tokens fits in no batch of 8"):
        token_batches([3, 9, 2], 8)


def test_padding_goes_to_the_right():
    assert pad([[5, 6], [7], []]).tolist() == [[5, 6], [7, PAD], [PAD, PAD]]


def test_the_target_is_shifted_by_one():
    batch = make_batch([[9, EOS], [8, 9, EOS]], [[5, 6], [7]])
    assert batch.tgt_in.tolist() == [[BOS, 5, 6], [BOS, 7, PAD]]
    assert batch.tgt_out.tolist() == [[5, 6, EOS], [7, EOS, PAD]]
    assert batch.n_targets == 5 and batch.to(torch.device("cpu")).src.tolist() == [[9, EOS, PAD], [8, 9, EOS]]


pairs = st.lists(
    st.tuples(st.lists(st.integers(4, 9), min_size=1, max_size=8), st.lists(st.integers(4, 9), max_size=8)),
    min_size=1,
    max_size=30,
)


@few
@given(pairs, st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_is_all_pairs_once_in_an_order_of_its_own(pairs, seed, epoch):
    src, tgt = [s for s, _ in pairs], [t for _, t in pairs]
    batches = EpochBatches(src, tgt, 20, seed).indices(epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(len(pairs)))
    assert all(len(b) * max(max(len(src[i]), len(tgt[i]) + 1) for i in b) <= 20 for b in batches)
    assert batches == EpochBatches(src, tgt, 20, seed).indices(epoch)  # a resumed run sees the same


def test_epochs_and_seeds_differ():
    data = [[4] * (i % 5 + 1) for i in range(60)]
    orders = [EpochBatches(data, data, 20, seed).indices(epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(orders.count(order) == 1 for order in orders)


def test_a_batch_holds_the_pairs_of_its_indices():
    data = EpochBatches([[9, EOS], [8, EOS]], [[5], [6, 7]], 20)
    batch = data.batch([1])
    assert batch.src.tolist() == [[8, EOS]] and batch.tgt_out.tolist() == [[6, 7, EOS]]


def test_the_fingerprint_tells_other_data():
    src, tgt = [[9, EOS], [8, EOS]], [[5], [6, 7]]
    own = EpochBatches(src, tgt, 20, seed=0).fingerprint()
    assert own == EpochBatches(src, tgt, 30, seed=1).fingerprint()
    others = [(src, tgt[::-1]), (src[::-1], tgt), (src, [[5], [6, 8]]), (src[:1], tgt[:1])]
    assert all(EpochBatches(*other, 20).fingerprint() != own for other in others)
