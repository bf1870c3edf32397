"""The Transformer of Attention Is All You Need, section 3, for translation (lesson 07)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from utils.attention import KVCache, MultiHeadAttention, padding_mask
from utils.config import ModelConfig
from utils.dropout import Dropout
from utils.positional import sinusoidal


class FeedForward(nn.Module):
    """W_2 relu(W_1 x + b_1) + b_2, at every position alone (section 3.3). (B, T, D) -> (B, T, D)."""

    def __init__(self, d_model: int, d_ff: int):
        super().__init__()
        self.inner, self.outer = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.outer(torch.relu(self.inner(x)))


class AddNorm(nn.Module):
    """Add & Norm around a sublayer, (B, T, D) -> (B, T, D).

    Post-norm, as in the paper: norm(x + f(x)). Pre-norm, which trains more easily when deep: x + f(norm(x)).
    """

    def __init__(self, d_model: int, dropout: float, norm_first: bool):
        super().__init__()
        self.norm, self.dropout, self.norm_first = nn.LayerNorm(d_model), Dropout(dropout), norm_first

    def forward(self, x: Float[Tensor, "B T D"], sublayer) -> Float[Tensor, "B T D"]:
        if self.norm_first:
            return x + self.dropout(sublayer(self.norm(x)))
        return self.norm(x + self.dropout(sublayer(x)))


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward, each inside Add & Norm."""

    def __init__(self, d_model: int, n_heads: int, d_ff: int, dropout: float = 0.0, norm_first: bool = True):
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, n_heads)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.add_norms = nn.ModuleList(AddNorm(d_model, dropout, norm_first) for _ in range(2))

    def forward(self, x: Float[Tensor, "B S D"], src_mask: Bool[Tensor, "B 1 1 S"]) -> Float[Tensor, "B S D"]:
        x = self.add_norms[0](x, lambda x: self.self_attention(x, mask=src_mask))
        return self.add_norms[1](x, self.feed_forward)


class DecoderLayer(nn.Module):
    """Masked self-attention, cross-attention to the encoder's memory, feed-forward, each inside Add & Norm."""

    def __init__(self, d_model: int, n_heads: int, d_ff: int, dropout: float = 0.0, norm_first: bool = True):
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, n_heads)
        self.cross_attention = MultiHeadAttention(d_model, n_heads)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.add_norms = nn.ModuleList(AddNorm(d_model, dropout, norm_first) for _ in range(3))

    def forward(
        self, y: Float[Tensor, "B T D"], memory: Float[Tensor, "B S D"], src_mask: Bool[Tensor, "B 1 1 S"]
    ) -> Float[Tensor, "B T D"]:
        y = self.add_norms[0](y, lambda y: self.self_attention(y, causal=True))
        y = self.add_norms[1](y, lambda y: self.cross_attention(y, memory, src_mask))
        return self.add_norms[2](y, self.feed_forward)

    def step(
        self, y: Float[Tensor, "R 1 D"], cache: KVCache, memory_kv: tuple[Tensor, Tensor], src_mask: Tensor
    ) -> Float[Tensor, "R 1 D"]:
        """`forward` for the newest position alone: earlier ones are in the cache, so nothing needs masking.

        R rows, the same number for each of the B sentences of the memory, side by side.
        """

        def attend_to_the_past(y: Tensor) -> Tensor:
            q, k, v = self.self_attention.queries_keys_values(y)
            return self.self_attention.attend(q, *cache.append(k, v))

        def attend_to_the_source(y: Tensor) -> Tensor:
            # The hypotheses of one sentence are so many queries to the same memory: (B, hypotheses, D).
            queries = self.cross_attention.queries(y.reshape(len(src_mask), -1, y.shape[-1]))
            return self.cross_attention.attend(queries, *memory_kv, src_mask).reshape(y.shape)

        y = self.add_norms[0](y, attend_to_the_past)
        y = self.add_norms[1](y, attend_to_the_source)
        return self.add_norms[2](y, self.feed_forward)


@dataclass
class TransformerState:
    """What decoding carries from step to step: the source as keys and values, and a cache per layer.

    The R rows that are decoded come from B sentences, R/B side by side for each (the hypotheses of a beam). They share
    their sentence's keys and values, so that a beam neither copies these nor moves them when hypotheses change places.
    """

    src_mask: Tensor  # (B, 1, 1, S)
    memory_kv: list[tuple[Tensor, Tensor]]  # a layer each: (B, H, S, D_head) twice
    caches: list[KVCache]  # a layer each, R rows
    sentence: Tensor  # (R,): which of the B sentences a row belongs to
    position: int = 0

    def reorder(self, index: Int[Tensor, " R"]) -> None:
        """Row r becomes what row index[r] was, in every tensor that has a batch."""
        for cache in self.caches:
            cache.reorder(index)
        sentence = self.sentence[index]
        if torch.equal(sentence, self.sentence):
            return
        kept, rows = sentence.unique_consecutive(return_counts=True)
        if (rows != rows[0]).any():  # not the same number for each: then every row has a copy of its own
            kept = sentence
        self.src_mask = self.src_mask[kept]
        self.memory_kv = [(k.index_select(0, kept), v.index_select(0, kept)) for k, v in self.memory_kv]
        self.sentence = torch.arange(len(kept), device=index.device).repeat_interleave(len(index) // len(kept))


class Transformer(nn.Module):
    """Encoder and decoder stacks, sinusoidal positions, output layer tied to the target embedding.

    With `norm_first` each stack ends in one more layer norm, for nothing else would bring its sum back to scale.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        c = self.config = config
        self.src_embedding = nn.Embedding(c.src_vocab, c.d_model, padding_idx=c.pad_id)
        self.tgt_embedding = nn.Embedding(c.tgt_vocab, c.d_model, padding_idx=c.pad_id)
        for embedding in (self.src_embedding, self.tgt_embedding):
            nn.init.normal_(embedding.weight, std=c.d_model**-0.5)
            nn.init.zeros_(embedding.weight[c.pad_id])
        layer = (c.d_model, c.n_heads, c.d_ff, c.dropout, c.norm_first)
        self.encoder = nn.ModuleList(EncoderLayer(*layer) for _ in range(c.n_layers))
        self.decoder = nn.ModuleList(DecoderLayer(*layer) for _ in range(c.n_layers))
        final_norm = nn.LayerNorm if c.norm_first else nn.Identity
        self.encoder_norm, self.decoder_norm = final_norm(c.d_model), final_norm(c.d_model)
        self.dropout = Dropout(c.dropout)
        self.register_buffer("positions", sinusoidal(512, c.d_model), persistent=False)

    def embed(self, embedding: nn.Embedding, ids: Int[Tensor, "B T"], start: int = 0) -> Float[Tensor, "B T D"]:
        """sqrt(d) times the embedding, plus the positions from `start` on."""
        end, positions = start + ids.shape[1], self.positions
        if end > len(positions):
            positions = self.positions = sinusoidal(2 * end, self.config.d_model).to(positions)
        return self.dropout(embedding(ids) * math.sqrt(self.config.d_model) + positions[start:end])

    def encode_memory(self, src: Int[Tensor, "B S"], src_mask: Bool[Tensor, "B 1 1 S"]) -> Float[Tensor, "B S D"]:
        """The encoder stack: what the decoder will look at."""
        x = self.embed(self.src_embedding, src)
        for layer in self.encoder:
            x = layer(x, src_mask)
        return self.encoder_norm(x)

    def hidden(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Everything but the output layer: teacher forcing, all positions at once."""
        src_mask = padding_mask(src, self.config.pad_id)
        memory = self.encode_memory(src, src_mask)
        y = self.embed(self.tgt_embedding, tgt)
        for layer in self.decoder:
            y = layer(y, memory, src_mask)
        return self.decoder_norm(y)

    def project(self, hidden: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """The output layer: logits over the target vocabulary, with the target embedding as its matrix."""
        return nn.functional.linear(hidden, self.tgt_embedding.weight)

    def forward(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits for the token after each position of tgt. Pad on the right; masks are made inside."""
        return self.project(self.hidden(src, tgt))

    # ---- the seam to decoding: encode once, then step, reordering rows in between ----

    def encode(self, src: Int[Tensor, "B S"], src_mask: Bool[Tensor, "B 1 1 S"]) -> TransformerState:
        memory = self.encode_memory(src, src_mask)
        # Heads apart in memory, once: every step multiplies by them, and would otherwise copy them first.
        memory_kv = [tuple(x.contiguous() for x in layer.cross_attention.keys_values(memory)) for layer in self.decoder]
        sentence = torch.arange(len(src), device=src.device)
        return TransformerState(src_mask, memory_kv, [KVCache() for _ in self.decoder], sentence)

    def step(self, tokens: Int[Tensor, " R"], state: TransformerState) -> tuple[Float[Tensor, "R V"], TransformerState]:
        """Logits after one more target token per row."""
        y = self.embed(self.tgt_embedding, tokens[:, None], start=state.position)  # (R, 1, D)
        for layer, cache, memory_kv in zip(self.decoder, state.caches, state.memory_kv, strict=True):
            y = layer.step(y, cache, memory_kv, state.src_mask)
        state.position += 1
        return self.project(self.decoder_norm(y)[:, 0]), state

    def cross_attention_weights(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B L H T S"]:
        """Where each target position looked in the source, for every layer and head: the alignments of lesson 08."""
        weights: list[Tensor] = []

        def look(attention: MultiHeadAttention, arguments: tuple[Tensor, Tensor, Tensor]) -> None:
            weights.append(attention.weights(*arguments))  # the arguments of its forward: y, memory, src_mask

        hooks = [layer.cross_attention.register_forward_pre_hook(look) for layer in self.decoder]
        try:
            self.hidden(src, tgt)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack(weights, dim=1)
