"""A recurrence that need not wait for itself: linear ones are computed in log n steps (lesson 10)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


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


class GatedRecurrence(nn.Module):
    """A layer that may stand where self-attention stands: a fixed state of d numbers instead of a growing cache.

        f_t = sigmoid(W_f x_t + b_f)
        h_t = f_t * h_(t-1) + (1 - f_t) * W_in x_t
        out_t = W_out (silu(W_gate x_t) * h_t)

    What is kept and what is forgotten depends on the token alone, not on the state: so h is linear in h_(t-1), and a
    scan computes all of them. 4 d^2 weights, as self-attention has. (B, T, D) -> (B, T, D). Source: the plainest of a
    family, for which see Griffin (arXiv 2402.19427) and minGRU (arXiv 2410.01201). Lesson 10.
    """

    def __init__(self, d: int):
        super().__init__()
        self.inner, self.gate, self.out = (nn.Linear(d, d, bias=False) for _ in range(3))
        self.forget = nn.Linear(d, d)
        nn.init.uniform_(self.forget.bias, 1.0, 5.0)  # some numbers remember for three steps, some for a hundred

    def forward(self, x: Float[Tensor, "B T D"], *_, **__) -> Float[Tensor, "B T D"]:
        """All positions at once; no mask is needed, since nothing comes from the future."""
        f = torch.sigmoid(self.forget(x))
        h = linear_recurrence(f, (1 - f) * self.inner(x))
        return self.out(nn.functional.silu(self.gate(x)) * h)

    def step(
        self, x: Float[Tensor, "B D"], h: Float[Tensor, "B D"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        """One position: the output, and the state, which never grows."""
        f = torch.sigmoid(self.forget(x))
        h = f * h + (1 - f) * self.inner(x)
        return self.out(nn.functional.silu(self.gate(x)) * h), h
