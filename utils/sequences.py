"""Token ids of many sentences in flat arrays, which may lie on the disk: what training reads (lesson 08)."""

from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np

from utils.tokenizer import PAD


class Sequences:
    """Sequences of token ids, end to end in one flat array: sequence i is ids[offsets[i] : offsets[i + 1]].

    Lists of Python numbers take ten times the memory; these arrays may also lie on the disk (`numpy.memmap`).
    """

    def __init__(self, ids: np.ndarray, offsets: np.ndarray):
        self.ids, self.offsets = ids, offsets

    @classmethod
    def from_lists(cls, sequences: list[list[int]]) -> "Sequences":
        """The same sequences as one flat array."""
        offsets = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
        return cls(np.fromiter(chain.from_iterable(sequences), np.int32, offsets[-1]), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int | np.integer) -> list[int]:
        return self.ids[self.offsets[i] : self.offsets[i + 1]].tolist()

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each sequence."""
        return np.diff(self.offsets)

    def padded(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One row for each of the sequences `indices`, padded on the right, (B, T), and their lengths, (B,)."""
        lengths = self.lengths[indices]
        columns = np.arange(lengths.max())
        real = columns < lengths[:, None]  # (B, T)
        rows = np.full(real.shape, PAD, dtype=np.int64)
        rows[real] = self.ids[(self.offsets[indices][:, None] + columns)[real]]
        return rows, lengths


class Longest(NamedTuple):
    """The pair with the longest side: its index, the tokens of that side, and its line in the file, if it has one."""

    index: int
    length: int
    line: int | None


class Encoded(NamedTuple):
    """Training pairs as token ids; `lines`, where known, are the lines of the file that they come from.

    src sequences end in <eos>, tgt sequences carry no marks.
    """

    src: Sequences
    tgt: Sequences
    lines: np.ndarray | None = None

    @classmethod
    def from_lists(cls, src: list[list[int]], tgt: list[list[int]]) -> "Encoded":
        return cls(Sequences.from_lists(src), Sequences.from_lists(tgt))

    def longest(self) -> Longest:
        """The pair that needs the largest batch: compare its length with the budget before the first step."""
        lengths = longer_sides(self.src, self.tgt)
        i = int(lengths.argmax())
        return Longest(i, int(lengths[i]), None if self.lines is None else int(self.lines[i]))


def longer_sides(src: Sequences, tgt: Sequences) -> np.ndarray:
    """Tokens of the longer side of each pair, the target's <eos> counted."""
    return np.maximum(src.lengths, tgt.lengths + 1)
