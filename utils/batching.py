"""Sentences of many lengths into rectangles with little padding (lesson 08)."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from utils.sequences import Sequences, longer_sides
from utils.tokenizer import BOS, EOS, PAD


def token_batches(lengths: list[int], max_tokens: int) -> list[list[int]]:
    """Indices grouped so that len(batch) * longest <= max_tokens, greedily over sorted lengths.

    Each index stands in exactly one batch. Raises ValueError when one sentence alone exceeds the budget.
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if lengths[i] > max_tokens:
            raise ValueError(
                f"A sentence of {lengths[i]} tokens fits in no batch of {max_tokens}: allow larger batches."
            )
        if batches and (len(batches[-1]) + 1) * lengths[i] <= max_tokens:  # sorted: lengths[i] is the longest
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def chunks(items: Iterable, size: int) -> Iterator[list]:
    """`size` items at a time, the last list may be shorter; reads no further than asked (standard input, say)."""
    items = iter(items)
    return iter(lambda: list(islice(items, size)), [])


def pad(sequences: list[list[int]], pad_id: int = PAD) -> Int[Tensor, "B T"]:
    """One row per sequence, padded on the right to the longest."""
    longest = max(len(s) for s in sequences)
    return torch.tensor([s + [pad_id] * (longest - len(s)) for s in sequences], dtype=torch.long)


@dataclass(frozen=True)
class Batch:
    """What a training step needs. src (B, S); tgt_in (B, T) = <bos> y_1 .. y_n; tgt_out (B, T) = y_1 .. y_n <eos>.

    real (N,): where in tgt_out.flatten() the N real tokens stand. They are counted here, on the CPU: whoever asks a GPU
    how many there are waits until it has finished all that it was told before.
    """

    src: Tensor
    tgt_in: Tensor
    tgt_out: Tensor
    real: Tensor | None = None

    def __post_init__(self):
        if self.real is None:
            object.__setattr__(self, "real", self.tgt_out.flatten().ne(PAD).nonzero().flatten())

    def pinned(self) -> "Batch":
        """A copy in memory that the CPU may not move elsewhere: from there a GPU fetches it while both go on."""
        return Batch(*(t.pin_memory() for t in (self.src, self.tgt_in, self.tgt_out, self.real)))

    def to(self, device: torch.device) -> "Batch":
        tensors = (self.src, self.tgt_in, self.tgt_out, self.real)
        return Batch(*(t.to(device, non_blocking=t.is_pinned()) for t in tensors))

    @property
    def n_targets(self) -> int:
        """Real target tokens, <eos> counted, padding not."""
        return len(self.real)


def make_batch(src: list[list[int]], tgt: list[list[int]]) -> Batch:
    """Pad a batch; targets come without marks, teacher forcing's shift by one is made here."""
    return Batch(pad(src), pad([[BOS] + t for t in tgt]), pad([t + [EOS] for t in tgt]))


class EpochBatches:
    """The training pairs of one epoch after another as shuffled batches.

    The order depends on (seed, epoch) alone, so that a resumed run continues exactly where it was.
    src sequences end in <eos>, tgt sequences carry no marks; both are lists, or flat arrays.
    """

    def __init__(
        self, src: Sequences | list[list[int]], tgt: Sequences | list[list[int]], max_tokens: int, seed: int = 0
    ):
        self.src = src if isinstance(src, Sequences) else Sequences.from_lists(src)
        self.tgt = tgt if isinstance(tgt, Sequences) else Sequences.from_lists(tgt)
        self.max_tokens, self.seed = max_tokens, seed

    def indices(self, epoch: int) -> list[np.ndarray]:
        """Batches of indices: similar lengths together, pairs of equal lengths and the batches themselves shuffled.

        As few batches as `token_batches` makes. Raises ValueError when one sentence alone exceeds the budget.
        """
        # Of NumPy's random numbers only a generator's raw bits are promised to be the same in every version.
        bits = np.random.PCG64([self.seed % 2**64, epoch])
        # By the longer side first, then by the target and by the source: both sides then come with little padding.
        lengths = longer_sides(self.src, self.tgt)
        order = np.lexsort((bits.random_raw(len(lengths)), self.src.lengths, self.tgt.lengths, lengths))
        starts = batch_starts(lengths[order], self.max_tokens)
        batches = np.split(order, starts[1:])
        return [batches[i] for i in bits.random_raw(len(batches)).argsort(kind="stable")]

    def fingerprint(self) -> int:
        """A number that changes when a pair, its cut into tokens or the order of the pairs does."""
        digest = hashlib.blake2b(digest_size=7)  # 56 bits: a positive int64 wherever it is kept
        for side in (self.src, self.tgt):
            digest.update(side.offsets.astype("<i8"))
            for start in range(0, len(side.ids), 2**20):  # a piece at a time: the array may be larger than the memory
                digest.update(side.ids[start : start + 2**20].astype("<i4"))
        return int.from_bytes(digest.digest(), "little")

    def n_targets(self, indices: np.ndarray | list[int]) -> int:
        """What `batch(indices).n_targets` will be, without making the batch."""
        return int(self.tgt.lengths[indices].sum()) + len(indices)

    def batch(self, indices: np.ndarray | list[int], rank: int = 0, world_size: int = 1) -> Batch:
        """The batch, or one process's share of it: every `world_size`-th sentence from number `rank` on.

        A batch with fewer sentences than processes leaves some without a share: they get the first sentence without
        its targets. That is no loss and no gradient, but they take part in the step, and the others need not wait.
        """
        share = np.asarray(indices)[rank::world_size]
        if len(share):
            return self._batch(share)
        first = self._batch(np.asarray(indices)[:1])
        return replace(first, tgt_out=torch.full_like(first.tgt_out, PAD), real=None)

    def _batch(self, indices: np.ndarray) -> Batch:
        """What `make_batch` makes of these pairs, without a Python loop over tokens."""
        src, _ = self.src.padded(indices)
        tgt, lengths = self.tgt.padded(indices)
        tgt_in = np.pad(tgt, ((0, 0), (1, 0)), constant_values=BOS)
        tgt_out = np.pad(tgt, ((0, 0), (0, 1)), constant_values=PAD)
        tgt_out[np.arange(len(tgt)), lengths] = EOS
        return Batch(*map(torch.from_numpy, (src, tgt_in, tgt_out)))


def batch_starts(lengths: np.ndarray, max_tokens: int) -> list[int]:
    """Where `token_batches` begins its batches in lengths that are sorted: a step for each length, not each sentence.

    Raises ValueError when one sentence alone exceeds the budget.
    """
    starts: list[int] = []
    values, begins = np.unique(lengths, return_index=True)
    for length, begin, end in zip(values.tolist(), begins.tolist(), [*begins[1:].tolist(), len(lengths)], strict=True):
        most = max_tokens // length  # sentences of this length in a batch
        if most == 0:
            raise ValueError(f"A sentence of {length} tokens fits in no batch of {max_tokens}: allow larger batches.")
        # The open batch takes what still fits (it may be too full already), and every further one is filled up.
        starts += range(max(starts[-1] + most, begin) if starts else begin, end, most)
    return starts
