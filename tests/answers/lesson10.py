"""Other right answers to the exercises of lesson 10."""

import math

import torch
import torch.nn.functional as F

# ---- rms_norm ----------------------------------------------------------------------------------------------


def norm_by_rsqrt(x, gamma, eps):
    return x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps) * gamma


def norm_by_length(x, gamma, eps):
    D = x.shape[-1]
    return gamma * x / ((x * x).sum(-1, keepdim=True) / D + eps).sqrt()


def norm_by_einsum(x, gamma, eps):
    mean = torch.einsum("...d,...d->...", x, x) / x.shape[-1]
    return torch.einsum("...d,...,d->...d", x, (mean + eps) ** -0.5, gamma)


# ---- swiglu ------------------------------------------------------------------------------------------------


def glu_by_silu(x, W_gate, W_up, W_down):
    return (F.silu(x @ W_gate) * (x @ W_up)) @ W_down


def glu_in_one_product(x, W_gate, W_up, W_down):
    gate, up = (x @ torch.cat([W_gate, W_up], dim=1)).chunk(2, dim=-1)
    return (up * gate / (1 + (-gate).exp())) @ W_down


def glu_by_linear(x, W_gate, W_up, W_down):
    gate = F.linear(x, W_gate.T)
    return F.linear(gate * gate.sigmoid() * F.linear(x, W_up.T), W_down.T)


# ---- grouped_query_attention -------------------------------------------------------------------------------


def grouped_by_reshape(q, k, v):
    H, T, d = q.shape
    G = len(k)
    if H % G:
        raise ValueError("G does not divide H")
    grouped = q.reshape(G, H // G, T, d)
    weights = (grouped @ k[:, None].mT / d**0.5).softmax(-1)
    return (weights @ v[:, None]).reshape(H, T, d)


def grouped_head_by_head(q, k, v):
    size, rest = divmod(len(q), len(k))
    if rest:
        raise ValueError("unequal groups")
    heads = [torch.softmax(q[h] @ k[h // size].T / math.sqrt(q.shape[2]), -1) @ v[h // size] for h in range(len(q))]
    return torch.stack(heads)


def grouped_with_long_queries(q, k, v):
    """All queries of a group as one long list of rows: each key is read once."""
    if len(q) % len(k) != 0:
        raise ValueError("no even groups")
    rows = q.reshape(len(k), -1, q.shape[-1])
    weights = torch.softmax(torch.einsum("gtd,gsd->gts", rows, k) / math.sqrt(q.shape[-1]), dim=-1)
    return torch.einsum("gts,gsd->gtd", weights, v).reshape(q.shape)


# ---- linear_recurrence -------------------------------------------------------------------------------------


def recurrence_by_blocks(decay, a):
    n, d = a.shape
    size = max(1, math.isqrt(n))
    padded = torch.cat([a, a.new_zeros(-n % size, d)]).reshape(-1, size, d)
    states = [padded[:, 0]]
    for t in range(1, size):
        states.append(decay * states[-1] + padded[:, t])
    inside = torch.stack(states, dim=1)
    power = decay ** torch.arange(1, size + 1).to(a)[:, None]
    carried, carry = [], torch.zeros_like(decay)
    for last in inside[:, -1]:
        carried.append(carry)
        carry = last + decay**size * carry
    return (inside + torch.stack(carried)[:, None] * power).reshape(-1, d)[:n]


def recurrence_by_a_matrix(decay, a):
    back = torch.arange(len(a))[:, None] - torch.arange(len(a))
    weights = torch.where(back[..., None] >= 0, decay ** back.clamp(min=0)[..., None].to(a), torch.zeros_like(decay))
    return torch.einsum("tsd,sd->td", weights, a)


def recurrence_by_halves(decay, a):
    if len(a) == 1:
        return a
    pairs = decay * a[0 : len(a) - 1 : 2] + a[1::2]
    odd = recurrence_by_halves(decay * decay, pairs)
    even = a[0::2] + decay * torch.cat([torch.zeros_like(odd[:1]), odd])[: len(a[0::2])]
    out = torch.empty_like(a)
    out = out.index_put((torch.arange(0, len(a), 2),), even)
    return out.index_put((torch.arange(1, len(a), 2),), odd)


ANSWERS = {
    "rms_norm": [norm_by_rsqrt, norm_by_length, norm_by_einsum],
    "swiglu": [glu_by_silu, glu_in_one_product, glu_by_linear],
    "grouped_query_attention": [grouped_by_reshape, grouped_head_by_head, grouped_with_long_queries],
    "linear_recurrence": [recurrence_by_blocks, recurrence_by_a_matrix, recurrence_by_halves],
}
