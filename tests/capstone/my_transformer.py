"""A Transformer, begun from an empty file: the solved capstone."""

import math

import torch
from torch import nn


def attention(q, k, v, mask=None):
    """q (..., T, d), k (..., S, d), v (..., S, d_v), mask (..., T, S), True = may attend -> (..., T, d_v)."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1) @ v


class MultiHeadAttention(nn.Module):
    """Every position of x asks every position of memory: (B, T, D), (B, S, D) -> (B, T, D)."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value, self.out = (nn.Linear(d_model, d_model) for _ in range(4))

    def split(self, x):
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (B, T, D) -> (B, H, T, D/H)

    def forward(self, x, memory, mask=None):
        q, k, v = self.split(self.query(x)), self.split(self.key(memory)), self.split(self.value(memory))
        heads = attention(q, k, v, mask)  # (B, H, T, D/H)
        return self.out(heads.transpose(1, 2).flatten(-2))  # (B, T, D)


def sinusoidal(n, d):
    """One row per position: sines in even columns, cosines in odd ones, (n, d)."""
    frequency = 10000.0 ** (-torch.arange(0, d, 2) / d)  # (d/2,)
    angle = torch.arange(n)[:, None] * frequency  # (n, d/2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


class LayerNorm(nn.Module):
    """Each vector to mean 0 and variance 1, then stretched and shifted: (..., D) -> (..., D)."""

    def __init__(self, d):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(d)), nn.Parameter(torch.zeros(d))

    def forward(self, x):
        centered = x - x.mean(dim=-1, keepdim=True)
        variance = centered.square().mean(dim=-1, keepdim=True)
        return self.gamma * centered / (variance + 1e-5).sqrt() + self.beta


class FeedForward(nn.Module):
    """Widen, ReLU, back, at every position alone: (B, T, D) -> (B, T, D)."""

    def __init__(self, d_model, d_ff):
        super().__init__()
        self.inner, self.outer = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def forward(self, x):
        return self.outer(torch.relu(self.inner(x)))


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward, pre-norm: (B, S, D) -> (B, S, D)."""

    def __init__(self, d_model, n_heads, d_ff):
        super().__init__()
        self.self_attention, self.feed_forward = MultiHeadAttention(d_model, n_heads), FeedForward(d_model, d_ff)
        self.norm1, self.norm2 = LayerNorm(d_model), LayerNorm(d_model)

    def forward(self, x, src_mask):
        z = self.norm1(x)
        x = x + self.self_attention(z, z, src_mask)
        return x + self.feed_forward(self.norm2(x))


class DecoderLayer(nn.Module):
    """Masked self-attention, cross-attention, feed-forward: (B, T, D), memory (B, S, D) -> (B, T, D)."""

    def __init__(self, d_model, n_heads, d_ff):
        super().__init__()
        self.self_attention, self.cross_attention = (MultiHeadAttention(d_model, n_heads) for _ in range(2))
        self.feed_forward = FeedForward(d_model, d_ff)
        self.norm1, self.norm2, self.norm3 = (LayerNorm(d_model) for _ in range(3))

    def forward(self, y, memory, src_mask, tgt_mask):
        z = self.norm1(y)
        y = y + self.self_attention(z, z, tgt_mask)
        y = y + self.cross_attention(self.norm2(y), memory, src_mask)
        return y + self.feed_forward(self.norm3(y))


class Transformer(nn.Module):
    """src (B, S), tgt (B, T) -> logits of the next target token (B, T, tgt_vocab). Masks are made inside."""

    def __init__(self, src_vocab, tgt_vocab, d_model, n_heads, n_layers, d_ff, pad_id=0):
        super().__init__()
        self.d_model, self.pad_id = d_model, pad_id
        self.src_embedding, self.tgt_embedding = nn.Embedding(src_vocab, d_model), nn.Embedding(tgt_vocab, d_model)
        for table in (self.src_embedding, self.tgt_embedding):
            nn.init.normal_(table.weight, std=d_model**-0.5)
        self.encoder = nn.ModuleList(EncoderLayer(d_model, n_heads, d_ff) for _ in range(n_layers))
        self.decoder = nn.ModuleList(DecoderLayer(d_model, n_heads, d_ff) for _ in range(n_layers))
        self.encoder_norm, self.decoder_norm = LayerNorm(d_model), LayerNorm(d_model)

    def embed(self, table, ids):
        return table(ids) * math.sqrt(self.d_model) + sinusoidal(ids.shape[1], self.d_model)

    def forward(self, src, tgt):
        src_mask = (src != self.pad_id)[:, None, None, :]  # (B, 1, 1, S)
        tgt_mask = torch.ones(tgt.shape[1], tgt.shape[1], dtype=torch.bool).tril()  # (T, T)
        x = self.embed(self.src_embedding, src)
        for layer in self.encoder:
            x = layer(x, src_mask)
        memory, y = self.encoder_norm(x), self.embed(self.tgt_embedding, tgt)
        for layer in self.decoder:
            y = layer(y, memory, src_mask, tgt_mask)
        return self.decoder_norm(y) @ self.tgt_embedding.weight.T


@torch.no_grad()
def greedy(model, src, bos, eos, max_len):
    """The most probable token at every step: one list of ids per row of src, without bos and eos."""
    tgt = torch.full((len(src), 1), bos)
    for _ in range(max_len):
        best = model(src, tgt)[:, -1].argmax(dim=-1)  # (B,)
        tgt = torch.cat([tgt, best[:, None]], dim=1)
    rows = tgt[:, 1:].tolist()
    return [row[: row.index(eos)] if eos in row else row for row in rows]
