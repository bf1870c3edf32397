"""Positions for a layer that has no notion of them (lesson 05)."""

import torch
from jaxtyping import Float
from torch import Tensor


def sinusoidal(n_positions: int, d_model: int) -> Float[Tensor, "n d"]:
    """e(p)[2i] = sin(p / 10000^(2i/d)), e(p)[2i+1] = cos(p / 10000^(2i/d)): a row of clock hands per position.

    Returns (n_positions, d_model) in float32, positions from 0. Raises ValueError if d_model is odd.
    Source: Attention Is All You Need, section 3.5.
    """
    if d_model % 2:
        raise ValueError(f"d_model = {d_model} must be even: a position is written in sine/cosine pairs.")
    # Angles in float64: at position 5000 a float32 product is already off in the fourth decimal.
    frequency = 10000.0 ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)  # (d/2,)
    angle = torch.arange(n_positions, dtype=torch.float64)[:, None] * frequency  # (n, d/2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()
