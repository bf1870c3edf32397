"""One stack of layers over one sequence: all that BERT and GPT have in common (lesson 09)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from utils.attention import KVCache, MultiHeadAttention
from utils.config import ModelConfig
from utils.dropout import Dropout
from utils.transformer import EncoderLayer, final_norm, position_table


class Stack(nn.Module):
    """Layers of self-attention and feed-forward, (B, T, D) -> (B, T, D): embeddings in, contextual vectors out.

    Who may ask whom is the mask's business: that everybody may makes it BERT's encoder, that nobody may ask what comes
    later makes it GPT's decoder. Lesson 09.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(EncoderLayer(**config.layer()) for _ in range(config.n_layers))
        self.norm = final_norm(config)
        self.dropout = Dropout(config.dropout)
        self.register_buffer("positions", position_table(config, 512), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        places: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B 1 #T K"],
        caches: list[KVCache] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """x: embeddings; places: where each stands, from 0; mask: whom each may ask, True = may attend.

        With caches, one a layer, x goes on where they end, and the mask speaks of all K positions up to now.
        """
        if mask.shape[-1] > len(self.positions):
            self.positions = position_table(self.config, 2 * mask.shape[-1]).to(self.positions)
        rows, hands = self.positions[places], None  # (B, T, d)
        x = x * math.sqrt(self.config.d_model)
        if self.config.positions == "sinusoidal":
            x = x + rows
        if self.config.positions == "rotary":
            hands = rows[:, None]  # alike for all heads
        x = self.dropout(x)
        for layer, cache in zip(self.layers, caches or [None] * len(self.layers), strict=True):
            x = layer(x, mask, cache, hands)
        return self.norm(x)

    @contextmanager
    def watched(self) -> Iterator[list[Float[Tensor, "B H T K"]]]:
        """A list that gets the attention weights of each layer, the lowest first, when the stack is used inside."""
        weights: list[Tensor] = []

        def look(attention: MultiHeadAttention, arguments: tuple[Tensor], options: dict) -> None:
            weights.append(attention.weights(*arguments, mask=options["mask"], hands=options["hands"]))

        hooks = [layer.self_attention.register_forward_pre_hook(look, with_kwargs=True) for layer in self.layers]
        try:
            yield weights
        finally:
            for hook in hooks:
                hook.remove()


def embedding(n: int, config: ModelConfig) -> nn.Embedding:
    """A table of n vectors to be times sqrt(d) long; that of padding is zero. Lesson 09."""
    table = nn.Embedding(n, config.d_model, padding_idx=config.pad_id)
    with torch.no_grad():
        nn.init.normal_(table.weight, std=config.d_model**-0.5)
        table.weight[config.pad_id].zero_()
    return table
