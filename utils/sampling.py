"""Sampling: the next token is drawn, not chosen; temperature, top-k and top-p (lesson 09)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from utils.decoding import one_by_one


def sample(
    model,
    src: Int[Tensor, "B S"],
    max_len: int | list[int],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    prompts: list[list[int]] | None = None,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """Sampling: every next token is drawn with the model's probabilities, until <eos> or `max_len` tokens (lesson 09).

    The logits are divided by `temperature` (below 1: the probable becomes more so), then all tokens but the `top_k`
    most probable ones go, then all but the fewest whose probabilities add up to `top_p`. prompts: what each sentence
    begins with, ids without marks. src (B, S), padded on the right, may be empty (S = 0). Returns ids without marks,
    prompts included. ValueError, one sentence, where a setting is wrong.
    """
    if not temperature > 0:
        raise ValueError(
            f"temperature is {temperature!r}; it must be above 0. What it comes near to at 0 is greedy search."
        )

    def draw(logits: Tensor) -> Tensor:
        logits = logits / temperature
        logits = top_p_filter(top_k_filter(logits, logits.shape[-1] if top_k is None else top_k), top_p)
        return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]

    return one_by_one(model, src, max_len, draw, prompts)


def top_k_filter(logits: Float[Tensor, "*batch V"], k: int) -> Float[Tensor, "*batch V"]:
    """All but the k largest logits of each row become -inf; k >= V keeps all, k < 1 is a ValueError (lesson 09)."""
    if k < 1:
        raise ValueError(f"k is {k!r}; at least 1 token must stay.")
    kept = logits.topk(min(k, logits.shape[-1]), dim=-1)
    return torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)


def top_p_filter(logits: Float[Tensor, "*batch V"], p: float) -> Float[Tensor, "*batch V"]:
    """All but the fewest most probable tokens whose probabilities add up to p or more become -inf (lesson 09).

    Source: The Curious Case of Neural Text Degeneration (arXiv 1904.09751). ValueError unless 0 < p <= 1.
    """
    if not 0 < p <= 1:
        raise ValueError(f"p is {p!r}; it must be above 0 and at most 1.")
    if p == 1:
        return logits
    ordered, index = logits.sort(dim=-1, descending=True)
    probability = ordered.softmax(dim=-1)
    enough = probability.cumsum(dim=-1) - probability >= p  # those before it do: the first one always stays
    return torch.full_like(logits, -torch.inf).scatter(-1, index, ordered.masked_fill(enough, -torch.inf))
