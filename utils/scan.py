"""A recurrence that need not wait for itself: linear ones are computed in log n steps (lesson 10)."""

import torch
from jaxtyping import Float
from torch import Tensor


def linear_recurrence(decay: Float[Tensor, "..."], a: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n d"]:
    """h_t = decay_t * h_(t-1) + a_t with h_(-1) = 0, for all t at once, in log2 n steps.

    a (..., n, d); decay (..., n, d), or (d,) where it is the same at all times. Two steps in a row are one step of the
    same kind, h -> (D d) h + (D a + b): after round r each entry holds 2^r steps in one, and the next round joins it
    with the entry 2^r before. Source: Blelloch, Prefix Sums and Their Applications (1990), section 1.4; in rounds,
    Hillis and Steele (1986). Lesson 10. `by_loop` is the same in n steps.
    """
    n, shift = a.shape[-2], 1
    decay = decay.expand_as(a)
    while shift < n:
        earlier_a = a[..., :-shift, :]
        earlier_decay = decay[..., :-shift, :]
        a = torch.cat([a[..., :shift, :], decay[..., shift:, :] * earlier_a + a[..., shift:, :]], dim=-2)
        decay = torch.cat([decay[..., :shift, :], decay[..., shift:, :] * earlier_decay], dim=-2)
        shift *= 2
    return a


def by_loop(decay: Float[Tensor, "..."], a: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n d"]:
    """`linear_recurrence`, one step after the other: the obvious way, and how such a model writes. Lesson 10."""
    decay, h, all_h = decay.expand_as(a), torch.zeros_like(a[..., 0, :]), []
    for t in range(a.shape[-2]):
        h = decay[..., t, :] * h + a[..., t, :]
        all_h.append(h)
    return torch.stack(all_h, dim=-2)
