"""Sentences of many lengths into rectangles with little padding (lesson 08)."""

import random
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch
from jaxtyping import Int
from torch import Tensor

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
    src sequences end in <eos>, tgt sequences carry no marks.
    """

    def __init__(self, src: list[list[int]], tgt: list[list[int]], max_tokens: int, seed: int = 0):
        self.src, self.tgt, self.max_tokens, self.seed = src, tgt, max_tokens, seed

    def indices(self, epoch: int) -> list[list[int]]:
        """Batches of indices: similar lengths together, equal lengths and the batches themselves shuffled."""
        rng = random.Random(self.seed * 1_000_003 + epoch)
        order = list(range(len(self.src)))
        rng.shuffle(order)
        # Sort by the target first and by the source within it: both sides then come with little padding.
        order.sort(key=lambda i: (len(self.tgt[i]), len(self.src[i])))
        lengths = [max(len(self.src[i]), len(self.tgt[i]) + 1) for i in order]
        batches = [[order[j] for j in batch] for batch in token_batches(lengths, self.max_tokens)]
        rng.shuffle(batches)
        return batches

    def fingerprint(self) -> int:
        """A number that changes when a pair, its cut into tokens or the order of the pairs does."""
        return zlib.crc32(repr((self.src, self.tgt)).encode())

    def n_targets(self, indices: list[int]) -> int:
        """What `batch(indices).n_targets` will be, without making the batch."""
        return sum(len(self.tgt[i]) + 1 for i in indices)

    def batch(self, indices: list[int], rank: int = 0, size: int = 1) -> Batch:
        """The batch, or one of `size` processes' share of it: every size-th sentence, from number `rank` on.

        Where sentences do not go round, a share is the first sentence without its targets: nothing to learn, so no
        loss and no gradient, but the process takes part in the step, and the others need not wait for it.
        """
        share = indices[rank::size]
        if share:
            return make_batch([self.src[i] for i in share], [self.tgt[i] for i in share])
        first = make_batch([self.src[indices[0]]], [self.tgt[indices[0]]])
        return replace(first, tgt_out=torch.full_like(first.tgt_out, PAD), real=None)
