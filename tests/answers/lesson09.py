"""Other right answers to the exercises of lesson 09."""

import math

import torch
import torch.nn.functional as F

# ---- pair_input --------------------------------------------------------------------------------------------


def pair_step_by_step(a, b, cls, sep):
    ids = [cls]
    ids.extend(a)
    ids.append(sep)
    border = len(ids)
    ids.extend(b)
    ids.append(sep)
    return ids, [int(i >= border) for i in range(len(ids))]


def pair_unpacked(a, b, cls, sep):
    ids = [cls, *a, sep, *b, sep]
    segments = [0 for _ in range(len(a) + 2)] + [1 for _ in range(len(b) + 1)]
    return ids, segments


def pair_by_cumulative_seps(a, b, cls, sep):
    ids = [cls] + a + [sep] + b + [sep]
    segments, seen = [], 0
    for place in range(len(ids)):
        segments.append(seen)
        if place == len(a) + 1:
            seen = 1
    return ids, segments


# ---- masked_lm_loss ----------------------------------------------------------------------------------------


def loss_of_the_chosen(logits, labels):
    asked = labels != -1
    if not asked.any():
        return torch.zeros(()).to(logits)
    return F.cross_entropy(logits[asked], labels[asked])


def loss_by_log_sum_exp(logits, labels):
    asked = (labels >= 0).nonzero(as_tuple=True)
    chosen = logits[asked]
    losses = chosen.logsumexp(-1) - chosen[torch.arange(len(chosen)), labels[asked]]
    return losses.sum() / max(len(losses), 1)


def loss_by_a_loop(logits, labels):
    total, n = logits.sum() * 0, 0
    for b in range(len(labels)):
        for t in range(labels.shape[1]):
            if labels[b, t] >= 0:
                total = total - logits[b, t].log_softmax(0)[labels[b, t]]
                n += 1
    return total / n if n else total


# ---- top_k_filter ------------------------------------------------------------------------------------------


def filtered_by_argsort(logits, k):
    if k < 1:
        raise ValueError(f"k = {k}")
    rank = logits.argsort(-1, descending=True).argsort(-1)
    return logits.masked_fill(rank >= k, -math.inf)


def filtered_by_a_stable_sort(logits, k):
    if k <= 0:
        raise ValueError("k below 1")
    order = torch.sort(logits, dim=-1, stable=True, descending=True).indices
    drop = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order[..., k:], True)
    return torch.where(drop, torch.tensor(-math.inf, dtype=logits.dtype), logits)


def filtered_row_by_row(logits, k):
    if k < 1:
        raise ValueError("nothing would stay")
    flat = logits.reshape(-1, logits.shape[-1])
    out = logits.new_full(flat.shape, float("-inf"))
    for i, row in enumerate(flat):
        best = row.topk(min(k, len(row))).indices
        out[i, best] = row[best]
    return out.reshape(logits.shape)


# ---- perplexity --------------------------------------------------------------------------------------------


def perplexity_as_tensor(logp):
    if logp.numel() == 0:
        raise ValueError("empty")
    return torch.exp(-logp.mean()).item()


def perplexity_by_the_sum(logp):
    if not logp.numel():
        raise ValueError("no token")
    return math.e ** (-sum(float(x) for x in logp) / len(logp))


def perplexity_in_bits(logp):
    if len(logp) == 0:
        raise ValueError("no token")
    bits = -(logp / math.log(2)).mean().item()
    return 2**bits


ANSWERS = {
    "pair_input": [pair_step_by_step, pair_unpacked, pair_by_cumulative_seps],
    "masked_lm_loss": [loss_of_the_chosen, loss_by_log_sum_exp, loss_by_a_loop],
    "top_k_filter": [filtered_by_argsort, filtered_by_a_stable_sort, filtered_row_by_row],
    "perplexity": [perplexity_as_tensor, perplexity_by_the_sum, perplexity_in_bits],
}
