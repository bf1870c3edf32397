"""Other right answers to the exercises of lesson 06."""

import torch
import torch.nn.functional as F
from torch import nn


def scores_in_one_line(s, H, W, U, v):
    return torch.tanh(W @ s + H @ U.T) @ v


def scores_by_stacking(s, H, W, U, v):
    return torch.stack([v @ torch.tanh(W @ s + U @ h_i) for h_i in H])


def scores_by_einsum(s, H, W, U, v):
    inner = torch.einsum("ad,d->a", W, s)[None, :] + torch.einsum("ad,nd->na", U, H)
    return torch.einsum("a,na->n", v, inner.tanh())


def scores_of_one_block_matrix(s, H, W, U, v):
    both = torch.cat([s.expand(len(H), -1), H], dim=1)
    return (v * torch.tanh(both @ torch.cat([W, U], dim=1).T)).sum(dim=-1)


def scores_by_linear(s, H, W, U, v):
    return F.linear(torch.tanh(F.linear(s, W) + F.linear(H, U)), v[None]).squeeze(-1)


def scores_in_place(s, H, W, U, v):
    out = H.new_zeros(len(H))
    for i in range(len(H)):
        out[i] = (v * torch.tanh(torch.mv(W, s) + torch.mv(U, H[i]))).sum()
    return out


def context_in_one_line(s, H, W, U, v):
    return torch.softmax(scores_in_one_line(s, H, W, U, v), dim=0) @ H


def context_naively(s, H, W, U, v):
    powers = torch.exp(scores_by_stacking(s, H, W, U, v))
    return (powers[:, None] * H).sum(0) / powers.sum()


def context_by_loop(s, H, W, U, v):
    weights = F.softmax(scores_by_einsum(s, H, W, U, v), dim=-1)
    c = torch.zeros_like(H[0])
    for weight, h in zip(weights, H, strict=True):
        c += weight * h
    return c


def context_by_columns(s, H, W, U, v):
    alpha = nn.Softmax(dim=0)(v @ torch.tanh((W @ s)[:, None] + U @ H.T))
    return H.T @ alpha


def pair_by_cat(target, bos, eos):
    return torch.cat([target.new_tensor([bos]), target]), torch.cat([target, target.new_tensor([eos])])


def pair_by_padding(target, bos, eos):
    return F.pad(target, (1, 0), value=bos), F.pad(target, (0, 1), value=eos)


def pair_by_lists(target, bos, eos):
    words = target.tolist()
    return [torch.tensor(x, device=target.device) for x in ([bos, *words], [*words, eos])]


def pair_of_slices(target, bos, eos):
    everything = torch.empty(len(target) + 2, dtype=torch.long, device=target.device)
    everything[0], everything[1:-1], everything[-1] = bos, target, eos
    return everything[:-1], everything[1:]


def weights_by_mask(scores, lengths):
    real = torch.arange(scores.shape[1], device=scores.device)[None] < lengths[:, None]
    return scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(-1) * real


def weights_by_row(scores, lengths):
    rows = []
    for row, length in zip(scores, lengths.tolist(), strict=True):
        rows.append(F.pad(F.softmax(row[:length], dim=0), (0, len(row) - length)))
    return torch.stack(rows)


def weights_by_powers(scores, lengths):
    real = torch.arange(scores.shape[1], device=scores.device) < lengths[:, None]
    hidden = torch.where(real, scores, torch.full_like(scores, -1e30))
    powers = torch.exp(hidden - hidden.amax(1, keepdim=True).detach()) * real
    return powers / powers.sum(1, keepdim=True).clamp(min=1e-30)


def decode_by_while(step, state, bos, eos, max_len):
    token, words = bos, []
    while len(words) < max_len:
        logits, state = step(token, state)
        token = torch.argmax(logits).item()
        if token == eos:
            return words
        words.append(token)
    return words


def decode_again_from_the_first(step, state, bos, eos, max_len):
    if max_len == 0:
        return []
    logits, state = step(bos, state)
    word = logits.softmax(0).argmax().item()
    return [] if word == eos else [word, *decode_again_from_the_first(step, state, word, eos, max_len - 1)]


def decode_with_a_full_list(step, state, bos, eos, max_len):
    written = [bos]
    for _ in range(max_len):
        logits, state = step(written[-1], state)
        written.append(logits.tolist().index(max(logits.tolist())))
        if written[-1] == eos:
            return written[1:-1]
    return written[1:]


ANSWERS = {
    "additive_scores": [
        scores_in_one_line,
        scores_by_stacking,
        scores_by_einsum,
        scores_of_one_block_matrix,
        scores_by_linear,
        scores_in_place,
    ],
    "context_vector": [context_in_one_line, context_naively, context_by_loop, context_by_columns],
    "teacher_forcing_pair": [pair_by_cat, pair_by_padding, pair_by_lists, pair_of_slices],
    "padded_weights": [weights_by_mask, weights_by_row, weights_by_powers],
    "decode": [decode_by_while, decode_again_from_the_first, decode_with_a_full_list],
}
