"""Lesson 09: BERT and GPT."""

import math

import torch
from torch import Tensor

from utils.checks.engine import difference, exercise, say, show


@exercise(stars=1, differentiable=False)
def pair_input(a, b, cls, sep):
    """[cls] a [sep] b [sep] and its segments, 0 up to and with the first sep, then 1: two lists of numbers."""
    ids, segments = [cls], [0]
    for segment, sentence in enumerate((a, b)):
        for i in [*sentence, sep]:
            ids.append(i)
            segments.append(segment)
    return ids, segments


@pair_input.cases
def _(draw):
    cls, sep = draw.integer(1, 3), draw.integer(4, 6)
    words = [draw.integers(7, 99, n) for n in (4, 6, 7, 2)]
    return [
        ([7, 8], [9], cls, sep),
        ([9], [7, 8], cls, sep),
        ([], [7], cls, sep),
        (words[0], [], cls, sep),
        (words[1], words[2], cls, sep),
        (words[2], words[3], cls, sep),
    ]


@pair_input.answer
def _(a, b, cls, sep):
    first = [cls] + a + [sep]
    second = b + [sep]
    return first + second, [0] * len(first) + [1] * len(second)


pair_input.patches("""
no mark at the end: b + [sep] -> b
    A sep closes the second sentence, too: [cls] a [sep] b [sep].
no mark between the sentences: [cls] + a + [sep] -> [cls] + a
    Without the sep between them nothing but the segments tells where one sentence ends and the other begins.
no cls in front: [cls] + a -> a
    The first place belongs to cls: what is read there is the answer for the whole text.
a cls in front of both: b + [sep] -> [cls] + b + [sep]
    One cls stands in front of all: it answers for both sentences together.
cls and sep exchanged: [cls] + a + [sep] -> [sep] + a + [cls] && b + [sep] -> b + [cls]
    cls opens the text, sep closes each sentence.
the sentences exchanged: [cls] + a + [sep] -> [cls] + b + [sep] && b + [sep] -> a + [sep]
    `a` comes first, then `b`.
the first sep counted to the second sentence:
  | [0] * len(first) + [1] * len(second) -> [0] * (len(first) - 1) + [1] * (len(second) + 1)
    The sep closes the first sentence, so it has segment 0 like what stands before it.
segments from 1: [0] * len(first) + [1] * len(second) -> [1] * len(first) + [2] * len(second)
    There are two segment embeddings, number 0 and number 1.
segments exchanged: [0] * len(first) + [1] * len(second) -> [1] * len(first) + [0] * len(second)
    The first sentence has segment 0, the second has 1.
segments without the marks: [0] * len(first) + [1] * len(second) -> [0] * len(a) + [1] * len(b)
    Each token has a segment, cls and both seps too: the two lists are equally long.
one segment for all: [0] * len(first) + [1] * len(second) -> [0] * len(first + second)
    The second sentence, its sep included, has segment 1.
the last sep without a segment: [1] * len(second) -> [1] * len(b)
    Each token has a segment, the last sep, too: the two lists are equally long.
the last sep counted to the first sentence: [1] * len(second) -> [1] * len(b) + [0]
  | [0] * len(first) + [1] * len(second) -> [0] + [0] * len(a) + [0] + [1] * len(b) + [0]
    The sep that closes the second sentence has segment 1, like what stands before it.
the two lists exchanged:
  | first + second, [0] * len(first) + [1] * len(second) -> [0] * len(first) + [1] * len(second), first + second
    The ids come first, then the segments.
the marks of the example: [cls] + a + [sep] -> [1] + a + [2] && b + [sep] -> b + [2]
    cls and sep are 1 and 2 in the example alone: use the arguments.
the ids alone: return first + second, [0] * len(first) + [1] * len(second) -> return first + second
    Two lists are wanted: the ids, and the segments.
a list for each sentence: return first + second -> return [first, second]
    Both sentences stand in one text: one list of ids.
""")


@exercise(stars=2, forbidden=frozenset({"cross_entropy(ignore_index)", "nll_loss(ignore_index)"}))
def masked_lm_loss(logits, labels):
    """Mean cross-entropy of the tokens that were asked for: logits (B, T, V), labels (B, T), -1: not asked -> ()."""
    V, losses = logits.shape[-1], []
    for row, right in zip(logits.reshape(-1, V), labels.reshape(-1).tolist(), strict=True):
        if right != -1:
            largest = row.detach().max()
            losses.append(largest + torch.log(sum(torch.exp(z - largest) for z in row)) - row[right])
    return sum(losses) / len(losses) if losses else 0 * logits.sum()


@masked_lm_loss.cases
def _(draw):
    some = torch.tensor([[1, -1, 0], [-1, -1, 3]])
    huge = torch.tensor([[[0.0, 200, 100, 3], [150.0, 0, 1, 2]]])
    many = torch.tensor([[2, -1, 0, 1, 4], [-1, -1, 3, -1, -1], [0, 0, -1, 2, -1]])
    return [
        (draw.small(1, 2, 3), torch.tensor([[draw.integer(1, 2), -1]])),
        (draw.small(2, 3, 4), some),
        (draw.small(1, 2, 3), torch.tensor([[-1, -1]])),
        (huge, torch.tensor([[2, -1]])),
        (draw.normal(3, 5, 6), many[:, torch.randperm(5, generator=draw.generator)]),
        (draw.normal(2, 4, 5), torch.tensor([[4, 0, -1, 0], [-1, 1, 2, 3]])),
    ]


@masked_lm_loss.answer
def _(logits, labels):
    asked = labels != -1
    log_p = logits.log_softmax(-1)
    right = labels.clamp(min=0)[..., None]
    losses = -log_p.gather(-1, right)[..., 0] * asked
    return losses.sum() / asked.sum().clamp(min=1)


masked_lm_loss.patches("""
0 / 0 where nothing is asked: .clamp(min=1) ->
    With no label left, the mean divides by zero. The task asks for 0 there.
places that were not asked count, too: * asked -> &&? losses.sum() / asked.sum().clamp(min=1) -> losses.mean()
  &&? labels.clamp(min=0) -> (labels % logits.shape[-1])
    -1 is no token, and an index of -1 means the last one. Leave these places out: of the sum, and of the count.
divided by all places: asked.sum().clamp(min=1) -> asked.numel()
    The mean goes over the tokens that were asked for: divide by their number.
the sum, not the mean: / asked.sum().clamp(min=1) ->
    Divide by the number of tokens that were asked for.
a mean of means: losses.sum() / asked.sum().clamp(min=1) -> (losses.sum(-1) / asked.sum(-1).clamp(min=1)).mean()
    Each text was averaged by itself, so a token in a text with few questions counts more. Take one mean over all.
token 0 taken for "not asked": labels != -1 -> labels > 0
    0 is a token like any other; only -1 means that nothing was asked.
only what was not asked: labels != -1 -> labels == -1
    It is the other way round: -1 marks the places that have no label.
divided by the number of texts: asked.sum().clamp(min=1) -> len(labels)
    The mean goes over the tokens that were asked for, wherever they stand.
the log of a softmax: log_softmax(-1) -> softmax(-1).log()
    A small probability is rounded to 0, and the logarithm of 0 is minus infinity. log_softmax goes another way.
a small number inside the logarithm: log_softmax(-1) -> softmax(-1).add(1e-6).log() || softmax(-1).add(1e-8).log()
  || softmax(-1).add(1e-9).log() || softmax(-1).add(1e-12).log()
    It keeps the logarithm finite, but not right: take log_softmax, which needs no such help.
a softmax by hand that overflows: logits.log_softmax(-1) -> (logits.exp() / logits.exp().sum(-1, keepdim=True)).log()
    exp of a logit in the hundreds is infinite. log_softmax takes the largest one away first.
in bits: return losses.sum() / -> return losses.sum() / math.log(2) /
    The logarithm is the natural one: ln.
a perplexity: return losses.sum() / asked.sum().clamp(min=1) -> return (losses.sum() / asked.sum().clamp(min=1)).exp()
    The loss is the mean of -ln p itself, without exp.
a softmax before log_softmax: logits.log_softmax(-1) -> logits.softmax(-1).log_softmax(-1)
    cross_entropy and log_softmax take logits, and do the softmax themselves: once is enough.
each loss counted at every place of a row: -log_p.gather(-1, right)[..., 0] * asked -> -log_p.gather(-1, right) * asked
    gather leaves an axis of length 1, and (B, T, 1) times (B, T) is no (B, T). Take it away: [..., 0].
another axis than the last: log_softmax(-1) -> log_softmax(0) || log_softmax(1)
    The classes stand on the last axis of (B, T, V).
the sign: losses = -log_p -> losses = log_p
    A cross-entropy is minus the log-probability: it is never negative.
logits taken for log-probabilities: logits.log_softmax(-1) -> logits
    Take log_softmax of the logits first.
probabilities without a logarithm: log_softmax -> softmax
    The cross-entropy is minus the logarithm of the probability.
a loss for each place: return losses.sum() / asked.sum().clamp(min=1) -> return losses
    One number is wanted: the mean of all that were asked.
""")


@exercise(stars=2)
def top_k_filter(logits, k):
    """All but the k largest of each row are minus infinity: logits (..., V) -> (..., V); k >= V keeps all."""
    if k < 1:
        raise ValueError(say("k = {k} keeps nothing: it must be at least 1", k=k))
    V, rows = logits.shape[-1], []
    for row in logits.reshape(-1, V):
        best = sorted(range(V), key=lambda i: -row[i].item())[:k]
        rows.append(torch.stack([row[i] if i in best else row[i].detach() - math.inf for i in range(V)]))
    return torch.stack(rows).reshape(logits.shape)


@top_k_filter.cases
def _(draw):
    tied = torch.tensor([[1.0, 3, 3, 3], [2, 0, 2, 1]])[:, torch.randperm(4, generator=draw.generator)]
    return [
        (torch.tensor([1.0, 4, 2, 3])[torch.randperm(4, generator=draw.generator)], 2),
        (torch.tensor([[5.0, 1, 2], [-3, -1, -2]]), 1),
        (tied, 2),
        (draw.normal(3), 5),
        (draw.normal(2, 3), 0),
        (draw.normal(2, 3, 6), 4),
        # No two alike: where equal ones stand at the border, it is free which of them hands its gradient on.
        (torch.stack([torch.randperm(5, generator=draw.generator) for _ in range(3)]) / 2 - 1, 3),
    ]


@top_k_filter.judge
def _(got, logits, k):
    wanted = top_k_filter.oracle(logits, k)
    if not isinstance(got, Tensor) or got.shape != wanted.shape or got.dtype != wanted.dtype:
        return difference(wanted, got)
    n = min(k, logits.shape[-1])
    for row, all_of_it in zip(got.reshape(-1, got.shape[-1]), logits.reshape(-1, got.shape[-1]), strict=True):
        kept = row > -math.inf
        if not torch.equal(kept & (row == all_of_it), kept) or row.isnan().any():
            return difference(wanted, got)
        if kept.sum() != n:
            numbers = {"row": show(all_of_it), "n": int(kept.sum()), "k": n}
            return say("of the row {row} you keep {n} logits, and {k} are wanted.", **numbers)
        if n < len(row) and all_of_it[kept].min() < all_of_it[~kept].max():
            return difference(wanted, got)
    return ""


@top_k_filter.canonical
def _(got):
    return got.sort(-1).values  # which of equal ones are kept is free


@top_k_filter.answer
def _(logits, k):
    if k < 1:
        raise ValueError("k must be at least 1")
    k = min(k, logits.shape[-1])
    kept = logits.topk(k, dim=-1).indices
    none = torch.full_like(logits, -math.inf)
    chosen = logits.gather(-1, kept)
    return none.scatter(-1, kept, chosen)


top_k_filter.patches("""
ties at the border are all kept:
  | none.scatter(-1, kept, chosen) -> logits.where(logits >= chosen.amin(-1, keepdim=True), none)
    Compared with the k-th largest, its equals stay, too, and more than k remain. topk(k).indices names k of them.
ties at the border are all dropped: chosen = logits.gather(-1, kept) -> border = logits.topk(k).values[..., -1:]
  && none.scatter(-1, kept, chosen) -> logits.where((logits > border) | (k == logits.shape[-1]), none)
  || logits.where(logits > border, none)
    Compared with the k-th largest by >, it goes itself. topk(k).indices names the k that stay.
zeros instead of minus infinity: torch.full_like(logits, -math.inf) -> torch.zeros_like(logits)
    The softmax comes later, and exp(0) is 1: a logit of 0 is still a chance. Only minus infinity has none.
a large negative number: torch.full_like(logits, -math.inf) -> torch.full_like(logits, -1e9)
  || torch.full_like(logits, -1e4) || torch.full_like(logits, -1e10) || torch.full_like(logits, -1e20)
    Minus infinity is asked for, -math.inf: no temperature brings it back.
the smallest are kept: logits.topk(k, dim=-1) -> logits.topk(k, dim=-1, largest=False)
    The largest logits are the likeliest tokens: these stay.
one less than k: logits.topk(k, dim=-1) -> logits.topk(max(k - 1, 1), dim=-1)
    k of them stay: .topk(k), or index k - 1 in a sorted row, counts from 0.
one more than k: k = min(k, -> k = min(k + 1,
    k of them stay: the border is the k-th largest, with index k - 1 in a sorted row.
the k largest of all rows together: chosen = logits.gather(-1, kept) -> border = logits.flatten().topk(k).values[-1]
  && none.scatter(-1, kept, chosen) -> logits.where(logits >= border, none)
    Each row is a choice of its own: topk along the last axis.
the k largest along another axis: k = min(k, logits.shape[-1]) -> k = min(k, logits.shape[0])
  && kept = logits.topk(k, dim=-1).indices -> kept = logits.topk(k, dim=0).indices
  && logits.gather(-1, kept) -> logits.gather(0, kept)
  && none.scatter(-1, kept, chosen) -> none.scatter(0, kept, chosen)
    A row is the last axis: topk, gather and scatter along -1.
the logits of the first places: none.scatter(-1, kept, chosen) -> none.scatter(-1, kept, logits)
    scatter takes its values in order, the first one for the first place in `kept`: give it those of topk.
a k below 1 is not refused: raise ValueError("k must be at least 1") -> pass || return logits || k = 1
    With k < 1 nothing is left to choose from: raise a ValueError.
the logits without their places: none.scatter(-1, kept, chosen) -> chosen
    All V places stay, for a place is a token; the others become minus infinity.
the tokens, not their logits: none.scatter(-1, kept, chosen) -> kept
    Logits are wanted, as many as before: the draw comes later.
already a softmax: none.scatter(-1, kept, chosen) -> none.scatter(-1, kept, chosen).softmax(-1)
    A filter returns logits, so that a temperature or another filter can follow.
a mask, no logits: kept, chosen) -> kept, torch.ones_like(chosen)) || kept, torch.zeros_like(chosen))
    What stays keeps its logit: otherwise all k are equally likely.
""")


@exercise(stars=1, differentiable=False)
def perplexity(logp):
    """exp of minus the mean of the log-probabilities (nats) that the right tokens got: (n,) -> float."""
    if not len(logp):
        raise ValueError(say("no token, no perplexity"))
    return math.exp(-sum(logp.tolist()) / len(logp))


@perplexity.cases
def _(draw):
    return [
        (torch.tensor([-1.0, -3.0]),),
        (torch.tensor([0.0, 0.0, 0.0]),),
        (torch.empty(0),),
        (-draw.normal(5).abs(),),
        (-draw.normal(300).abs() - 2,),
        (-draw.normal(draw.integer(3, 9)).abs(),),
    ]


@perplexity.answer
def _(logp):
    if len(logp) == 0:
        raise ValueError("no tokens")
    mean = logp.mean()
    return math.exp(-mean)


perplexity.patches("""
an empty text is not refused: raise ValueError("no tokens") -> pass || return 1.0 || return math.inf || return 0.0
    The mean of nothing is no number: raise a ValueError.
the minus is missing: math.exp(-mean) -> math.exp(mean)
    That is the mean probability in the geometric sense, at most 1. The perplexity is its inverse, at least 1.
the loss itself: math.exp(-mean) -> float(-mean)
    That is the cross-entropy in nats. The perplexity is exp of it: as many equally likely tokens leave one as unsure.
a power of 2: math.exp(-mean) -> 2.0 ** float(-mean)
    2 belongs to bits. The log-probabilities here are natural ones, nats: exp.
in bits: math.exp(-mean) -> float(-mean) / math.log(2)
    That is the cross-entropy in bits. The perplexity is exp of minus the mean.
the sum, not the mean: logp.mean() -> logp.sum() / max(1, min(1, len(logp)))
    A longer text would always have a larger one. Divide by the number of tokens, before exp.
divided after exp: math.exp(-mean) -> math.exp(-logp.sum()) / max(1, len(logp))
    Divide by the number of tokens first, then exp.
divided by one more or one less: logp.mean() -> logp.sum() / (len(logp) + 1) || logp.sum() / max(1, len(logp) - 1)
    n tokens, n logarithms: divide by n.
the median: logp.mean() -> logp.median()
    The mean is wanted: every token counts.
the mean of the inverse probabilities: math.exp(-mean) -> (-logp).exp().mean().item()
    Take the mean of the logarithms first, then exp: one token with a tiny probability would else decide alone.
the inverse of the mean probability: math.exp(-mean) -> 1 / logp.exp().mean().item()
    Take the mean of the logarithms first, then exp: 1 over the mean of the probabilities is another number.
a product that becomes 0: math.exp(-mean) -> (logp.exp().prod() ** (-1 / len(logp))).item()
    The product of many probabilities is too small for a float. Add logarithms instead.
probabilities expected: mean = logp.mean() -> mean = logp.log().mean()
    The logarithms are taken already: logp are log-probabilities.
""")
