"""Batches: every sentence once, the budget kept, and an order that only (seed, epoch) decides."""

import numpy as np
import pytest
import torch
from helpers.tiny import few
from hypothesis import given
from hypothesis import strategies as st

from utils.batching import EpochBatches, make_batch, pad, token_batches
from utils.sequences import Encoded, Longest, Sequences
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


def columns(pairs):
    return [source for source, _ in pairs], [target for _, target in pairs]


def as_lists(batches):
    return [batch.tolist() for batch in batches]


@few
@given(pairs, st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_is_all_pairs_once_in_an_order_of_its_own(pairs, seed, epoch):
    src, tgt = columns(pairs)
    batches = EpochBatches(src, tgt, 20, seed).indices(epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(len(pairs)))
    assert as_lists(batches) == as_lists(EpochBatches(src, tgt, 20, seed).indices(epoch))  # a resumed run sees the same


@few
@given(pairs, st.integers(12, 60))
def test_the_batches_of_an_epoch_are_those_that_token_batches_makes(pairs, budget):
    """But for who is taken of pairs of equal lengths: which batches there are, and so how few, is the same."""
    src, tgt = columns(pairs)
    sizes = [(max(len(s), len(t) + 1), len(t), len(s)) for s, t in pairs]
    order = sorted(range(len(pairs)), key=sizes.__getitem__)
    expected = token_batches([sizes[i][0] for i in order], budget)
    found = EpochBatches(src, tgt, budget).indices(epoch=0)
    assert sorted([sizes[i] for i in b] for b in found) == sorted([sizes[order[i]] for i in b] for b in expected)


def test_the_order_is_the_same_on_every_machine():
    """Written down once: who resumes a run after an update of NumPy would otherwise train on other batches."""
    data = [[4] * (i % 3 + 1) for i in range(12)]
    assert as_lists(EpochBatches(data, data, 16, seed=5).indices(2)) == [[9, 6, 0, 3, 4], [7, 1, 10, 8], [11, 5, 2]]


def test_epochs_and_seeds_differ():
    data = [[4] * (i % 5 + 1) for i in range(60)]
    orders = [as_lists(EpochBatches(data, data, 20, seed).indices(epoch)) for seed in (-1, 0, 1) for epoch in (0, 1)]
    assert all(orders.count(order) == 1 for order in orders)


def test_a_pair_longer_than_the_budget_is_named_before_the_first_step():
    long = Encoded.from_lists([[4] * 3 + [EOS], [4, EOS], [EOS]], [[5], [5] * 6, [5]])
    assert long.longest() == Longest(index=1, length=7, line=None)
    assert long._replace(lines=np.array([1, 3, 4])).longest().line == 3
    with pytest.raises(ValueError, match="A sentence of 7 tokens fits in no batch of 6"):
        EpochBatches(long.src, long.tgt, 6).indices(0)
    assert len(EpochBatches(long.src, long.tgt, 7).indices(0)) == 3


@few
@given(pairs, st.integers(1, 4), st.data())
def test_the_shares_of_all_processes_are_the_batch(pairs, world_size, data):
    """And each share is what `make_batch` makes of its sentences; who gets none has nothing to learn."""
    src, tgt = columns(pairs)
    epoch = EpochBatches(src, tgt, 60)
    indices = data.draw(st.lists(st.sampled_from(range(len(pairs))), min_size=1, max_size=9, unique=True))
    shares = [epoch.batch(indices, rank, world_size) for rank in range(world_size)]
    for rank, share in enumerate(shares):
        mine = indices[rank::world_size]
        expected = make_batch([src[i] for i in mine or indices[:1]], [tgt[i] for i in mine or indices[:1]])
        assert torch.equal(share.src, expected.src) and torch.equal(share.tgt_in, expected.tgt_in)
        assert torch.equal(share.tgt_out, expected.tgt_out) if mine else not share.tgt_out.any()
    assert sum(share.n_targets for share in shares) == epoch.n_targets(indices) == epoch.n_targets(np.array(indices))


def test_the_fingerprint_tells_other_data():
    src, tgt = [[9, EOS], [8, EOS]], [[5], [6, 7]]
    own = EpochBatches(src, tgt, 20, seed=0).fingerprint()
    assert own == EpochBatches(src, tgt, 30, seed=1).fingerprint()
    others = [(src, tgt[::-1]), (src[::-1], tgt), (src, [[5], [6, 8]]), (src[:1], tgt[:1]), (src, [[5, 6], [7]])]
    assert all(EpochBatches(*other, 20).fingerprint() != own for other in others)


@few
@given(pairs)
def test_flat_arrays_hold_what_the_lists_held(pairs):
    src, tgt = columns(pairs)
    flat = Encoded.from_lists(src, tgt)
    for lists, sequences in ((src, flat.src), (tgt, flat.tgt)):
        assert [sequences[i] for i in range(len(sequences))] == lists
        assert sequences.lengths.tolist() == [len(ids) for ids in lists]
    small = (Sequences(side.ids.astype(np.uint16), side.offsets) for side in flat[:2])  # as they lie on the disk
    assert EpochBatches(*small, 20).fingerprint() == EpochBatches(src, tgt, 20).fingerprint()
