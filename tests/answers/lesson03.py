"""Other right answers to the exercises of lesson 03."""

import math

import torch


def rows_in_three_lines(X, Wq, Wk, Wv):
    Q, K, V = X @ Wq, X @ Wk, X @ Wv
    return torch.softmax(Q @ K.T / math.sqrt(Q.shape[-1]), dim=-1) @ V


def rows_by_einsum(X, Wq, Wk, Wv):
    Q, K, V = (torch.einsum("ni,id->nd", X, W) for W in (Wq, Wk, Wv))
    return torch.einsum("ij,jd->id", (torch.einsum("id,jd->ij", Q, K) / K.size(1) ** 0.5).softmax(1), V)


def rows_by_columns(X, Wq, Wk, Wv):
    Q, K, V = Wq.T @ X.T, Wk.T @ X.T, Wv.T @ X.T
    return (V @ (K.T @ Q / len(Q) ** 0.5).softmax(dim=0)).T


def rows_stacked_and_naive(X, Wq, Wk, Wv):
    Q, K, V = (X @ torch.cat([Wq, Wk, Wv], dim=1)).chunk(3, dim=-1)
    A = Q @ K.T
    A /= K.shape[1] ** 0.5  # in place, on a tensor of one's own
    powers = A.exp()
    return powers @ V / powers.sum(1, keepdim=True)


def rows_by_mapping(X, Wq, Wk, Wv):
    def ask(q, K, V):
        return (K @ q / len(q) ** 0.5).softmax(0) @ V

    return torch.vmap(ask, in_dims=(0, None, None))(X @ Wq, X @ Wk, X @ Wv)


def mask_the_scores(Q, K, V, mask):
    scores = (Q @ K.mT / Q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf)
    return scores.softmax(-1).masked_fill(~mask, 0) @ V


def mask_and_mend(Q, K, V, mask):
    scores = torch.where(mask, Q @ K.T / math.sqrt(Q.size(1)), float("-inf"))
    return torch.nan_to_num(torch.softmax(scores, dim=1)) @ V


def mask_the_powers(Q, K, V, mask):
    scores = Q @ K.T / math.sqrt(Q.shape[1])
    peak = scores.where(mask, scores.min()).amax(dim=1, keepdim=True)
    powers = torch.exp(scores - peak).where(mask, 0)
    total = powers.sum(dim=1, keepdim=True)
    return powers @ V / torch.where(total == 0, torch.ones_like(total), total)


def mask_by_cutting(Q, K, V, mask):
    out = []
    for q, may in zip(Q, mask, strict=True):
        if may.any():
            out.append((K[may] @ q / math.sqrt(len(q))).softmax(0) @ V[may])
        else:
            out.append(torch.zeros_like(V[0]))
    return torch.stack(out)


def mask_only_rows_with_a_key(Q, K, V, mask):
    asks = mask.any(dim=1)
    scores = torch.einsum("id,jd->ij", Q[asks], K) / Q.shape[1] ** 0.5
    out = V.new_zeros(len(Q), V.shape[1])
    out[asks] = scores.masked_fill(~mask[asks], -torch.inf).softmax(1) @ V
    return out


def mask_with_a_large_number(Q, K, V, mask):
    scores = Q @ K.T / Q.shape[1] ** 0.5 + torch.where(mask, 0.0, -1e9).to(Q.dtype)
    return (scores.softmax(-1) * mask.any(1, keepdim=True)) @ V


def batch_by_matrices(X, Wq, Wk, Wv):
    Q, K, V = X @ Wq, X @ Wk, X @ Wv
    return (Q @ K.mT / math.sqrt(Q.shape[-1])).softmax(dim=-1) @ V


def batch_by_einsum(X, Wq, Wk, Wv):
    Q, K, V = (torch.einsum("bni,id->bnd", X, W) for W in (Wq, Wk, Wv))
    return torch.einsum("bij,bje->bie", (torch.einsum("bid,bjd->bij", Q, K) / Q.size(2) ** 0.5).softmax(2), V)


def batch_by_loop(X, Wq, Wk, Wv):
    return torch.stack([rows_in_three_lines(sentence, Wq, Wk, Wv) for sentence in X])


def batch_by_bmm(X, Wq, Wk, Wv):
    B, n, _ = X.shape
    Q, K, V = (X.reshape(B * n, -1).mm(W).view(B, n, -1) for W in (Wq, Wk, Wv))
    return torch.bmm(torch.bmm(Q, K.transpose(1, 2)).div(Q.shape[2] ** 0.5).softmax(dim=2), V)


def batch_as_one_sentence_with_a_mask(X, Wq, Wk, Wv):
    B, n, _ = X.shape
    sentence = torch.arange(B).repeat_interleave(n).to(X.device)
    Q, K, V = (X.flatten(0, 1) @ W for W in (Wq, Wk, Wv))
    return mask_the_scores(Q, K, V, sentence[:, None] == sentence).unflatten(0, (B, n))


def digest(scores, values):
    m = scores.max()
    e = torch.exp(scores - m)
    return m, e.sum(), e @ values


def merge(one, other):
    (m_1, l_1, o_1), (m_2, l_2, o_2) = one, other
    m = torch.maximum(m_1, m_2)
    f_1, f_2 = torch.exp(m_1 - m), torch.exp(m_2 - m)
    return m, l_1 * f_1 + l_2 * f_2, o_1 * f_1 + o_2 * f_2


def online_by_merging(q, K, V, block):
    seen = None
    for start in range(0, len(K), block):
        now = digest(K[start : start + block] @ q / len(q) ** 0.5, V[start : start + block])
        seen = now if seen is None else merge(seen, now)
    _, total, mixed = seen
    return mixed / total


def online_by_splitting(q, K, V, block):
    q = q / math.sqrt(len(q))
    peak, total, mixed = torch.tensor(-torch.inf, dtype=q.dtype, device=q.device), 0, 0
    for keys, values in zip(K.split(block), V.split(block), strict=True):
        scores = keys @ q
        higher = torch.maximum(peak, scores.max())
        old, e = torch.exp(peak - higher), torch.exp(scores - higher)
        peak, total, mixed = higher, total * old + e.sum(), mixed * old + (e[:, None] * values).sum(0)
    return mixed / total


def online_in_two_rounds(q, K, V, block):
    """The largest score first, then the sums: every key is read twice, and nothing is rescaled."""
    starts = range(0, K.shape[0], block)
    peak = max((K[i : i + block] @ q).max() for i in starts)
    total, mixed = torch.zeros_like(q[0]), torch.zeros_like(V[0])
    for i in starts:
        e = torch.exp((K[i : i + block] @ q - peak) / q.numel() ** 0.5)
        total += e.sum()
        mixed += V[i : i + block].T @ e
    return mixed / total


def online_by_logarithms(q, K, V, block):
    """Keeps the logarithm of the total, and the finished average of what was read."""
    log_total, b = None, None
    for i in range(0, len(K), block):
        scores = torch.einsum("kd,d->k", K[i : i + block], q) / len(q) ** 0.5
        here, mean = scores.logsumexp(0), scores.softmax(0) @ V[i : i + block]
        if b is None:
            log_total, b = here, mean
        else:
            both = torch.logaddexp(log_total, here)
            b = b * torch.exp(log_total - both) + mean * torch.exp(here - both)
            log_total = both
    return b


def online_tile_by_tile(q, K, V, block):
    """Lesson 03's blockwise_attention, for one query."""
    row = q[None] / q.shape[0] ** 0.5
    peak, total = q.new_full((1, 1), -torch.inf), q.new_zeros(1, 1)
    mixed = q.new_zeros(1, V.shape[1])
    for j in range(0, len(K), block):
        tile = row @ K[j : j + block].T
        higher = torch.maximum(peak, tile.amax(1, keepdim=True))
        old, e = torch.exp(peak - higher), torch.exp(tile - higher)
        total = total * old + e.sum(1, keepdim=True)
        mixed = mixed * old + e @ V[j : j + block]
        peak = higher
    return (mixed / total)[0]


def online_key_by_key(q, K, V, block):
    peak, total, mixed = -math.inf, 0, 0
    for k, v in zip(K, V, strict=True):
        score = k @ q / math.sqrt(len(q))
        if score > peak:
            factor = torch.exp(peak - score)
            peak, total, mixed = score, total * factor, mixed * factor
        total, mixed = total + torch.exp(score - peak), mixed + torch.exp(score - peak) * v
    return mixed / total


ANSWERS = {
    "self_attention": [
        rows_in_three_lines,
        rows_by_einsum,
        rows_by_columns,
        rows_stacked_and_naive,
        rows_by_mapping,
    ],
    "masked_attention": [
        mask_the_scores,
        mask_and_mend,
        mask_the_powers,
        mask_by_cutting,
        mask_only_rows_with_a_key,
        mask_with_a_large_number,
    ],
    "batched_self_attention": [
        batch_by_matrices,
        batch_by_einsum,
        batch_by_loop,
        batch_by_bmm,
        batch_as_one_sentence_with_a_mask,
    ],
    "online_attention": [
        online_by_merging,
        online_by_splitting,
        online_in_two_rounds,
        online_by_logarithms,
        online_tile_by_tile,
        online_key_by_key,
    ],
}
