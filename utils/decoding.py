"""From a model to a sentence: greedy search and beam search with a cache (lesson 08).

A model is anything with `encode(src, src_mask) -> state`, `step(tokens, state) -> (logits, state)` and
`state.reorder(rows, sentences)`; that is all this module knows of it. rows: which old row each new row continues, the
rows of one sentence side by side; sentences: which sentences are left, None for all.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from utils.attention import padding_mask
from utils.tokenizer import BOS, EOS, PAD


def _possible(logits: Tensor) -> Tensor:
    """The logits, but none for <pad> and <bos>, which are never a translation's next token."""
    never = torch.tensor([PAD, BOS], device=logits.device)
    return logits.float().index_fill(1, never, -torch.inf)


@torch.inference_mode()
def greedy(model, src: Int[Tensor, "B S"], max_len: int | list[int]) -> list[list[int]]:
    """The most probable token at every step, until <eos> or `max_len` tokens (one limit for all, or one per row).

    Returns ids without marks, one list per row.
    Rows that have ended leave the batch, so the last long sentence does not make the short ones compute on.
    """
    state = model.encode(src, padding_mask(src, PAD))
    outputs: list[list[int]] = [[] for _ in src]
    rows = torch.arange(len(src))  # which sentence each row of the batch is
    tokens = torch.full((len(src),), BOS, device=src.device)
    limit = torch.as_tensor(max_len).expand(len(src))
    for t in range(int(limit.max())):
        logits, state = model.step(tokens, state)
        tokens = _possible(logits).argmax(-1)
        alive = (tokens != EOS).cpu()
        for row, token in zip(rows[alive].tolist(), tokens[alive.to(tokens.device)].tolist(), strict=True):
            outputs[row].append(token)
        alive &= limit[rows] > t + 1
        if not alive.all():
            keep = alive.nonzero()[:, 0]
            if len(keep) == 0:
                break
            rows, tokens = rows[keep], tokens[keep.to(tokens.device)]
            keep = keep.to(tokens.device)
            state.reorder(keep, keep)
    return outputs


@torch.inference_mode()
def beam(
    model, src: Int[Tensor, "B S"], max_len: int | list[int], beam_size: int = 4, length_penalty: float = 1.0
) -> list[list[int]]:
    """Beam search: keep the `beam_size` best hypotheses of every sentence, finished ones among them, unextended.

    A hypothesis of n tokens (<eos> counted) scores its summed log-probability / n**length_penalty when the winner is
    chosen; 0 gives no penalty. While searching, live and finished hypotheses compete by the same score. The search of
    a sentence ends when all its hypotheses are finished, or at `max_len` tokens (one limit for all, or one per
    sentence); then the best finished one is returned, or the best live one if none finished. Ids without marks.
    """
    B, K, device = len(src), beam_size, src.device
    state = model.encode(src, padding_mask(src, PAD))
    state.reorder(torch.arange(B, device=device).repeat_interleave(K))
    rows = torch.arange(B, device=device)  # which sentence each group of K rows is
    total = torch.full((B, K), -torch.inf, device=device)
    total[:, 0] = 0.0  # K equal beginnings would give K equal hypotheses: start with one
    finished = torch.zeros(B, K, dtype=torch.bool, device=device)
    length = torch.zeros(B, K, device=device)
    limit = torch.as_tensor(max_len, device=device).expand(B)
    longest = int(limit.max())
    history = torch.full((B, K, longest + 1), EOS, device=device)  # column 0 is <bos>
    history[:, :, 0] = BOS
    outputs: list[list[int]] = [[] for _ in range(B)]

    for t in range(longest):
        logits, state = model.step(history[:, :, t].flatten(), state)
        # Of each hypothesis only its own K best continuations (or all words, if fewer) can be among the K best.
        logp, word = _possible(logits).log_softmax(dim=-1).topk(min(K, logits.shape[1]), dim=1)
        logp, word = logp.unflatten(0, (-1, K)), word.unflatten(0, (-1, K))  # (b, K, k)
        # A finished hypothesis has one continuation, <eos> again, which costs nothing and adds no length.
        logp[finished], word[finished] = -torch.inf, EOS
        logp[..., 0].masked_fill_(finished, 0.0)
        candidate = total[..., None] + logp  # (b, K, k)
        new_length = length + ~finished  # (b, K)
        score = candidate / new_length[..., None] ** length_penalty
        chosen = score.flatten(1).topk(K, dim=1).indices  # (b, K)
        parent, token = chosen // logp.shape[-1], word.flatten(1).gather(1, chosen)

        total = candidate.flatten(1).gather(1, chosen)
        length = new_length.gather(1, parent)
        finished = finished.gather(1, parent) | (token == EOS)
        history = history.gather(1, parent[..., None].expand_as(history)).clone()
        history[:, :, t + 1] = token

        kept, sentences = torch.arange(len(rows), device=device), None  # all
        ended = finished.all(dim=1) | (limit[rows] == t + 1)
        if ended.any():
            _collect(outputs, rows[ended], history[ended], total[ended], length[ended], finished[ended], length_penalty)
            kept = sentences = (~ended).nonzero()[:, 0]
            if len(kept) == 0:
                break
            rows, total, length = rows[kept], total[kept], length[kept]
            finished, history, parent = finished[kept], history[kept], parent[kept]
        state.reorder((kept[:, None] * K + parent).flatten(), sentences)
    return outputs


def _collect(outputs, rows, history, total, length, finished, length_penalty) -> None:
    """Write the best hypothesis of each ended sentence to its place in `outputs`."""
    score = total / length.clamp(min=1) ** length_penalty
    score = score.masked_fill(~finished & finished.any(dim=1, keepdim=True), -torch.inf)  # finished before live
    best = score.argmax(dim=1)
    for row, hypothesis in zip(rows.tolist(), history[torch.arange(len(rows)), best].tolist(), strict=True):
        ids = hypothesis[1:]
        outputs[row] = ids[: ids.index(EOS)] if EOS in ids else ids
