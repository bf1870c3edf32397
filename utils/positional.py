"""Positions for a layer that has no notion of them (lesson 05)."""

import torch
from jaxtyping import Float
from torch import Tensor


def sinusoidal(n_positions: int, d_model: int) -> Float[Tensor, "n d"]:
    """e(p)[2i] = sin(p / 10000^(2i/d)), e(p)[2i+1] = cos(p / 10000^(2i/d)): a row of clock hands per position.

    Returns (n_positions, d_model) in float32, positions from 0. Raises ValueError if d_model is odd.
    Source: Attention Is All You Need, section 3.5. Lesson 05, "Counting with hands".
    """
    if d_model % 2:
        raise ValueError(f"d_model = {d_model} must be even: a position is written in sine/cosine pairs.")
    # Angles in float64: at position 5000 a float32 product is already off in the fourth decimal.
    frequency = 10000.0 ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)  # (d/2,)
    angle = torch.arange(n_positions, dtype=torch.float64)[:, None] * frequency  # (n, d/2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()


def shift_matrix(d_model: int, offset: int) -> Float[Tensor, "d d"]:
    """M with M e(p) = e(p + offset) for every p: each clock hand turned on by offset * 10000^(-2i/d).

    In the interleaved layout of `sinusoidal`; negative offsets turn back. Raises ValueError if d_model is odd.
    Source: Attention Is All You Need, section 3.5, on linear functions of PE_pos. Lesson 05, "One matrix moves every
    position".
    """
    if d_model % 2:
        raise ValueError(f"d_model = {d_model} must be even: a position is written in sine/cosine pairs.")
    turn = offset * 10000.0 ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)  # (d/2,)
    blocks = [torch.tensor([[t.cos(), t.sin()], [-t.sin(), t.cos()]]) for t in turn]  # (2, 2) each
    return torch.block_diag(*blocks).float()


def rotary(x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n d"]:
    """Turn pair (2i, 2i+1) of row p counter-clockwise by p * 10000^(-2i/d), positions p from 0.

    Applied to queries and keys, it makes q_p . k_r depend on the contents and on p - r alone.
    Source: RoFormer, arXiv 2104.09864, section 3.2; the pairs are neighbors, as there. Lesson 05, "Rotary: turn the
    queries and keys instead".
    """
    return turned(x, sinusoidal(x.shape[-2], x.shape[-1]).to(x))


def turned(x: Float[Tensor, "*batch n d"], hands: Float[Tensor, "*places n d"]) -> Float[Tensor, "*batch n d"]:
    """`rotary` at places of your own: row p of x is turned by the angles whose sines and cosines are row p of `hands`.

    hands: rows of `sinusoidal`, broadcastable to x. Lesson 05, "Rotary: turn the queries and keys instead".
    """
    hands = hands.to(x.dtype)
    sin, cos, first, second = hands[..., 0::2], hands[..., 1::2], x[..., 0::2], x[..., 1::2]
    return torch.stack([cos * first - sin * second, sin * first + cos * second], dim=-1).flatten(-2)


def alibi(n: int, left: Float[Tensor, " H"], right: Float[Tensor, " H"]) -> Float[Tensor, "H n n"]:
    """What head h adds to its score of query i and key j: minus slope times distance |i - j|.

    The slope is left[h] for keys before the query and right[h] for keys after it. Equal slopes on both sides cannot
    tell a sentence from its reverse. Source: Train Short, Test Long, arXiv 2108.12409 (keys before the query only).
    Lesson 05, "ALiBi: distance as a handicap".
    """
    ahead = torch.arange(n) - torch.arange(n)[:, None]  # (n, n): j - i
    return left[:, None, None] * ahead.clamp(max=0) - right[:, None, None] * ahead.clamp(min=0)
