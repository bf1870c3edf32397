"""From a model to a sentence: greedy search and beam search with a cache (lesson 08b).

A model is anything with `encode(src, src_mask) -> state`, `step(tokens, state) -> (logits, state)` and
`state.reorder(rows, sentences)`; that is all this module knows of it. rows: which old row each new row continues, the
rows of one sentence side by side; sentences: which sentences are left, None for all.
"""

from collections.abc import Callable
from numbers import Integral, Real

import torch
from jaxtyping import Int
from torch import Tensor

from utils.attention import padding_mask
from utils.tokenizer import BOS, EOS, PAD

WIDEST, STEEPEST = 100, 10.0  # largest beam size and length penalty that `checked` accepts


def checked(beam_size: object, length_penalty: object = 1.0, no_repeat: object = 0) -> tuple[int, float, int]:
    """The settings of a search as int, float, int (NumPy's numbers are fine); ValueError, one sentence, if wrong."""

    def whole(number: object) -> bool:
        return isinstance(number, Integral) and not isinstance(number, bool)

    if not (whole(beam_size) and 1 <= beam_size <= WIDEST):
        raise ValueError(f"beam_size is {beam_size!r}; it must be a whole number from 1 (greedy search) to {WIDEST}.")
    number = isinstance(length_penalty, Real) and not isinstance(length_penalty, bool)
    if not (number and 0 <= length_penalty <= STEEPEST):  # not so of NaN
        raise ValueError(f"length_penalty is {length_penalty!r}; it must be a number from 0 (none) to {STEEPEST:g}.")
    if not (whole(no_repeat) and 0 <= no_repeat <= WIDEST):
        raise ValueError(f"no_repeat is {no_repeat!r}; it must be a whole number from 0 (no such rule) to {WIDEST}.")
    return int(beam_size), float(length_penalty), int(no_repeat)


def _possible(logits: Tensor) -> Tensor:
    """The logits, but none for <pad> and <bos>, which are never a translation's next token."""
    never = torch.tensor([PAD, BOS], device=logits.device)
    return logits.float().index_fill(1, never, -torch.inf)


def _limits(max_len: int | list[int], n_sentences: int) -> list[int]:
    return [max_len] * n_sentences if isinstance(max_len, int) else max_len


def greedy(model, src: Int[Tensor, "B S"], max_len: int | list[int]) -> list[list[int]]:
    """Greedy search: the most probable token at every step, until <eos> or `max_len` tokens (lesson 08b).

    src (B, S), padded on the right; max_len: one limit for all sentences, or one each. Returns the ids of each
    sentence, without marks.
    """
    return one_by_one(model, src, max_len, lambda logits: logits.argmax(-1))


@torch.inference_mode()
def one_by_one(
    model,
    src: Int[Tensor, "B S"],
    max_len: int | list[int],
    choose: Callable[[Tensor], Tensor],
    prompts: list[list[int]] | None = None,
) -> list[list[int]]:
    """Write token by token what `choose` makes of the logits (R, V), after the prompt where there is one.

    A sentence that has ended leaves the batch: the longest alone computes on.
    """
    limits = _limits(max_len, len(src))
    state = model.encode(src, padding_mask(src, PAD))
    outputs: list[list[int]] = [[] for _ in src]
    rows = list(range(len(src)))  # the sentence of each row of the batch
    tokens = torch.full((len(src),), BOS, device=src.device)
    for t in range(max(limits)):
        logits, state = model.step(tokens, state)
        tokens = choose(_possible(logits))
        for i, row in enumerate(rows if prompts else []):
            if t < len(prompts[row]):
                tokens[i] = prompts[row][t]
        live = []
        for i, (row, token) in enumerate(zip(rows, tokens.tolist(), strict=True)):
            if token != EOS:
                outputs[row].append(token)
                if len(outputs[row]) < limits[row]:
                    live.append(i)
        if not live:
            break
        if len(live) < len(rows):
            rows, kept = [rows[i] for i in live], torch.tensor(live, device=src.device)
            tokens = tokens[kept]
            state.reorder(kept, kept)
    return outputs


def beam(
    model, src: Int[Tensor, "B S"], max_len: int | list[int], beam_size: int = 4, length_penalty: float = 1.0
) -> list[list[int]]:
    """Beam search: keep the `beam_size` best hypotheses of every sentence, finished ones among them, unextended.

    A hypothesis of n tokens (<eos> counted) scores its summed log-probability / n**length_penalty; 0 gives no penalty.
    Live and finished hypotheses compete by this score. The search of a sentence ends when all its hypotheses are
    finished, or at `max_len` tokens (one limit for all sentences, or one each); the best finished hypothesis is
    returned, or the best live one if none finished. src (B, S), padded on the right. Returns ids without marks.
    """
    return [found[0] for found in hypotheses(model, src, max_len, beam_size, length_penalty)]


@torch.inference_mode()
def hypotheses(
    model, src: Int[Tensor, "B S"], max_len: int | list[int], beam_size: int = 4, length_penalty: float = 1.0
) -> list[list[list[int]]]:
    """All that `beam` has in the end: the `beam_size` hypotheses of every sentence, the best first.

    Finished ones stand before those that met `max_len`. Arguments as those of `beam`. Lesson 08b.
    """
    B, K, device = len(src), beam_size, src.device
    state = model.encode(src, padding_mask(src, PAD))
    state.reorder(torch.arange(B, device=device).repeat_interleave(K))
    limit = torch.tensor(_limits(max_len, B), device=device)
    longest = int(limit.max())
    rows = torch.arange(B, device=device)  # (b,) the sentence of each group of K rows; b of the B are not yet done
    history = torch.full((B, K, longest + 1), EOS, device=device)  # column 0 is <bos>
    history[:, :, 0] = BOS
    total = torch.full((B, K), -torch.inf, dtype=torch.float32, device=device)
    total[:, 0] = 0.0  # K equal beginnings would give K equal hypotheses: start with one
    length = torch.zeros(B, K, dtype=torch.float32, device=device)
    finished = torch.zeros(B, K, dtype=torch.bool, device=device)
    outputs: list[list[list[int]]] = [[] for _ in range(B)]

    for t in range(longest):
        logits, state = model.step(history[:, :, t].flatten(), state)
        # Of each hypothesis only its own K best continuations (or all words, if fewer) can be among the K best.
        logp, word = _possible(logits).log_softmax(dim=-1).topk(min(K, logits.shape[1]), dim=1)
        logp, word = logp.unflatten(0, (-1, K)), word.unflatten(0, (-1, K))  # (b, K, k)
        # A finished hypothesis has one continuation, <eos> again, which costs nothing and adds no length.
        logp[finished], word[finished] = -torch.inf, EOS
        logp[..., 0].masked_fill_(finished, 0.0)

        candidate = total[..., None] + logp  # (b, K, k)
        length = length + ~finished  # (b, K)
        score = candidate / length[..., None] ** length_penalty
        chosen = score.flatten(1).topk(K, dim=1).indices  # (b, K)
        parent, token = chosen // logp.shape[-1], word.flatten(1).gather(1, chosen)
        history = history.gather(1, parent[..., None].expand_as(history)).clone()
        history[:, :, t + 1] = token
        total = candidate.flatten(1).gather(1, chosen)
        length = length.gather(1, parent)
        finished = finished.gather(1, parent) | (token == EOS)

        done = finished.all(dim=1) | (limit[rows] == t + 1)  # (b,)
        going = (~done).nonzero()[:, 0]
        if len(going) == len(rows):
            state.reorder((torch.arange(len(rows), device=device)[:, None] * K + parent).flatten())
            continue
        order = _order(total, length, finished, length_penalty)
        for i in done.nonzero()[:, 0].tolist():
            found = history[i, order[i], 1:].tolist()
            outputs[rows[i]] = [ids[: ids.index(EOS)] if EOS in ids else ids for ids in found]
        if len(going) == 0:
            break
        rows, history, total, length, finished = (x[going] for x in (rows, history, total, length, finished))
        state.reorder((going[:, None] * K + parent[going]).flatten(), going)
    return outputs


def _order(total: Tensor, length: Tensor, finished: Tensor, length_penalty: float) -> Int[Tensor, "b K"]:
    """The hypotheses of each sentence from the best on: finished ones by their score, then the others by theirs."""
    score = total / length.clamp(min=1) ** length_penalty
    by_score = score.argsort(dim=1, descending=True, stable=True)
    unfinished_last = (~finished.gather(1, by_score)).byte().argsort(dim=1, stable=True)
    return by_score.gather(1, unfinished_last)
