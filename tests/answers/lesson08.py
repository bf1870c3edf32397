"""Other right answers to the exercises of lesson 08."""

import heapq
import itertools
import math
from collections import Counter

import torch
import torch.nn.functional as F
from torch import nn

# ---- token_batches -----------------------------------------------------------------------------------------


def batches_from_the_longest(lengths, max_tokens):
    if max(lengths, default=0) > max_tokens:
        raise ValueError(f"a sentence of {max(lengths)} tokens is longer than a batch of {max_tokens}")
    order, batches = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True), []
    while order:
        n = max_tokens // lengths[order[0]]
        batches.append(order[:n])
        order = order[n:]
    return batches


def batches_with_a_last_one(lengths, max_tokens):
    batches, batch = [], []
    for length, i in sorted((length, i) for i, length in enumerate(lengths)):
        if length > max_tokens:
            raise ValueError("too long: " + str(length))
        if batch and (len(batch) + 1) * length > max_tokens:
            batches.append(batch)
            batch = []
        batch = batch + [i]
    if batch:
        batches.append(batch)
    return batches[::-1]


def batches_by_argsort(lengths, max_tokens):
    order, batches, start = torch.tensor(lengths).argsort().tolist(), [], 0
    for end in range(1, len(order) + 1):
        if lengths[order[end - 1]] > max_tokens:
            raise ValueError("one sentence alone is over the budget")
        if end == len(order) or (end + 1 - start) * lengths[order[end]] > max_tokens:
            batches.append(tuple(order[start:end]))
            start = end
    return tuple(batches)


def batches_by_search(lengths, max_tokens):
    """The fewest, by dynamic programming over where the last batch begins."""
    if any(length > max_tokens for length in lengths):
        raise ValueError("too long")
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    best = [[]]
    for end in range(1, len(order) + 1):
        starts = [s for s in range(end) if (end - s) * lengths[order[end - 1]] <= max_tokens]
        best.append(min(([*best[s], order[s:end]] for s in starts), key=len))
    return best[-1]


# ---- cached_step -------------------------------------------------------------------------------------------


def step_by_stack(x, Wq, Wk, Wv, cache):
    keys = list(cache[0]) if cache else []
    values = list(cache[1]) if cache else []
    keys.append(x @ Wk)
    values.append(x @ Wv)
    K, V = torch.stack(keys), torch.stack(values)
    scores = (x @ Wq) @ K.T / K.shape[1] ** 0.5
    return F.softmax(scores, dim=-1) @ V, (K, V)


def step_by_row(x, Wq, Wk, Wv, cache):
    row = x.unsqueeze(0)
    k, v = row @ Wk, row @ Wv
    if cache is not None:
        k, v = torch.vstack((cache[0], k)), torch.vstack((cache[1], v))
    scores = (row @ Wq) @ k.transpose(0, 1) / math.sqrt(k.size(-1))
    powers = (scores - scores.max()).exp()
    return (powers / powers.sum() @ v).squeeze(0), [k, v]


def step_by_einsum(x, Wq, Wk, Wv, cache):
    q, k, v = (torch.einsum("i,ij->j", x, W) for W in (Wq, Wk, Wv))
    old_k, old_v = cache or (x.new_zeros(0, Wk.shape[1]), x.new_zeros(0, Wv.shape[1]))
    k, v = torch.cat((old_k, k.reshape(1, -1))), torch.cat((old_v, v.reshape(1, -1)))
    shares = torch.einsum("d,td->t", q / q.numel() ** 0.5, k).softmax(dim=0)
    return torch.einsum("t,td->d", shares, v), (k, v)


# ---- greedy ------------------------------------------------------------------------------------------------


def greedy_by_argmax(step_fn, bos, eos, max_len):
    prefix = torch.tensor([bos])
    while len(prefix) <= max_len:
        token = step_fn(prefix).argmax()
        if token == eos:
            break
        prefix = torch.cat([prefix, token[None]])
    return prefix[1:].tolist()


def greedy_by_recursion(step_fn, bos, eos, max_len):
    def rest(prefix, n):
        if n == 0:
            return []
        logp = step_fn(torch.tensor(prefix)).tolist()
        token = logp.index(max(logp))
        return [] if token == eos else [token, *rest([*prefix, token], n - 1)]

    return rest([bos], max_len)


def greedy_that_cuts_at_eos(step_fn, bos, eos, max_len):
    """Goes on to the end, and looks for eos afterwards."""
    ids = [bos]
    for _ in range(max_len):
        ids.append(int(torch.exp(step_fn(torch.tensor(ids, dtype=torch.long))).max(dim=0).indices))
    ids = ids[1:]
    return ids[: ids.index(eos)] if eos in ids else ids


def greedy_that_sorts(step_fn, bos, eos, max_len):
    ids = []
    for _ in range(max_len):
        probable = sorted((-logp, i) for i, logp in enumerate(step_fn(torch.tensor([bos, *ids])).tolist()))
        if probable[0][1] == eos:
            return ids
        ids.append(probable[0][1])
    return ids


# ---- beam --------------------------------------------------------------------------------------------------


def beam_like_the_lessons(step_fn, bos, eos, max_len, beam_size):
    beam = [((bos,), 0.0)]
    for _ in range(max_len):
        grown = [(prefix, total) for prefix, total in beam if prefix[-1] == eos]
        for prefix, total in beam:
            if prefix[-1] != eos:
                logp = step_fn(torch.tensor(prefix)).tolist()
                grown += [((*prefix, token), total + logp[token]) for token in range(len(logp))]
        beam = sorted(grown, key=lambda h: -h[1])[:beam_size]
    finished = [h for h in beam if h[0][-1] == eos]
    prefix, _ = max(finished or beam, key=lambda h: h[1])
    return [i for i in prefix if i not in (bos, eos)]


def beam_of_the_best_few(step_fn, bos, eos, max_len, beam_size):
    """Only the best few continuations of each are candidates; it stops early when a finished one leads."""
    beam = [(0.0, [], False)]
    for _ in range(max_len):
        if beam[0][2]:
            break
        candidates = [h for h in beam if h[2]]
        for total, ids, finished in beam:
            if finished:
                continue
            logp = step_fn(torch.tensor([bos] + ids))
            best = logp.topk(min(beam_size, len(logp)))
            for value, i in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                candidates.append((total + value, ids if i == eos else ids + [i], i == eos))
        beam = heapq.nlargest(beam_size, candidates, key=lambda h: h[0])
    return max(beam, key=lambda h: (h[2], h[0]))[1]


def beam_on_tensors(step_fn, bos, eos, max_len, beam_size):
    """As utils.decoding does it: K rows from the start, finished ones may only say eos again, at no cost."""
    K = beam_size
    history = torch.full((K, 1), bos)
    total = torch.tensor([0.0] + [-torch.inf] * (K - 1))
    done = torch.zeros(K, dtype=torch.bool)
    for _ in range(max_len):
        logp = torch.stack([step_fn(row) for row in history])
        logp[done] = -torch.inf
        logp[done, eos] = 0.0
        total, chosen = (total[:, None] + logp).flatten().topk(K)
        parent, token = chosen // logp.shape[1], chosen % logp.shape[1]
        history = torch.cat([history[parent], token[:, None]], dim=1)
        done = done[parent] | (token == eos)
        if done.all():
            break
    if done.any():
        total = total.masked_fill(~done, -torch.inf)
    ids = history[total.argmax()].tolist()[1:]
    return list(itertools.takewhile(lambda i: i != eos, ids))


def beam_with_a_dictionary(step_fn, bos, eos, max_len, beam_size):
    """Totals by prefix, in double precision."""
    totals = {(bos,): 0.0}
    for _ in range(max_len):
        grown = {}
        for prefix, total in totals.items():
            if prefix[-1] == eos:
                grown[prefix] = total
            else:
                for i, logp in enumerate(step_fn(torch.tensor(prefix)).double()):
                    if logp > -torch.inf:
                        grown[(*prefix, i)] = total + logp.item()
        totals = {prefix: grown[prefix] for prefix in sorted(grown, key=grown.get, reverse=True)[:beam_size]}
    ended = [prefix for prefix in totals if prefix[-1] == eos]
    return list((ended[0][:-1] if ended else next(iter(totals)))[1:])


# ---- ngram_precision ---------------------------------------------------------------------------------------


def precision_by_counters(candidate, reference, n):
    ours, theirs = (Counter(zip(*(words[i:] for i in range(n)), strict=False)) for words in (candidate, reference))
    return (ours & theirs).total() / max(ours.total(), 1)


def precision_by_minimum(candidate, reference, n):
    if len(candidate) < n:
        return 0.0
    grams = lambda words: [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]  # noqa: E731
    ours, theirs = grams(candidate), grams(reference)
    return sum(min(ours.count(g), theirs.count(g)) for g in set(ours)) / len(ours)


def precision_by_striking_out(candidate, reference, n):
    free = [True] * (len(reference) - n + 1)
    right, total = 0, 0
    for i in range(len(candidate) - n + 1):
        total += 1
        for j in range(len(free)):
            if free[j] and candidate[i : i + n] == reference[j : j + n]:
                free[j] = False
                right += 1
                break
    return right / total if total > 0 else 0


def precision_by_dictionary(candidate, reference, n):
    left = {}
    for i in range(len(reference) + 1 - n):
        left[tuple(reference[i : i + n])] = left.get(tuple(reference[i : i + n]), 0) + 1
    hits = []
    for i in range(len(candidate) + 1 - n):
        gram = tuple(candidate[i : i + n])
        hits.append(left.get(gram, 0) > 0)
        left[gram] = left.get(gram, 0) - 1
    return sum(hits) / len(hits) if hits else 0.0


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
    "token_batches": [batches_from_the_longest, batches_with_a_last_one, batches_by_argsort, batches_by_search],
    "label_smoothed_loss": [
        loss_by_shares,
        loss_by_cross_entropy,
        loss_in_three_sums,
        loss_by_loop,
        loss_by_kl,
        loss_of_plain_loss_and_smoothing,
    ],
    "cached_step": [step_by_stack, step_by_row, step_by_einsum],
    "greedy": [greedy_by_argmax, greedy_by_recursion, greedy_that_cuts_at_eos, greedy_that_sorts],
    "beam": [beam_like_the_lessons, beam_of_the_best_few, beam_on_tensors, beam_with_a_dictionary],
    "ngram_precision": [
        precision_by_counters,
        precision_by_minimum,
        precision_by_striking_out,
        precision_by_dictionary,
    ],
}
