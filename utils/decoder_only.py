"""GPT: one stack that reads what is there and writes what comes next; it can also translate (lesson 09)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from utils.attention import KVCache, causal_mask
from utils.config import ModelConfig
from utils.stack import Stack, embedding


@dataclass
class DecoderOnlyState:
    """What decoding carries from step to step: a cache per layer, and which of its positions are real tokens."""

    real: Tensor  # (R, K), False at padding
    caches: list[KVCache]  # a layer each, R rows, K positions

    def reorder(self, rows: Int[Tensor, " R2"], sentences: Int[Tensor, " B2"] | None = None) -> None:
        """Row r becomes what row rows[r] was; each has its own copy of the source (`sentences` adds nothing)."""
        self.real = self.real[rows]
        for cache in self.caches:
            cache.reorder(rows)


def prefix_mask(n: int, n_prefix: int, device: torch.device | None = None) -> Bool[Tensor, "n n"]:
    """(n, n), True where a position may ask: those before it, and the first n_prefix ask one another freely.

    Of a prefix of 0 it is the causal mask, of a prefix of n it hides nothing. Lesson 09.
    """
    return causal_mask(n, device) | (torch.arange(n, device=device) < n_prefix)


class DecoderOnly(nn.Module):
    """A decoder without an encoder: source, marks, target are one sequence, and each token asks those before it.

    The source ends in <eos> and the target begins with <bos>: these two separate them. Only target tokens are
    predicted, by an output layer that is tied to their embedding. With an empty source, (B, 0), it is a language model,
    and the seam to search and training is that of the translators. Lesson 09.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.src_embedding = embedding(config.src_vocab, config)
        self.tgt_embedding = embedding(config.tgt_vocab, config)
        self.stack = Stack(config)

    def decoder_output(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """All positions at once (teacher forcing): what the output layer reads at the target's positions."""
        real = torch.cat([src != self.config.pad_id, torch.ones_like(tgt, dtype=torch.bool)], dim=1)  # (B, S+T)
        x = torch.cat([self.src_embedding(src), self.tgt_embedding(tgt)], dim=1)
        return self.read(x, real, src.shape[1])[:, src.shape[1] :]

    def read(self, x: Tensor, real: Tensor, n_source: int, caches: list[KVCache] | None = None) -> Tensor:
        """Tokens from the first one on through the stack: nobody asks padding, or what comes later.

        With `config.prefix` the first n_source tokens, which are the source, ask one another freely.
        """
        may = prefix_mask(x.shape[1], n_source if self.config.prefix else 0, x.device)
        # Padding takes no place: the target goes on where the source's real tokens end.
        places = (real.cumsum(dim=1) - 1).clamp(min=0)
        return self.stack(x, places, real[:, None, None] & may, caches)

    def project(self, y: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """The output layer: logits over the target vocabulary."""
        return nn.functional.linear(y, self.tgt_embedding.weight)

    def forward(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits for the token after each position of tgt. Pad both on the right; masks are made inside."""
        return self.project(self.decoder_output(src, tgt))

    # ---- the seam to decoding, as lesson 08b has it ----

    def encode(self, src: Int[Tensor, "B S"], src_mask: Bool[Tensor, "B 1 1 S"]) -> DecoderOnlyState:
        """The state before the first target token: the source has been read into the caches (prefill)."""
        state = DecoderOnlyState(src_mask[:, 0, 0], [KVCache() for _ in self.stack.layers])
        if src.shape[1]:
            self.read(self.src_embedding(src), state.real, src.shape[1], state.caches)
        return state

    def step(self, tokens: Int[Tensor, " R"], state: DecoderOnlyState) -> tuple[Float[Tensor, "R V"], DecoderOnlyState]:
        """Logits after one more target token per row."""
        state.real = torch.cat([state.real, state.real.new_ones(len(tokens), 1)], dim=1)  # (R, K)
        place = state.real.sum(dim=1, keepdim=True) - 1  # (R, 1)
        y = self.stack(self.tgt_embedding(tokens[:, None]), place, state.real[:, None, None], state.caches)
        return self.project(y[:, 0]), state

    # ---- where it looked ----

    def attention_weights(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B L H N N"]:
        """Where each of the N = S + T positions looked, for every layer and head."""
        with self.stack.watched() as weights:
            self.decoder_output(src, tgt)
        return torch.stack(weights, dim=1)

    def cross_attention_weights(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B L H T S"]:
        """Where each target position looked in the source; the rest, up to a sum of one, went to the target."""
        return self.attention_weights(src, tgt)[..., src.shape[1] :, : src.shape[1]]
