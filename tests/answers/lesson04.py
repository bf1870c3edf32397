"""Other right answers to the exercises of lesson 04."""

import math

import torch
import torch.nn.functional as F

from utils.attention import attention


def _refuse(D, n_heads):
    if D % n_heads != 0:
        raise ValueError(f"{D} is not a multiple of {n_heads}")


# ---- split_heads -------------------------------------------------------------------------------------------


def split_by_reshape_and_swap(X, n_heads):
    B, T, D = X.shape
    _refuse(D, n_heads)
    return X.reshape(B, T, n_heads, D // n_heads).transpose(1, 2)


def split_by_chunks(X, n_heads):
    _refuse(X.size(-1), n_heads)
    return torch.stack(X.chunk(n_heads, dim=-1), dim=1)


def split_by_view_and_permute(X, n_heads):
    _refuse(X.shape[2], n_heads)
    return X.view(X.shape[0], X.shape[1], n_heads, -1).permute(0, 2, 1, 3).contiguous()


def split_entry_by_entry(X, n_heads):
    B, T, D = X.shape
    if D // n_heads * n_heads < D:
        raise ValueError("the heads would not be equal")
    out = X.new_zeros(B, n_heads, T, D // n_heads)
    for column in range(D):
        out[:, column // (D // n_heads), :, column % (D // n_heads)] = X[:, :, column]
    return out


# ---- merge_heads -------------------------------------------------------------------------------------------


def merge_by_swap_and_reshape(X):
    B, H, T, size = X.shape
    return X.transpose(1, 2).reshape(B, T, H * size)


def merge_by_flatten(X):
    return X.permute(0, 2, 1, 3).flatten(start_dim=2)


def merge_by_contiguous_view(X):
    B, H, T, size = X.size()
    return X.transpose(1, 2).contiguous().view(B, T, -1)


def merge_by_unbinding(X):
    return torch.concat(torch.unbind(X, dim=1), dim=2)


# ---- multi_head_attention ----------------------------------------------------------------------------------


def split_attend_merge_project(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = (split_by_reshape_and_swap(X @ W, n_heads) for W in (Wq, Wk, Wv))
    weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)
    return merge_by_flatten(weights @ v) @ Wo


def all_by_einsum(X, Wq, Wk, Wv, Wo, n_heads):
    D = X.shape[2]
    W = [W.reshape(D, n_heads, D // n_heads) for W in (Wq, Wk, Wv)]
    q, k, v = (torch.einsum("btd,dhe->bhte", X, w) for w in W)
    s = torch.einsum("bhqe,bhke->bhqk", q, k) * (D // n_heads) ** -0.5
    e = torch.exp(s - s.amax(-1, keepdim=True))
    heard = torch.einsum("bhqk,bhke->bqhe", e / e.sum(-1, keepdim=True), v)
    return torch.einsum("bqhe,hed->bqd", heard, Wo.reshape(n_heads, D // n_heads, D))


def head_by_head(X, Wq, Wk, Wv, Wo, n_heads):
    heads = []
    for wq, wk, wv in zip(*(W.chunk(n_heads, dim=1) for W in (Wq, Wk, Wv)), strict=True):
        q, k, v = X @ wq, X @ wk, X @ wv
        heads.append(F.softmax(q @ k.mT / wq.shape[1] ** 0.5, dim=-1) @ v)
    return torch.cat(heads, dim=-1) @ Wo


def a_sum_of_contributions(X, Wq, Wk, Wv, Wo, n_heads):
    size = X.shape[-1] // n_heads
    out = torch.zeros_like(X)
    for h in range(n_heads):
        mine = slice(h * size, h * size + size)
        powers = torch.exp(X @ Wq[:, mine] @ Wk[:, mine].T @ X.mT / math.sqrt(size))  # overflows if scores are large
        out = out + powers / powers.sum(2, keepdim=True) @ X @ Wv[:, mine] @ Wo[mine]
    return out


# ---- head_importance ---------------------------------------------------------------------------------------


def importance_by_ablation(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = (split_by_reshape_and_swap(X @ W, n_heads) for W in (Wq, Wk, Wv))
    heads = attention(q, k, v)[0]
    full, norms = merge_by_flatten(heads) @ Wo, []
    for h in range(n_heads):
        silent = heads.clone()
        silent[:, h] = 0
        norms.append(torch.linalg.norm(full - merge_by_flatten(silent) @ Wo))
    return torch.stack(norms)


def importance_by_contributions(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = (split_by_chunks(X @ W, n_heads) for W in (Wq, Wk, Wv))
    parts = F.scaled_dot_product_attention(q, k, v) @ Wo.unflatten(0, (n_heads, -1))
    return parts.square().sum(dim=(0, 2, 3)).sqrt()


def importance_by_bands_of_zeros(X, Wq, Wk, Wv, Wo, n_heads):
    full, size, found = head_by_head(X, Wq, Wk, Wv, Wo, n_heads), len(Wo) // n_heads, []
    for h in range(n_heads):
        less = Wo.clone()
        less[h * size : (h + 1) * size] = 0
        found.append((full - head_by_head(X, Wq, Wk, Wv, less, n_heads)).norm())
    return torch.stack(found)


def importance_by_silent_values(X, Wq, Wk, Wv, Wo, n_heads):
    size, found = X.shape[2] // n_heads, X.new_empty(n_heads)
    for h in range(n_heads):
        only = torch.zeros_like(Wv)
        only[:, h * size : (h + 1) * size] = Wv[:, h * size : (h + 1) * size]
        found[h] = head_by_head(X, Wq, Wk, only, Wo, n_heads).flatten().norm()  # all the others hand over nothing
    return found


ANSWERS = {
    "split_heads": [split_by_reshape_and_swap, split_by_chunks, split_by_view_and_permute, split_entry_by_entry],
    "merge_heads": [merge_by_swap_and_reshape, merge_by_flatten, merge_by_contiguous_view, merge_by_unbinding],
    "multi_head_attention": [split_attend_merge_project, all_by_einsum, head_by_head, a_sum_of_contributions],
    "head_importance": [
        importance_by_ablation,
        importance_by_contributions,
        importance_by_bands_of_zeros,
        importance_by_silent_values,
    ],
}
