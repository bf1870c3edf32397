"""Seq2seq with RNNs and additive attention, behind the same seam as the Transformer (lesson 06)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from utils.attention import padding_mask
from utils.config import ModelConfig
from utils.dropout import Dropout


class AdditiveAttention(nn.Module):
    """score(s, h_i) = v . tanh(W s + U h_i): a small network judges how well h_i answers s.

    Source: Neural Machine Translation by Jointly Learning to Align and Translate (arXiv 1409.0473), section 3.1.
    Lesson 06, "The additive score".
    """

    def __init__(self, d_state: int, d_memory: int, d_attention: int):
        super().__init__()
        self.W = nn.Linear(d_state, d_attention)
        self.U = nn.Linear(d_memory, d_attention, bias=False)
        self.v = nn.Linear(d_attention, 1, bias=False)

    def forward(
        self, s: Float[Tensor, "B Ds"], keys: Float[Tensor, "B S A"], memory: Float[Tensor, "B S Dm"], mask: Tensor
    ) -> tuple[Float[Tensor, "B Dm"], Float[Tensor, "B S"]]:
        """Context and weights for one query s per row; `keys` is U(memory), computed once per sentence.

        mask (B, S), True = may attend. A row that may attend to nothing gets zeros, never NaN.
        """
        scores = self.v(torch.tanh(self.W(s)[:, None] + keys)).squeeze(-1)  # (B, S)
        nothing = ~mask.any(dim=-1, keepdim=True)
        scores = scores.masked_fill(~mask, float("-inf")).masked_fill(nothing, 0.0)
        weights = torch.softmax(scores, dim=-1).masked_fill(nothing, 0.0)
        return (weights[:, None] @ memory)[:, 0], weights


@dataclass
class RNNState:
    """What decoding carries: the encoder's memory (with its keys and mask) and the decoder's hidden state.

    Lesson 06, "The repair: look again before every word".
    """

    memory: Tensor  # (B, S, 2 H)
    keys: Tensor  # (B, S, A)
    mask: Tensor  # (B, S), True at real tokens
    hidden: Tensor  # (B, H)

    def reorder(self, rows: Int[Tensor, " B2"], sentences: Int[Tensor, " B3"] | None = None) -> None:
        """Row b becomes what row rows[b] was; each has its own copy of the source (`sentences` adds nothing)."""
        self.memory, self.keys = self.memory[rows], self.keys[rows]
        self.mask, self.hidden = self.mask[rows], self.hidden[rows]


class RNNSeq2Seq(nn.Module):
    """Bidirectional GRU encoder; GRU decoder that looks at the encoder's outputs before every word.

    `config.d_model` is the width of the embeddings, `config.d_ff` the width H of the recurrent states.
    Lesson 06, "Only the scores differ"; trained on sentences in lesson 08, "RNN or Transformer?".
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        c, h = config, config.d_ff
        self.config = config
        self.src_embedding = nn.Embedding(c.src_vocab, c.d_model, padding_idx=c.pad_id)
        self.tgt_embedding = nn.Embedding(c.tgt_vocab, c.d_model, padding_idx=c.pad_id)
        for embedding in (self.src_embedding, self.tgt_embedding):
            nn.init.normal_(embedding.weight, std=c.d_model**-0.5)
            nn.init.zeros_(embedding.weight[c.pad_id])
        self.encoder = nn.GRU(c.d_model, h, c.n_layers, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(h, h)
        self.attention = AdditiveAttention(h, 2 * h, c.d_model)
        self.cell = nn.GRUCell(c.d_model + 2 * h, h)
        self.readout = nn.Linear(h + 2 * h + c.d_model, c.d_model)
        self.dropout = Dropout(c.dropout)

    def encode(self, src: Int[Tensor, "B S"], src_mask: Bool[Tensor, "B 1 1 S"]) -> RNNState:
        mask = src_mask[:, 0, 0]  # (B, S)
        x = self.dropout(self.src_embedding(src))
        # Packed, so that the backward direction starts at the last real token and padding changes nothing.
        packed = pack_padded_sequence(x, mask.sum(1).clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        with torch.autocast(x.device.type, enabled=False):  # cuDNN would turn to float16, too narrow for gradients
            outputs, last = self.encoder(packed)
        memory, _ = pad_packed_sequence(outputs, batch_first=True, total_length=src.shape[1])
        memory = self.dropout(memory)
        # The backward direction has read the whole sentence when it arrives at the first word.
        return RNNState(memory, self.attention.U(memory), mask, torch.tanh(self.bridge(last[-1])))

    def advance(self, word: Float[Tensor, "B D"], state: RNNState) -> tuple[Float[Tensor, "B R"], Tensor]:
        """One step of the decoder: look, update the state; what the output layer will read, and the weights (B, S)."""
        context, weights = self.attention(state.hidden, state.keys, state.memory, state.mask)
        state.hidden = self.cell(torch.cat([word, context], dim=-1), state.hidden)
        return torch.cat([state.hidden, context, word], dim=-1), weights

    def read(self, seen: Float[Tensor, "*batch R"]) -> Float[Tensor, "*batch D"]:
        """From state, context and word to what the output layer multiplies."""
        return self.dropout(torch.tanh(self.readout(seen)))

    def decoder_output(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The decoder with teacher forcing: T steps that must wait for one another; what the output layer reads."""
        state = self.encode(src, padding_mask(src, self.config.pad_id))
        words = self.dropout(self.tgt_embedding(tgt))
        seen = [self.advance(word, state)[0] for word in words.unbind(dim=1)]
        return self.read(torch.stack(seen, dim=1))

    def project(self, y: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """The output layer, tied to the target embedding."""
        return nn.functional.linear(y, self.tgt_embedding.weight)

    def forward(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits for the token after each position of tgt."""
        return self.project(self.decoder_output(src, tgt))

    def step(self, tokens: Int[Tensor, " B"], state: RNNState) -> tuple[Float[Tensor, "B V"], RNNState]:
        """Logits after one more target token per row."""
        seen, _ = self.advance(self.dropout(self.tgt_embedding(tokens)), state)
        return self.project(self.read(seen)), state

    def cross_attention_weights(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B 1 1 T S"]:
        """Where each target position looked in the source; one layer, one head, the shape is the Transformer's."""
        state = self.encode(src, padding_mask(src, self.config.pad_id))
        weights = [self.advance(word, state)[1] for word in self.tgt_embedding(tgt).unbind(dim=1)]
        return torch.stack(weights, dim=1)[:, None, None]
