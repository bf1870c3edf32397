"""Other right answers to the exercises of lesson 07."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# ---- layer_norm, add_and_norm ------------------------------------------------------------------------------


def norm_by_mean_and_square(x, gamma, beta):
    centered = x - x.mean(dim=-1, keepdim=True)
    return gamma * centered / torch.sqrt(centered.square().mean(dim=-1, keepdim=True) + 1e-5) + beta


def norm_by_var(x, gamma, beta):
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + 1e-5) * gamma + beta


def norm_by_loop(x, gamma, beta):
    rows = []
    for row in x.reshape(-1, x.shape[-1]):
        spread = (row.var(unbiased=False) + 1e-5) ** 0.5
        rows.append((row - row.mean()) / spread * gamma + beta)
    return torch.stack(rows).reshape(x.shape)


def norm_in_place(x, gamma, beta):
    out = x.clone()
    out -= x.mean(-1)[..., None]
    out = out / (x.var(-1, correction=0) + 1e-5).sqrt()[..., None]
    return torch.addcmul(beta, out, gamma)


def norm_by_a_matrix(x, gamma, beta):
    d = x.shape[-1]
    centered = x @ (torch.eye(d).to(x) - 1 / d)
    return (
        gamma * centered / (torch.einsum("...d,...d->...", centered, centered) / d + 1e-5).sqrt().unsqueeze(-1) + beta
    )


def sum_then_norm(x, sublayer_output, gamma, beta):
    return norm_by_mean_and_square(x + sublayer_output, gamma, beta)


def norm_of_a_stacked_sum(x, sublayer_output, gamma, beta):
    return norm_by_loop(torch.stack([x, sublayer_output]).sum(0), gamma, beta)


def add_and_norm_in_place(x, sublayer_output, gamma, beta):
    total = x.clone()
    total += sublayer_output
    return norm_in_place(total, gamma, beta)


def add_and_norm_at_once(x, sublayer_output, gamma, beta):
    mean = x.mean(-1, keepdim=True) + sublayer_output.mean(-1, keepdim=True)
    total = x + sublayer_output - mean
    return total / (total.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * gamma + beta


# ---- causal_mask -------------------------------------------------------------------------------------------


def mask_by_comparison(n):
    return torch.arange(n)[None, :] <= torch.arange(n)[:, None]


def mask_by_tril(n):
    return torch.ones(n, n, dtype=torch.bool).tril()


def mask_by_loop(n):
    mask = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        mask[i, : i + 1] = True
    return mask


def mask_of_lists(n):
    return torch.tensor([[True] * (i + 1) + [False] * (n - i - 1) for i in range(n)])


def mask_not_above(n):
    return ~torch.triu(torch.ones(n, n), diagonal=1).bool()


# ---- noam_lr -----------------------------------------------------------------------------------------------


def rate_with_an_if(step, d_model, warmup):
    if step == 0:
        return 0.0
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


def rate_in_two_parts(step, d_model, warmup):
    peak = 1 / math.sqrt(d_model * warmup)
    return peak * step / warmup if step <= warmup else peak * math.sqrt(warmup / step)


def rate_by_numpy(step, d_model, warmup):
    with np.errstate(divide="ignore"):
        falling = np.float64(step) ** -0.5  # infinite at step 0, and the other part is smaller
    return float(np.minimum(falling, step * np.float64(warmup) ** -1.5) / np.sqrt(d_model))


def rate_by_torch(step, d_model, warmup):
    falling, rising = torch.tensor(float(step)).pow(-0.5), torch.tensor(step * warmup**-1.5)
    return (torch.minimum(falling, rising) * d_model**-0.5).item()


# ---- label_smoothed_loss -----------------------------------------------------------------------------------


def wanted_shares(logits, target, eps, pad_id):
    wanted = torch.full_like(logits, eps / (logits.shape[-1] - 2))
    wanted = wanted.scatter(-1, target[..., None], 1 - eps)
    wanted[..., pad_id] = 0
    return wanted


def loss_by_shares(logits, target, eps, pad_id):
    real = target != pad_id
    losses = -(wanted_shares(logits, target, eps, pad_id) * logits.log_softmax(-1)).sum(-1)
    return losses[real].sum() / max(int(real.sum()), 1)


def loss_by_cross_entropy(logits, target, eps, pad_id):
    real = target != pad_id
    if not real.any():
        return logits.new_zeros(())
    return F.cross_entropy(logits[real], wanted_shares(logits, target, eps, pad_id)[real])


def loss_in_three_sums(logits, target, eps, pad_id):
    V, real = logits.shape[-1], target != pad_id
    logp = logits - logits.logsumexp(-1, keepdim=True)
    right, pad = logp.gather(-1, target.unsqueeze(-1)).squeeze(-1), logp[..., pad_id]
    losses = -(1 - eps) * right - eps / (V - 2) * (logp.sum(-1) - right - pad)
    return losses.masked_fill(~real, 0).sum() / real.sum().clamp(min=1)


def loss_by_loop(logits, target, eps, pad_id):
    V, found = logits.shape[-1], []
    for z, right in zip(logits.reshape(-1, V), target.flatten(), strict=True):
        if right == pad_id:
            continue
        logp = nn.LogSoftmax(dim=0)(z)
        others = [logp[c] for c in range(V) if c not in (int(right), pad_id)]
        found.append(-(1 - eps) * logp[right] - eps / (V - 2) * sum(others))
    return torch.stack(found).mean() if found else torch.zeros_like(logits.sum())


def loss_by_kl(logits, target, eps, pad_id):
    real = target != pad_id
    wanted = wanted_shares(logits, target, eps, pad_id)[real]
    entropy = -torch.xlogy(wanted, wanted).sum()
    divergence = F.kl_div(logits.log_softmax(-1)[real], wanted, reduction="sum")
    return (divergence + entropy) / max(1, len(wanted))


def loss_of_plain_loss_and_smoothing(logits, target, eps, pad_id):
    V = logits.shape[-1]
    logits, target = logits.reshape(-1, V), target.reshape(-1)
    plain = nn.CrossEntropyLoss(reduction="none")(logits, target)
    logp = torch.log_softmax(logits, dim=1)
    kept = torch.arange(V, device=logits.device) != pad_id
    smooth = -(logp[:, kept].sum(1) + plain) / (V - 2)
    real = (target != pad_id).to(logits.dtype)
    return (((1 - eps) * plain + eps * smooth) * real).sum() / real.sum().clamp(min=1)


ANSWERS = {
    "layer_norm": [norm_by_mean_and_square, norm_by_var, norm_by_loop, norm_in_place, norm_by_a_matrix],
    "causal_mask": [mask_by_comparison, mask_by_tril, mask_by_loop, mask_of_lists, mask_not_above],
    "add_and_norm": [sum_then_norm, norm_of_a_stacked_sum, add_and_norm_in_place, add_and_norm_at_once],
    "noam_lr": [rate_with_an_if, rate_in_two_parts, rate_by_numpy, rate_by_torch],
    "label_smoothed_loss": [
        loss_by_shares,
        loss_by_cross_entropy,
        loss_in_three_sums,
        loss_by_loop,
        loss_by_kl,
        loss_of_plain_loss_and_smoothing,
    ],
}
