"""Other right answers to the exercises of lesson 02."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def scores_by_einsum(q, K):
    return torch.einsum("nd,d->n", K, q) / q.shape[0] ** 0.5


def scores_by_sums(q, K):
    return (K * q).sum(dim=1) / torch.sqrt(torch.tensor(q.numel(), dtype=q.dtype))


def scores_scaling_the_query(q, K):
    return (q * len(q) ** -0.5) @ K.T


def scores_by_stacking(q, K):
    return torch.stack([torch.dot(k, q) for k in K]) / math.sqrt(K.size(1))


def softmax_minus_max(z):
    e = torch.exp(z - z.max())
    return e / e.sum()


def softmax_by_logsumexp(z):
    return torch.exp(z - torch.logsumexp(z, dim=0))


def softmax_with_detached_max(z):
    e = (z - z.amax(dim=-1, keepdim=True).detach()).exp()
    return e.div(e.sum(-1, keepdim=True))


def softmax_by_ratios(z):
    return 1 / torch.exp(z[None, :] - z[:, None]).sum(dim=1).where(
        z > -torch.inf, torch.tensor(torch.inf, dtype=z.dtype)
    )


def attend_in_one_line(q, K, V):
    return torch.softmax(K @ q / math.sqrt(len(q)), 0) @ V


def attend_naively(q, K, V):
    e = torch.exp(K @ q / K.shape[1] ** 0.5)  # overflows for large scores, which nobody asked about
    return (e[:, None] * V).sum(0) / e.sum()


def attend_by_loop(q, K, V):
    weights = F.softmax(torch.stack([q @ k for k in K]) / np.sqrt(len(q)), dim=-1)
    b = torch.zeros(V.shape[1], dtype=V.dtype)
    for weight, v in zip(weights, V, strict=True):
        b = b + weight * v
    return b


def loop_over_words(X, Wq, Wk, Wv):
    K, V = X @ Wk.T, X @ Wv.T
    return torch.stack([attend_in_one_line(Wq @ x, K, V) for x in X])


def loop_over_pairs(X, Wq, Wk, Wv):
    out = []
    for x in X:
        q = Wq @ x
        s = torch.stack([(Wk @ y) @ q for y in X]) / math.sqrt(Wq.shape[0])
        out.append(sum(w * (Wv @ y) for w, y in zip(s.softmax(0), X, strict=True)))
    return torch.stack(out)


def no_loop_at_all(X, Wq, Wk, Wv):
    Q, K, V = (torch.einsum("oi,ni->no", W, X) for W in (Wq, Wk, Wv))
    return torch.einsum("qk,kd->qd", (Q @ K.T / Q.size(-1) ** 0.5).softmax(-1), V)


def masked_by_leaving_out(q, K, V, may_attend):
    if not may_attend.any():
        return torch.zeros_like(V[0])
    return attend_in_one_line(q, K[may_attend], V[may_attend])


def masked_by_where(q, K, V, may_attend):
    z = torch.where(may_attend, K @ q / len(q) ** 0.5, torch.finfo(q.dtype).min)
    return (z.softmax(0) * may_attend) @ V


def masked_by_hand(q, K, V, may_attend):
    z = (K @ q / math.sqrt(len(q))).masked_fill(~may_attend, -torch.inf)
    e = torch.exp(z - z.amax().clamp(min=-1e30).detach())
    return (e[:, None] * V).sum(0) / (e.sum() if may_attend.any() else 1)


def masked_empty_scores_to_zero(q, K, V, may_attend):
    z = (K @ q / math.sqrt(len(q))).masked_fill(~may_attend, -torch.inf)
    nothing = ~may_attend.any()
    return z.masked_fill(nothing, 0.0).softmax(0).masked_fill(nothing, 0.0) @ V


ANSWERS = {
    "scores": [scores_by_einsum, scores_by_sums, scores_scaling_the_query, scores_by_stacking],
    "softmax": [softmax_minus_max, softmax_by_logsumexp, softmax_with_detached_max, softmax_by_ratios],
    "attend": [attend_in_one_line, attend_naively, attend_by_loop],
    "self_attention_loop": [loop_over_words, loop_over_pairs, no_loop_at_all],
    "masked_attend": [masked_by_leaving_out, masked_by_where, masked_by_hand, masked_empty_scores_to_zero],
}
