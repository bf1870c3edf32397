"""Other right answers to the exercises of lesson 07."""

import math

import numpy as np
import torch
import torch.nn.functional as F

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


# ---- cross_attention ---------------------------------------------------------------------------------------


def cross_by_zeros(Y, memory, Wq, Wk, Wv, real):
    scores = (Y @ Wq) @ (memory @ Wk).T / math.sqrt(Wq.shape[1])
    if not real.any():
        return torch.zeros(len(Y), Wv.shape[1]).to(Y)
    return scores.masked_fill(~real, -math.inf).softmax(-1) @ (memory @ Wv)


def cross_of_what_is_real(Y, memory, Wq, Wk, Wv, real):
    heard = memory[real]  # no padding, no mask; of nobody a product is zeros
    return torch.softmax((Y @ Wq) @ (heard @ Wk).mT * Wq.shape[-1] ** -0.5, dim=-1) @ (heard @ Wv)


def cross_by_loop(Y, memory, Wq, Wk, Wv, real):
    rows = []
    for y in Y:
        q, total = y @ Wq, 0 * (y @ Wv)
        scores = {i: q @ (memory[i] @ Wk) / len(q) ** 0.5 for i in range(len(memory)) if real[i]}
        largest = max((s.detach() for s in scores.values()), default=0)
        powers = {i: torch.exp(s - largest) for i, s in scores.items()}
        for i, power in powers.items():
            total = total + power / sum(powers.values()) * (memory[i] @ Wv)
        rows.append(total)
    return torch.stack(rows)


def cross_by_einsum(Y, memory, Wq, Wk, Wv, real):
    scores = torch.einsum("td,sd->ts", Y @ Wq, memory @ Wk) / np.sqrt(Wk.size(1))
    scores = torch.where(real | ~real.any(), torch.where(real, scores, 0), -torch.inf)
    return torch.einsum("ts,sd->td", F.softmax(scores, dim=1) * real, memory @ Wv)


# ---- decoder_layer -----------------------------------------------------------------------------------------


def layer_in_three_lines(y, memory, norms, self_attend, cross_attend, feed_forward):
    y = y + self_attend(norms[0](y))
    y = y + cross_attend(norms[1](y), memory)
    return y + feed_forward(norms[2](y))


def layer_by_loop(y, memory, norms, self_attend, cross_attend, feed_forward):
    for norm, sublayer in zip(norms, [self_attend, lambda z: cross_attend(z, memory), feed_forward], strict=True):
        y = torch.add(y, sublayer(norm(y)))
    return y


def layer_of_remarks(y, memory, norms, self_attend, cross_attend, feed_forward):
    def remark(z, norm, sublayer, *more):
        return z + sublayer(norm(z), *more)

    asked = remark(y, norms[0], self_attend)
    heard = remark(asked, norms[1], cross_attend, memory)
    return remark(heard, norms[2], feed_forward)


ANSWERS = {
    "layer_norm": [norm_by_mean_and_square, norm_by_var, norm_by_loop, norm_in_place, norm_by_a_matrix],
    "causal_mask": [mask_by_comparison, mask_by_tril, mask_by_loop, mask_of_lists, mask_not_above],
    "add_and_norm": [sum_then_norm, norm_of_a_stacked_sum, add_and_norm_in_place, add_and_norm_at_once],
    "noam_lr": [rate_with_an_if, rate_in_two_parts, rate_by_numpy, rate_by_torch],
    "cross_attention": [cross_by_zeros, cross_of_what_is_real, cross_by_loop, cross_by_einsum],
    "decoder_layer": [layer_in_three_lines, layer_by_loop, layer_of_remarks],
}
