"""The Transformer of Attention Is All You Need, section 3, for translation (lesson 07)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from utils.attention import KVCache, MultiHeadAttention, padding_mask
from utils.config import ModelConfig
from utils.dropout import Dropout
from utils.norm import make_norm
from utils.positional import sinusoidal


class FeedForward(nn.Module):
    """W_2 relu(W_1 x + b_1) + b_2, at every position alone (section 3.3). (B, T, D) -> (B, T, D).

    Lesson 07, "5. Feed-forward". activation: "relu", "gelu", or "swiglu", whose inner layer is two, one of which opens
    and closes the other: W_2 (silu(W_gate x) * W_up x) (arXiv 2002.05202). bias: whether there are b_1 and b_2.
    """

    def __init__(self, d_model: int, d_ff: int, activation: str = "relu", bias: bool = True):
        super().__init__()
        self.activation = activation
        n_inner = 2 * d_ff if activation == "swiglu" else d_ff
        self.inner, self.outer = nn.Linear(d_model, n_inner, bias=bias), nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        x = self.inner(x)
        if self.activation == "swiglu":
            gate, up = x.chunk(2, dim=-1)
            return self.outer(F.silu(gate) * up)
        return self.outer(torch.relu(x) if self.activation == "relu" else F.gelu(x))


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward; each adds its output to the residual stream.

    Pre-norm, x + f(norm(x)), trains more easily when deep; post-norm, norm(x + f(x)), is the paper's (section 3.1).
    Lesson 07, "6. The encoder layer". With a mask that hides the future, and a cache, it is also the decoder layer of
    a model that has no encoder. norm, activation, key_heads, bias, qk_norm: see `utils.norm`, `FeedForward` and
    `MultiHeadAttention`.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        norm_first: bool = True,
        norm: str = "layer",
        activation: str = "relu",
        key_heads: int | None = None,
        bias: bool = True,
        qk_norm: bool = False,
    ):
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, n_heads, key_heads, bias, qk_norm)
        self.feed_forward = FeedForward(d_model, d_ff, activation, bias)
        self.attention_norm, self.ffn_norm = make_norm(d_model, norm, bias), make_norm(d_model, norm, bias)
        self.dropout, self.norm_first = Dropout(dropout), norm_first

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        mask: Bool[Tensor, "..."],
        cache: KVCache | None = None,
        hands: Float[Tensor, "*places S Dh"] | None = None,
    ) -> Float[Tensor, "B S D"]:
        """mask: whom each position may ask; cache: the positions before x; hands: see `MultiHeadAttention`."""
        look = {"mask": mask, "cache": cache, "hands": hands}
        if self.norm_first:
            x = x + self.dropout(self.self_attention(self.attention_norm(x), **look))
            x = x + self.dropout(self.feed_forward(self.ffn_norm(x)))
        else:
            x = self.attention_norm(x + self.dropout(self.self_attention(x, **look)))
            x = self.ffn_norm(x + self.dropout(self.feed_forward(x)))
        return x


class DecoderLayer(nn.Module):
    """Masked self-attention, cross-attention to the encoder's output, feed-forward, each added to the residual stream.

    Lesson 07, "9. The decoder layer". The options are those of the encoder layer.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        norm_first: bool = True,
        norm: str = "layer",
        activation: str = "relu",
        key_heads: int | None = None,
        bias: bool = True,
        qk_norm: bool = False,
    ):
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, n_heads, key_heads, bias, qk_norm)
        self.cross_attention = MultiHeadAttention(d_model, n_heads, key_heads, bias, qk_norm)
        self.feed_forward = FeedForward(d_model, d_ff, activation, bias)
        self.attention_norm, self.cross_attention_norm = make_norm(d_model, norm, bias), make_norm(d_model, norm, bias)
        self.ffn_norm = make_norm(d_model, norm, bias)
        self.dropout, self.norm_first = Dropout(dropout), norm_first

    def forward(
        self,
        y: Float[Tensor, "R T D"],
        memory: Float[Tensor, "B S D"] | tuple[Tensor, Tensor],
        src_mask: Bool[Tensor, "B 1 1 S"],
        cache: KVCache | None = None,
        hands: Float[Tensor, "*places T Dh"] | None = None,
    ) -> Float[Tensor, "R T D"]:
        """All positions at once (teacher forcing), or, with a cache, the newest one alone: T = 1.

        `memory` is the encoder's output, or its keys and values from `cross_attention.keys_values`. R rows, the same
        number for each of the B sentences of the memory, side by side.
        """
        # A cache holds earlier positions only: nothing to hide.
        look = {"causal": cache is None, "cache": cache, "hands": hands}
        if self.norm_first:
            y = y + self.dropout(self.self_attention(self.attention_norm(y), **look))
            y = y + self.dropout(self.cross_attention(self.cross_attention_norm(y), memory, src_mask))
            y = y + self.dropout(self.feed_forward(self.ffn_norm(y)))
        else:
            y = self.attention_norm(y + self.dropout(self.self_attention(y, **look)))
            y = self.cross_attention_norm(y + self.dropout(self.cross_attention(y, memory, src_mask)))
            y = self.ffn_norm(y + self.dropout(self.feed_forward(y)))
        return y


@dataclass
class TransformerState:
    """What decoding carries from step to step: the source as keys and values, and a cache per layer.

    The R rows that are decoded come from B sentences, R/B side by side for each (the hypotheses of a beam). They share
    their sentence's keys and values, so that a beam neither copies these nor moves them when hypotheses change places.
    Lesson 08b, "Beam search".
    """

    src_mask: Tensor  # (B, 1, 1, S)
    memory_kv: list[tuple[Tensor, Tensor]]  # a layer each: (B, G, S, D_head) twice, G heads of keys
    caches: list[KVCache]  # a layer each, R rows
    position: int = 0

    def reorder(self, rows: Int[Tensor, " R2"], sentences: Int[Tensor, " B2"] | None = None) -> None:
        """Row r becomes what row rows[r] was. `sentences`: which of the B sentences are left; None = all of them."""
        for cache in self.caches:
            cache.reorder(rows)
        if sentences is not None:
            self.src_mask = self.src_mask[sentences]
            self.memory_kv = [(k.index_select(0, sentences), v.index_select(0, sentences)) for k, v in self.memory_kv]


def position_table(config: ModelConfig, n: int) -> Float[Tensor, "n d"]:
    """n rows of clock hands: as wide as the embeddings that they are added to, or as the heads that they turn.

    Lesson 07, "11. All together".
    """
    return sinusoidal(n, config.d_model // (config.n_heads if config.positions == "rotary" else 1))


def final_norm(config: ModelConfig) -> nn.Module:
    """The norm after the last layer; none with post-norm. Lesson 07, "11. All together"."""
    return make_norm(config.d_model, config.norm, config.bias) if config.norm_first else nn.Identity()


class Transformer(nn.Module):
    """Encoder and decoder stacks, positions as `config.positions` says, output layer tied to the target embedding.

    With `norm_first` each stack ends in one more norm, for nothing else would bring its sum back to scale.
    Lesson 07, "11. All together".
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        c = self.config = config
        self.src_embedding = nn.Embedding(c.src_vocab, c.d_model, padding_idx=c.pad_id)
        self.tgt_embedding = nn.Embedding(c.tgt_vocab, c.d_model, padding_idx=c.pad_id)
        for embedding in (self.src_embedding, self.tgt_embedding):
            nn.init.normal_(embedding.weight, std=c.d_model**-0.5)
            nn.init.zeros_(embedding.weight[c.pad_id])
        self.encoder = nn.ModuleList(EncoderLayer(**c.layer()) for _ in range(c.n_layers))
        self.decoder = nn.ModuleList(DecoderLayer(**c.layer()) for _ in range(c.decoder_layers or c.n_layers))
        self.encoder_norm, self.decoder_norm = final_norm(c), final_norm(c)
        self.dropout = Dropout(c.dropout)
        self.register_buffer("positions", position_table(c, 512), persistent=False)

    def embed(self, embedding: nn.Embedding, ids: Int[Tensor, "B T"], start: int = 0) -> Float[Tensor, "B T D"]:
        """sqrt(d) times the embedding, plus the positions from `start` on, where positions are added."""
        x = embedding(ids) * math.sqrt(self.config.d_model)
        if self.config.positions == "sinusoidal":
            x = x + self.position_rows(start, start + ids.shape[1])
        return self.dropout(x)

    def hands(self, n: int, start: int = 0) -> Float[Tensor, "n Dh"] | None:
        """What turns the queries and keys of n positions from `start` on; None where nothing turns them."""
        return self.position_rows(start, start + n) if self.config.positions == "rotary" else None

    def position_rows(self, start: int, end: int) -> Float[Tensor, "n d"]:
        """Rows of the table of positions, which grows when sentences are longer."""
        if end > len(self.positions):
            self.positions = position_table(self.config, 2 * end).to(self.positions)
        return self.positions[start:end]

    def encoder_output(self, src: Int[Tensor, "B S"], src_mask: Bool[Tensor, "B 1 1 S"]) -> Float[Tensor, "B S D"]:
        """The encoder stack: the memory that the decoder looks at."""
        x, hands = self.embed(self.src_embedding, src), self.hands(src.shape[1])
        for layer in self.encoder:
            x = layer(x, src_mask, hands=hands)
        return self.encoder_norm(x)

    def decoder_output(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The decoder stack, all positions at once (teacher forcing): what the output layer reads."""
        src_mask = padding_mask(src, self.config.pad_id)
        memory = self.encoder_output(src, src_mask)
        y, hands = self.embed(self.tgt_embedding, tgt), self.hands(tgt.shape[1])
        for layer in self.decoder:
            y = layer(y, memory, src_mask, hands=hands)
        return self.decoder_norm(y)

    def project(self, y: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """The output layer: logits over the target vocabulary, with the target embedding as its matrix."""
        return nn.functional.linear(y, self.tgt_embedding.weight)

    def forward(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits for the token after each position of tgt. Pad on the right; masks are made inside."""
        return self.project(self.decoder_output(src, tgt))

    # ---- the seam to decoding: encode once, then step, reordering rows in between (lesson 08b) ----

    def encode(self, src: Int[Tensor, "B S"], src_mask: Bool[Tensor, "B 1 1 S"]) -> TransformerState:
        """The state before the first target token: one row per sentence."""
        memory = self.encoder_output(src, src_mask)
        # Heads apart in memory, once: every step multiplies by them, and would otherwise copy them first.
        memory_kv = [tuple(x.contiguous() for x in layer.cross_attention.keys_values(memory)) for layer in self.decoder]
        return TransformerState(src_mask, memory_kv, [KVCache() for _ in self.decoder])

    def step(self, tokens: Int[Tensor, " R"], state: TransformerState) -> tuple[Float[Tensor, "R V"], TransformerState]:
        """Logits after one more target token per row."""
        y = self.embed(self.tgt_embedding, tokens[:, None], start=state.position)  # (R, 1, D)
        for layer, memory_kv, cache in zip(self.decoder, state.memory_kv, state.caches, strict=True):
            y = layer(y, memory_kv, state.src_mask, cache, self.hands(1, state.position))
        state.position += 1
        return self.project(self.decoder_norm(y)[:, 0]), state

    def cross_attention_weights(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B L H T S"]:
        """Where each target position looked in the source, for every layer and head: the alignments of lesson 08b."""
        weights: list[Tensor] = []

        def look(attention: MultiHeadAttention, arguments: tuple[Tensor, Tensor, Tensor]) -> None:
            weights.append(attention.weights(*arguments))  # the arguments of its forward: y, memory, src_mask

        hooks = [layer.cross_attention.register_forward_pre_hook(look) for layer in self.decoder]
        try:
            self.decoder_output(src, tgt)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack(weights, dim=1)
