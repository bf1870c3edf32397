"""Dropout with cheap random numbers on the CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def keep_mask(shape: torch.Size, p: float) -> Tensor:
    """1/(1-p) with probability 1-p, else 0, on the CPU, float32.

    PyTorch draws a random number for every entry, one thread alone; here each 64-bit number decides four entries, by 16
    bits apiece. p is thus rounded to a multiple of 2^-16. Lesson 07, "4. Add & Norm".
    """
    n, cut = shape.numel(), round(p * 2**16)
    bits = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:n]
    return (bits >= cut - 2**15).float().mul_(2**16 / (2**16 - cut)).view(shape)


class Dropout(nn.Dropout):
    """`nn.Dropout`, with cheaper random numbers on the CPU: while training, entries become 0 with probability p.

    Lesson 07, "4. Add & Norm".
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not 0 < self.p < 1 or x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p, self.training)
        return x * keep_mask(x.shape, self.p).to(x.dtype)


def hide_tokens(ids: Tensor, p: float, unk_id: int) -> Tensor:
    """The ids, each with probability p replaced by `unk_id`; special tokens, whose ids are smaller still, stay.

    A model that sees a part of each sentence leans on all of it. Lesson 08, "What `Trainer` does besides (deeper)".
    """
    hidden = (torch.rand(ids.shape, device=ids.device) < p) & (ids > unk_id)
    return ids.masked_fill(hidden, unk_id)
