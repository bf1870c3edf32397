"""Attention: the readable one that returns its weights, the fast one, and many heads of it (lessons 02-04).

Masks are boolean and True means "may attend", everywhere in this package. `nn.MultiheadAttention` means the opposite.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from utils.norm import RMSNorm
from utils.positional import turned

SMALL = 512  # up to so many weights a head a CPU does without the fused kernel (chosen, not measured here)


def attention(
    q: Float[Tensor, "*q_batch Tq d"],
    k: Float[Tensor, "*k_batch Tk d"],
    v: Float[Tensor, "*v_batch Tk dv"],
    mask: Bool[Tensor, "..."] | None = None,
) -> tuple[Float[Tensor, "*o_batch Tq dv"], Float[Tensor, "*w_batch Tq Tk"]]:
    """Scaled dot-product attention, spelled out: softmax(q k^T / sqrt(d)) v, and the weights that did it.

    q (..., T_q, d), k (..., T_k, d), v (..., T_k, d_v), mask broadcastable to (..., T_q, T_k), True = may attend.
    A query that may attend to nothing gets zero weights and a zero output, never NaN.
    Source: Attention Is All You Need, section 3.2.1. Lesson 02, "The function, finished"; lesson 03, "Many sentences at
    once". `fast_attention` computes the same without showing the weights.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., T_q, T_k)
    if mask is None:
        weights = torch.softmax(scores, dim=-1)
    else:
        scores = scores.masked_fill(~mask, -math.inf)
        nothing = ~mask.any(dim=-1, keepdim=True)  # queries without a single key
        weights = torch.softmax(scores.masked_fill(nothing, 0.0), dim=-1).masked_fill(nothing, 0.0)
    return weights @ v, weights


def fast_attention(
    q: Float[Tensor, "*batch Tq d"],
    k: Float[Tensor, "*batch Tk d"],
    v: Float[Tensor, "*batch Tk dv"],
    mask: Bool[Tensor, "..."] | None = None,
    causal: bool = False,
) -> Float[Tensor, "*batch Tq dv"]:
    """The output of `attention`, from PyTorch's fused kernel where that is faster; its weights are not shown.

    Lesson 03, "One call: PyTorch's own".
    `causal` is aligned top-left (query i sees keys 0..i): use it only when T_q == T_k, never with a cache.
    """
    if q.device.type == "cpu":
        return _cpu_attention(q, k, v, mask, causal)
    return _fused_attention(q, k, v, mask, causal)


def _cpu_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Small inputs without the fused kernel; bfloat16 in float32 wherever gradients are on."""
    dtype, n_queries, n_keys = q.dtype, q.shape[-2], k.shape[-2]
    if dtype == torch.bfloat16:
        if not torch.is_grad_enabled():
            return _fused_attention(q, k, v, mask, causal)
        q, k, v = q.float(), k.float(), v.float()
    if n_queries * n_keys > SMALL:
        return _fused_attention(q, k, v, mask, causal).to(dtype)
    if causal:
        mask = causal_mask(n_queries) if mask is None else mask & causal_mask(n_queries)
    with torch.autocast("cpu", enabled=False):
        return attention(q, k, v, mask)[0].to(dtype)


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """PyTorch's kernel, which never stores the T_q x T_k weights."""
    if causal and mask is not None:  # the kernel takes one of the two
        mask, causal = mask & causal_mask(q.shape[-2], q.device), False
    with torch.autocast(q.device.type, enabled=False):
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    if mask is None:
        return out
    # Kernels and versions have differed about a query with nothing to attend to (zeros or NaN); here it gets zeros.
    return out.masked_fill(~mask.any(dim=-1, keepdim=True), 0.0)


def causal_mask(n: int, device: torch.device | None = None) -> Bool[Tensor, "n n"]:
    """(n, n), True where key j <= query i: attend only to what has been generated so far.

    Lesson 07, "7. Masked self-attention".
    """
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()


def padding_mask(ids: Int[Tensor, "B T"], pad_id: int = 0) -> Bool[Tensor, "B 1 1 T"]:
    """True at real tokens, shaped to broadcast over heads and queries. Lesson 07, "6. The encoder layer"."""
    return (ids != pad_id)[:, None, None, :]


def split_heads(x: Float[Tensor, "B T D"], n_heads: int) -> Float[Tensor, "B H T Dh"]:
    """(B, T, D) -> (B, H, T, D/H): head h owns the columns h*D/H ... (h+1)*D/H - 1. A view, no copy.

    ValueError when D is no multiple of n_heads. Lesson 04, "Smaller heads, same price".
    """
    if x.shape[-1] % n_heads:
        raise ValueError(f"{x.shape[-1]} columns cannot be split into {n_heads} equal heads.")
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def merge_heads(x: Float[Tensor, "B H T Dh"]) -> Float[Tensor, "B T D"]:
    """The inverse of `split_heads`: (B, H, T, D/H) -> (B, T, D). Lesson 04, "Smaller heads, same price"."""
    return x.transpose(1, 2).flatten(-2)


class KVCache:
    """Keys and values of the tokens generated so far, so that a step computes only its own.

    Each (B, G, T, D_head), G heads of keys. It grows by one position a step: reordering rows copies no empty places.
    Lesson 08b, "A cache in eleven lines".
    """

    def __init__(self):
        self.k: Tensor | None = None
        self.v: Tensor | None = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add the new positions along T; returns all keys and values up to now."""
        self.k = k if self.k is None else torch.cat([self.k, k], dim=2)
        self.v = v if self.v is None else torch.cat([self.v, v], dim=2)
        return self.k, self.v

    def reorder(self, index: Int[Tensor, " B"]) -> None:
        """Row b of the batch becomes what row index[b] was (rows may repeat or vanish)."""
        if self.k is not None:
            self.k, self.v = self.k.index_select(0, index), self.v.index_select(0, index)


class MultiHeadAttention(nn.Module):
    """H attentions side by side on D/H columns each, joined by W^O (Attention Is All You Need, section 3.2.2).

    Lesson 04, "Smaller heads, same price"; with two inputs: lesson 07, "2. Attention with two inputs".
    The projections W^Q, W^K, W^V are one stacked matrix, `in_proj`, rows in this order: one matrix product instead of
    three. Attention weights get no dropout.

    What changed since 2017 (lesson 10): key_heads G < H, a divisor of H, gives each H/G heads one key and one value
    head in common (grouped queries, arXiv 2305.13245); bias=False leaves out the biases; qk_norm brings every query and
    key to one length before the scores, times a learned gain for each column (arXiv 2010.04245).
    """

    def __init__(
        self, d_model: int, n_heads: int, key_heads: int | None = None, bias: bool = True, qk_norm: bool = False
    ):
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model = {d_model} cannot be split into n_heads = {n_heads} equal heads.")
        self.n_heads, self.key_heads = n_heads, key_heads or n_heads
        if n_heads % self.key_heads:
            raise ValueError(f"n_heads = {n_heads} cannot share key_heads = {key_heads} equally.")
        d_head = d_model // n_heads
        self.widths = (d_model, self.key_heads * d_head, self.key_heads * d_head)  # rows of W^Q, W^K, W^V
        self.in_proj = nn.Linear(d_model, sum(self.widths), bias=bias)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)
        nn.init.xavier_uniform_(self.in_proj.weight)
        if bias:
            nn.init.zeros_(self.in_proj.bias)
            nn.init.zeros_(self.out_proj.bias)
        self.q_norm = RMSNorm(d_head) if qk_norm else nn.Identity()
        self.k_norm = RMSNorm(d_head) if qk_norm else nn.Identity()

    def projected(self, x: Tensor, rows: slice) -> Tensor:
        """x times these rows of the stacked matrix."""
        bias = self.in_proj.bias
        return F.linear(x, self.in_proj.weight[rows], None if bias is None else bias[rows])

    def queries(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B H T Dh"]:
        """W^Q x, split into heads."""
        return self.q_norm(split_heads(self.projected(x, slice(0, self.widths[0])), self.n_heads))

    def keys_values(self, memory: Float[Tensor, "B T D"]) -> tuple[Tensor, Tensor]:
        """What `memory` offers to any query: keys and values, (B, G, T, D_head) each. Computed once, asked often."""
        k, v = self.projected(memory, slice(self.widths[0], None)).chunk(2, dim=-1)
        return self.k_norm(split_heads(k, self.key_heads)), split_heads(v, self.key_heads)

    def queries_keys_values(self, x: Float[Tensor, "B T D"]) -> tuple[Tensor, Tensor, Tensor]:
        """All three of a sequence that asks itself, split into heads: one matrix product instead of two."""
        q, k, v = self.in_proj(x).split(self.widths, dim=-1)
        return (
            self.q_norm(split_heads(q, self.n_heads)),
            self.k_norm(split_heads(k, self.key_heads)),
            split_heads(v, self.key_heads),
        )

    def joined(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
        """What the heads found, side by side: (B, H, T_q, D_head) queries, (B, G, T_k, D_head) keys -> (B, T_q, D)."""
        if self.key_heads == self.n_heads:
            return merge_heads(fast_attention(q, k, v, mask, causal))
        if not causal and (mask is None or mask.shape[-2] == 1):
            # All queries may ask the same keys: heads that share keys are more queries to them, and no key is copied.
            more = q.reshape(len(q), self.key_heads, -1, q.shape[-1])  # (B, G, H/G T_q, D_head)
            return merge_heads(fast_attention(more, k, v, mask).view_as(q))
        k, v = (x.repeat_interleave(self.n_heads // self.key_heads, dim=1) for x in (k, v))
        return merge_heads(fast_attention(q, k, v, mask, causal))

    def forward(
        self,
        x: Float[Tensor, "R Tq D"],
        memory: Float[Tensor, "B Tk D"] | tuple[Tensor, Tensor] | None = None,
        mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
        cache: KVCache | None = None,
        hands: Float[Tensor, "*places Tq Dh"] | None = None,
    ) -> Float[Tensor, "R Tq D"]:
        """Each position of x asks every position of `memory` (of x itself, if there is none).

        `memory` may also be its `keys_values`, computed before; each of its B rows then serves R/B rows of x, side by
        side. With a `cache`, x goes on where the cache ends, and asks all that is in it. `hands`: what turns x's own
        queries and keys, see `utils.positional.turned` (rotary positions).
        """
        if memory is None:
            q, k, v = self.queries_keys_values(x)
            if hands is not None:
                q, k = turned(q, hands), turned(k, hands)
            if cache is not None:
                k, v = cache.append(k, v)
        else:
            k, v = memory if isinstance(memory, tuple) else self.keys_values(memory)
            q = self.queries(x.reshape(len(k), -1, x.shape[-1]))  # rows of one sentence are more queries to its keys
        return self.out_proj(self.joined(q, k, v, mask, causal)).reshape(x.shape)

    def weights(
        self,
        x: Float[Tensor, "B Tq D"],
        memory: Float[Tensor, "B Tk D"] | None = None,
        mask: Tensor | None = None,
        hands: Tensor | None = None,
    ) -> Float[Tensor, "B H Tq Tk"]:
        """The attention weights that `forward` does not show."""
        q, (k, _) = self.queries(x), self.keys_values(x if memory is None else memory)
        if hands is not None:
            q, k = turned(q, hands), turned(k, hands)
        k = k.repeat_interleave(self.n_heads // self.key_heads, dim=1)
        return attention(q, k, k, mask)[1]
