"""What the capstone's parts compute where the task leaves no choice: oracles, cases, and the usual mistakes."""

import math
from copy import copy

import torch
from torch import Tensor, nn

from utils.checks.engine import COURSE, SDPA, exercise, say, show
from utils.checks.lessons import lesson03, lesson04, lesson05, lesson07, lesson08

FORBIDDEN = COURSE | SDPA | {"layer_norm", "native_layer_norm", "_transformer_encoder_layer_fwd"}


@exercise(stars=2, forbidden=SDPA)
def attention(q, k, v, mask=None):
    """softmax(q k^T / sqrt(d)) v: q (..., T, d), k (..., S, d), v (..., S, d_v) -> (..., T, d_v)."""
    mask = (q.new_ones(1).bool() if mask is None else mask).expand(*q.shape[:-1], k.shape[-2])
    if q.dim() == 2:
        return lesson03.masked_attention.oracle(q, k, v, mask)
    return torch.stack([attention.oracle(*one) for one in zip(q, k, v, mask, strict=True)])


@attention.cases
def _(draw):
    q, k, v = draw.small(2, 2), draw.small(3, 2), draw.small(3, 3)
    q[0], k[0], k[1] = torch.tensor([1.0, 2]), torch.tensor([2.0, 0]), torch.tensor([-1.0, 1])
    v[0], v[1] = torch.tensor([1.0, 0, 2]), torch.tensor([0.0, 3, -1])
    mask = torch.tensor([[True, True, False], [False, True, True]])
    two_heads = [draw.small(1, 2, 2, 1) + shift for shift in (0.5, 0.0, 0.0)]
    two_heads[1][0, :, 0], two_heads[1][0, :, 1] = 1.0, -1.0
    two_heads[2][0, :, :, 0] = torch.tensor([[1.0, 0], [3, -1]])
    padding = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()[:, None, None, :]
    heads = [draw.normal(2, 3, n, d) for n, d in ((4, 5), (4, 5), (4, 2))]
    return [
        (q, k, v, None),
        (q, k, v, mask),
        (q, k, v, mask[1:]),  # one row for all queries
        (*two_heads, None),
        (*heads, torch.ones(4, 4).tril().bool()),
        (draw.normal(2, 3, 5, 5), *heads[1:], padding),
    ]


@attention.answer
def _(q, k, v, mask=None):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


attention.patches(r"""
no scaling: / math.sqrt(q.shape[-1]) ->
divided by d: math.sqrt(q.shape[-1]) -> q.shape[-1]
scaled by the length of the values: q.shape -> v.shape
divided by the root of n: q.shape[-1] -> q.shape[-2] || k.shape[-2] || len(q)
    The d under the root is the length of one query, q.shape[-1]. How many words or sentences there are has no part.
softmax over the queries: softmax(-1) -> softmax(-2)
    The shares of one query, over all keys, add up to one: softmax(dim=-1).
the shares come first: @ v ->
    The output comes first, shares @ v; the shares may follow it, as a second result.
softmax over a numbered axis: softmax(-1) -> softmax(1)
    dim=1 is the last axis of a matrix, and the heads of a batch: count from the end, softmax(dim=-1).
softmax over the first axis: softmax(-1) -> softmax(0)
    The first axis are queries, or sentences: softmax(dim=-1).
the mask is inverted: ~mask -> mask
  | ~mask, -math.inf -> mask, -1e9
the mask is not used: if mask is not None -> if False
the mask comes after the softmax: if mask is not None -> if False
  && softmax(-1) -> softmax(-1) * (1 if mask is None else mask)
hidden scores are 0: -math.inf -> 0.0
keys where values belong: @ v -> @ k
""")


@attention.answer  # one query after another, as in lesson 02
def _(q, k, v, mask=None):
    mask = torch.ones(1, 1, dtype=torch.bool) if mask is None else mask
    mask, outputs = mask.expand(*mask.shape[:-2], q.shape[-2], k.shape[-2]), []
    for i in range(q.shape[-2]):
        scores = (q[..., i : i + 1, :] * k).sum(-1) / math.sqrt(q.shape[-1])
        shares = scores.masked_fill(~mask[..., i, :], -math.inf).softmax(-1)
        outputs.append((shares[..., None] * v).sum(-2))
    return torch.stack(outputs, dim=-2)


attention.patches("""
outputs stacked in front: dim=-2 -> dim=0
    Sentences and heads come first, then the queries: torch.stack(outputs, dim=-2).
outputs stacked as columns: dim=-2 -> dim=-1
    Each output is a row: torch.stack(outputs, dim=-2).
softmax over the first axis: softmax(-1) -> softmax(0)
the shares lie across the values: shares[..., None] -> shares
    The shares belong to the rows of v: shares[..., None] * v, or shares.unsqueeze(-1) * v.
""")


@exercise(stars=2)
def identity_heads(x, memory, mask):
    """MultiHeadAttention(4, 2) whose matrices are all the identity: head h is attention on its two columns."""
    q, k = (lesson04.split_heads.oracle(z, 2) for z in (x, memory))
    return lesson04.merge_heads.oracle(attention.oracle(q, k, k, mask))


@identity_heads.cases
def _(draw):
    x, memory = draw.small(1, 2, 4), draw.small(1, 3, 4)
    x[0, 0], memory[0, 0] = torch.tensor([1.0, 2, -1, 1]), torch.tensor([2.0, 0, 1, -2])
    memory[0, 1] = torch.tensor([-1.0, 1, 2, 2])
    padding = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()[:, None, None, :]
    large = draw.normal(2, 3, 4), draw.normal(2, 4, 4)
    return [(x, memory, None), (x, memory, torch.tensor([[[[True, True, False]]]])), (*large, None), (*large, padding)]


SPLIT = (
    "a view does not split heads. First (B, T, H, D/H), then exchange the axes 1 and 2; the way back the same: "
    'transpose, then flatten. See lesson 04, "One reshape is not a split".'
)


@identity_heads.answer
def _(x, memory, mask):
    q = x.unflatten(-1, (2, 2)).transpose(1, 2)
    k = memory.unflatten(-1, (2, 2)).transpose(1, 2)
    scores = q @ k.mT / math.sqrt(2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    heads = scores.softmax(-1) @ k
    return heads.transpose(1, 2).flatten(-2)


identity_heads.patches(rf"""
view without transpose: x.unflatten(-1, (2, 2)).transpose(1, 2) -> x.reshape(len(x), 2, -1, 2)
  && memory.unflatten(-1, (2, 2)).transpose(1, 2) -> memory.reshape(len(x), 2, -1, 2)
  &&? heads.transpose(1, 2).flatten(-2) -> heads.reshape(len(x), -1, 4)
    {SPLIT[0].upper()}{SPLIT[1:]}
merged by one reshape, and no swap: heads.transpose(1, 2).flatten(-2) -> heads.reshape(len(x), -1, 4)
heads not split: = attention.oracle(x, memory, memory, None if mask is None else mask[:, 0])
    n_heads changes nothing: this is one head of full size. See lesson 04, "Smaller heads, same price".
no scaling: / math.sqrt(2) ->
    Use your attention: it divides by sqrt(d), where d is the size of a head.
scaled by sqrt(D), the size of the model: math.sqrt(2) -> math.sqrt(4)
the mask is not used: if mask is not None -> if False
    It is taken and never handed on to attention.
the mask is inverted: ~mask -> mask
    True means *may attend*: hand the mask on as it is.
it asks x where memory belongs: memory.unflatten -> x.unflatten && if mask is not None -> if False
    Queries come from x, keys and values from memory. See lesson 07, "2. Attention with two inputs".
softmax over the queries: softmax(-1) -> softmax(-2)
""")


@exercise(stars=2, differentiable=False)
def sinusoidal(n, d):
    """Row p: sin(p / 10000^(2i/d)) in column 2i, cos of the same in column 2i + 1: (n, d), positions from 0."""
    return lesson05.sinusoidal.oracle(n, d)


sinusoidal.cases(lambda draw: [(3, 4), (1, 2), (draw.integer(5, 9), 6), (40, 8)])


sinusoidal.take_over(lesson05.sinusoidal, "an odd d is not refused")

# The lesson's exercise, with more that a learner may not call.
layer_norm = copy(lesson07.layer_norm)
layer_norm.forbidden = FORBIDDEN


class Scripted(nn.Module):
    """A stand-in for a model: it knows what to say for each source, by its first word, and after that babbles 9."""

    def __init__(self, bos: int, plans: dict[int, list[int]]):
        super().__init__()
        self.bos, self.plans = bos, plans

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        logits = torch.zeros(len(src), tgt.shape[1], 10)
        for b, (words, heard) in enumerate(zip(src.tolist(), tgt.tolist(), strict=True)):
            plan = self.plans[words[0]]
            for t in range(len(heard)):
                said = t < len(plan) and heard[: t + 1] == [self.bos, *plan[:t]]
                logits[b, t, plan[t] if said else 9] = 1.0
        return logits.to(src.device)

    def __repr__(self) -> str:
        plans = (say("{word} with {words}", word=src, words=show(plan)) for src, plan in self.plans.items())
        return say("a model that answers {plans}", plans=", ".join(plans))


@exercise(stars=2, differentiable=False)
def greedy(model, src, bos, eos, max_len):
    """For each row of src the most probable token, again and again, until eos or max_len tokens: a list of lists."""
    steps = (lambda prefix, words=words: model(words[None], prefix[None])[0, -1] for words in src)
    return [lesson08.greedy.oracle(step, bos, eos, max_len) for step in steps]


@greedy.cases
def _(draw):
    src = torch.tensor([[3, 5], [4, 6], [5, 8]])
    return [
        (Scripted(1, {3: [5, 6, 2]}), src[:1], 1, 2, 5),
        (Scripted(1, {3: [7, 2], 4: [5, 8, 6, 2], 5: [2]}), src, 1, 2, 6),
        (Scripted(1, {3: [5, 6, 7, 8, 4, 2], 4: [8, 2]}), src[:2], 1, 2, 3),
        (Scripted(6, {3: [5, 3, 0], 4: [1, 2, 5, 0]}), src[:2], 6, 0, 4),
    ]


@greedy.answer
def _(model, src, bos, eos, max_len):
    tgt = torch.full((len(src), 1), bos)
    for _ in range(max_len):
        best = model(src, tgt)[:, -1].argmax(-1, keepdim=True)
        tgt = torch.cat([tgt, best], dim=1)
    rows = [row[: row.index(eos)] if eos in row else row for row in tgt[:, 1:].tolist()]
    return rows


greedy.patches("""
it does not stop at eos: row[: row.index(eos)] if eos in row else row -> row || [i for i in row if i != eos]
  | row[: row.index(eos)] if eos in row else row -> row && tgt[:, 1:] -> tgt
    A row ends at its first eos, and eos itself is not part of it: what comes after means nothing.
eos is returned: row.index(eos)] -> row.index(eos) + 1]
bos is returned: tgt[:, 1:] -> tgt
bos and eos are returned: row.index(eos)] -> row.index(eos) + 1] && tgt[:, 1:] -> tgt
all rows stop with the first: return rows -> return [row[: min(map(len, rows))] for row in rows]
    A row that has ended may wait; the others go on.
only the first row: return rows -> return rows[:1]
    src may hold several sentences: a list for each.
one id too few: range(max_len) -> range(max_len - 1)
one id too many: range(max_len) -> range(max_len + 1)
the first position is read: [:, -1] -> [:, 0]
    The newest position knows all that was said: logits[:, -1].
""")
