"""What the capstone's parts compute where the task leaves no choice: oracles, cases, and the usual mistakes."""

import math

import torch
from torch import Tensor, nn

from utils.checks.engine import COURSE, SDPA, exercise, show

FORBIDDEN = COURSE | SDPA | {"layer_norm", "native_layer_norm", "_transformer_encoder_layer_fwd"}


# ---- attention ---------------------------------------------------------------------------------------------


@exercise(stars=2, forbidden=SDPA)
def attention(q, k, v, mask=None):
    """softmax(q k^T / sqrt(d)) v: q (..., T, d), k (..., S, d), v (..., S, d_v) -> (..., T, d_v)."""
    if q.dim() > 2:  # one matrix of the batch after the other
        masks = [None] * len(q) if mask is None else mask.expand(*q.shape[:-1], k.shape[-2])
        return torch.stack([attention.oracle(*one) for one in zip(q, k, v, masks, strict=True)])
    rows = []
    for i, query in enumerate(q):
        scores = torch.stack([query @ key / math.sqrt(len(query)) for key in k])
        if mask is not None:
            scores = torch.where(mask[i], scores, torch.full_like(scores, -math.inf))
        rows.append(sum(share * value for share, value in zip(scores.softmax(0), v, strict=True)))
    return torch.stack(rows)


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
        (*two_heads, None),
        (*heads, torch.ones(4, 4).tril().bool()),
        (draw.normal(2, 3, 5, 5), *heads[1:], padding),
    ]


def _attention(q, k, v, mask=None, scale=None, dim=-1, fill=-math.inf):
    scores = q @ k.mT / (math.sqrt(q.shape[-1]) if scale is None else scale)
    return (scores if mask is None else scores.masked_fill(~mask, fill)).softmax(dim) @ v


@attention.mistake("no scaling", 'Divide the scores by sqrt(d). See lesson 02, "Why divide by $\\sqrt d$?".')
def _(q, k, v, mask=None):
    return _attention(q, k, v, mask, scale=1)


@attention.mistake("divided by d", "Variances add, so a dot product grows like the root of d: divide by sqrt(d).")
def _(q, k, v, mask=None):
    return _attention(q, k, v, mask, scale=q.shape[-1])


@attention.mistake("scaled by the length of the values", "The d under the root is the length of q and k: q.shape[-1].")
def _(q, k, v, mask=None):
    return _attention(q, k, v, mask, scale=math.sqrt(v.shape[-1]))


@attention.mistake(
    "softmax over the queries",
    'Each query divides its own attention: softmax(dim=-1). See lesson 03, "Break it: softmax along the wrong axis".',
)
def _(q, k, v, mask=None):
    return _attention(q, k, v, mask, dim=-2)


@attention.mistake(
    "softmax over a numbered axis",
    "dim=1 is the last axis of a matrix, and the heads of a batch: count from the end, softmax(dim=-1).",
)
def _(q, k, v, mask=None):
    return _attention(q, k, v, mask, dim=1)


@attention.mistake("softmax over the first axis", "The first axis are queries, or sentences: softmax(dim=-1).")
def _(q, k, v, mask=None):
    return _attention(q, k, v, mask, dim=0)


@attention.mistake("mask inverted", "True means *may attend*: hide where it is False, masked_fill(~mask, -inf).")
def _(q, k, v, mask=None):
    return _attention(q, k, v, None if mask is None else ~mask)


@attention.mistake("mask inverted", "True means *may attend*: hide where it is False, masked_fill(~mask, -1e9).")
def _(q, k, v, mask=None):
    return _attention(q, k, v, None if mask is None else ~mask, fill=-1e9)


@attention.mistake("mask forgotten", "It is taken and never used. Scores that it hides become -inf before the softmax.")
def _(q, k, v, mask=None):
    return _attention(q, k, v)


@attention.mistake(
    "mask after the softmax",
    'The rest no longer adds up to one. Hide scores before the softmax. See lesson 02, "Or only a part of it".',
)
def _(q, k, v, mask=None):
    shares = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    return (shares if mask is None else shares * mask) @ v


@attention.mistake("hidden scores are 0", "A score of 0 still gets a share, exp(0) = 1: hidden scores become -inf.")
def _(q, k, v, mask=None):
    return _attention(q, k, v, mask, fill=0.0)


@attention.mistake("keys where values belong", "What travels are the values: shares @ v.")
def _(q, k, v, mask=None):
    return _attention(q, k, k, mask)


# ---- MultiHeadAttention ------------------------------------------------------------------------------------


@exercise(stars=2)
def identity_heads(x, memory, mask):
    """MultiHeadAttention(4, 2) whose matrices are all the identity: head h is attention on its two columns."""
    heads = [attention.oracle(x[..., h], memory[..., h], memory[..., h], _rows(mask)) for h in _HEADS]
    return torch.cat(heads, dim=-1)


_HEADS = (slice(0, 2), slice(2, 4))


def _rows(mask: Tensor | None) -> Tensor | None:
    return mask[:, 0] if mask is not None and mask.dim() == 4 else mask  # (B, 1, 1, S) -> (B, 1, S)


@identity_heads.cases
def _(draw):
    x, memory = draw.small(1, 2, 4), draw.small(1, 3, 4)
    x[0, 0], memory[0, 0] = torch.tensor([1.0, 2, -1, 1]), torch.tensor([2.0, 0, 1, -2])
    memory[0, 1] = torch.tensor([-1.0, 1, 2, 2])
    padding = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()[:, None, None, :]
    return [
        (x, memory, None),
        (x, memory, torch.tensor([[[[True, True, False]]]])),
        (draw.normal(2, 3, 4), draw.normal(2, 4, 4), None),
        (draw.normal(2, 3, 4), draw.normal(2, 4, 4), padding),
    ]


def _cut(x):
    return x.unflatten(-1, (2, 2)).transpose(1, 2)


def _view(x):
    return x.reshape(len(x), 2, x.shape[1], 2)


def _join(x):
    return x.transpose(1, 2).flatten(-2)


def _heads(x, memory, mask, cut=_cut, join=_join, **more):
    return join(_attention(cut(x), cut(memory), cut(memory), mask, **more))


SPLIT = (
    "a view does not split heads. First (B, T, H, D/H), then exchange the axes 1 and 2; the way back the same: "
    'transpose, then flatten. See lesson 04, "A view is not a split".'
)


@identity_heads.mistake("view without transpose", SPLIT[0].upper() + SPLIT[1:])
def _(x, memory, mask):
    return _heads(x, memory, mask, cut=_view)


@identity_heads.mistake("view without transpose", SPLIT[0].upper() + SPLIT[1:])
def _(x, memory, mask):
    return _heads(x, memory, mask, cut=_view, join=lambda heads: heads.reshape(len(heads), -1, 4))


@identity_heads.mistake("heads joined without transpose", SPLIT[0].upper() + SPLIT[1:])
def _(x, memory, mask):
    return _heads(x, memory, mask, join=lambda heads: heads.reshape(len(heads), -1, 4))


@identity_heads.mistake(
    "heads not split",
    'n_heads changes nothing: this is one head of full size. See lesson 04, "Smaller heads, same price".',
)
def _(x, memory, mask):
    return _attention(x, memory, memory, _rows(mask))


@identity_heads.mistake("no scaling", "Use your attention: it divides by sqrt(d), where d is the size of a head.")
def _(x, memory, mask):
    return _heads(x, memory, mask, scale=1)


@identity_heads.mistake(
    "scaled by the root of d_model",
    "Each head's vectors have d_model / n_heads entries, and that is the d under the root. See lesson 04, "
    '"$\\sqrt{d}$ of what?".',
)
def _(x, memory, mask):
    return _heads(x, memory, mask, scale=2)


@identity_heads.mistake("mask forgotten", "It is taken and never handed on to attention.")
def _(x, memory, mask):
    return _heads(x, memory, None)


@identity_heads.mistake("mask inverted", "True means *may attend*: hand the mask on as it is.")
def _(x, memory, mask):
    return _heads(x, memory, None if mask is None else ~mask)


@identity_heads.mistake(
    "it asks x where memory belongs",
    'Queries come from x, keys and values from memory. See lesson 07, "2. Attention with two inputs".',
)
def _(x, memory, mask):
    return _heads(x, x, None)


@identity_heads.mistake("softmax over the queries", "Each query divides its own attention: softmax(dim=-1).")
def _(x, memory, mask):
    return _heads(x, memory, mask, dim=-2)


# ---- sinusoidal --------------------------------------------------------------------------------------------


@exercise(stars=2, differentiable=False)
def sinusoidal(n, d):
    """Row p: sin(p / 10000^(2i/d)) in column 2i, cos of the same in column 2i + 1: (n, d), positions from 0."""
    rows = [[p / 10000 ** (2 * (j // 2) / d) for j in range(d)] for p in range(n)]
    return torch.tensor([[math.cos(a) if j % 2 else math.sin(a) for j, a in enumerate(row)] for row in rows])


@sinusoidal.cases
def _(draw):
    return [(3, 4), (1, 2), (draw.integer(5, 9), 6), (40, 8)]


def _angles(n, d, start=0, power=2.0, sign=1):
    position = torch.arange(start, start + n, dtype=torch.float64)[:, None]
    return position / 10000 ** (sign * power * torch.arange(d // 2, dtype=torch.float64) / d)


def _hands(angle):
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()


@sinusoidal.mistake(
    "sines left, cosines right", 'Here they alternate, as in the paper. See lesson 05, "Two layouts, one code".'
)
def _(n, d):
    return torch.cat([_angles(n, d).sin(), _angles(n, d).cos()], dim=1).float()


@sinusoidal.mistake("cosine before sine", "Sines stand in the even columns, 0, 2, ...")
def _(n, d):
    return _hands(_angles(n, d)).unflatten(1, (-1, 2)).flip(2).flatten(1)


@sinusoidal.mistake("positions from 1", "The first row is position 0: sines 0, cosines 1.")
def _(n, d):
    return _hands(_angles(n, d, start=1))


@sinusoidal.mistake(
    "a frequency for each column", "A sine and its cosine share one: column j has the exponent 2 (j // 2) / d."
)
def _(n, d):
    angle = torch.arange(n, dtype=torch.float64)[:, None] / 10000 ** (torch.arange(d, dtype=torch.float64) / d)
    return torch.where(torch.arange(d) % 2 == 0, angle.sin(), angle.cos()).float()


@sinusoidal.mistake("i where 2i belongs", "The exponents are 0, 2/d, 4/d, ...: one step of 2/d per pair.")
def _(n, d):
    return _hands(_angles(n, d, power=1))


@sinusoidal.mistake("2i taken twice", "arange(0, d, 2) already holds 2i: divide it by d, and no more.")
def _(n, d):
    return _hands(_angles(n, d, power=4))


@sinusoidal.mistake("hands that speed up", "Divide the position by 10000^(2i/d): later columns turn more slowly.")
def _(n, d):
    return _hands(_angles(n, d, sign=-1))


@sinusoidal.mistake("rows and columns exchanged", "One row per position: (n, d).")
def _(n, d):
    return _hands(_angles(n, d)).T


# ---- LayerNorm ---------------------------------------------------------------------------------------------


@exercise(stars=1, forbidden=FORBIDDEN)
def layer_norm(x):
    """A fresh LayerNorm(d): (x - mean) / sqrt(variance + 1e-5) along the last axis, gamma = 1 and beta = 0."""
    return torch.stack([layer_norm.oracle(row) for row in x]) if x.dim() > 1 else _norm(x)


def _norm(x, eps=1e-5, dim=-1, correction=0):
    centered = x - x.mean(dim, keepdim=True)
    return centered / (x.var(dim, correction=correction, keepdim=True) + eps).sqrt()


@layer_norm.cases
def _(draw):
    order = torch.randperm(4, generator=draw.generator)
    return [
        (torch.tensor([[2.0, 4, 4, 6]])[:, order],),
        (torch.zeros(1, 4),),
        (torch.tensor([[0.002, 0.004, 0.006]])[:, torch.randperm(3, generator=draw.generator)],),
        (draw.normal(2, 3, 4) * 3e-3,),
        (draw.normal(2, 3, 6) + 1,),
    ]


AXIS = 'Mean and variance belong to one vector: dim=-1, keepdim=True. See lesson 07, "The other axis: batch norm".'


@layer_norm.mistake(
    "variance divided by d - 1",
    "Divide by d: x.var(-1, correction=0), or the mean of the squares. var and std use d - 1.",
)
def _(x):
    return _norm(x, correction=1)


@layer_norm.mistake("eps outside the root", "The 1e-5 is added to the variance, then the root is taken.")
def _(x):
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, correction=0, keepdim=True) + 1e-5)


@layer_norm.mistake(
    "d - 1, and eps outside the root", "Take the variance divided by d, add 1e-5 to it, then take the root."
)
def _(x):
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5)


@layer_norm.mistake(
    "d - 1, and eps outside the root", "Take the variance divided by d, add 1e-5 to it, then take the root."
)
def _(x):
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)


@layer_norm.mistake("no eps", "A vector of equal entries has variance 0: add 1e-5 to it before the root.")
def _(x):
    return _norm(x, eps=0)


@layer_norm.mistake("divided by the variance", "Divide by its root, the standard deviation.")
def _(x):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5)


@layer_norm.mistake("the mean is not subtracted", "Subtract the mean of the vector first.")
def _(x):
    return x / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()


@layer_norm.mistake("mean over the positions", AXIS)
def _(x):
    return _norm(x, dim=-2)


@layer_norm.mistake("mean over the batch", AXIS)
def _(x):
    return _norm(x, dim=0)


@layer_norm.mistake("one mean for all vectors", AXIS)
def _(x):
    return _norm(x.flatten(), dim=0).reshape(x.shape)


for _eps in (1e-3, 1e-4, 1e-6, 1e-8, 1e-9, 1e-12):

    @layer_norm.mistake("another eps", "Take 1e-5, as lesson 07 and PyTorch do.")
    def _(x, eps=_eps):
        return _norm(x, eps=eps)


# ---- greedy ------------------------------------------------------------------------------------------------


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
        return "a model that answers " + ", ".join(f"{src} with {show(plan)}" for src, plan in self.plans.items())


@exercise(stars=2, differentiable=False)
def greedy(model, src, bos, eos, max_len):
    """For each row of src the most probable token, again and again, until eos or max_len tokens: a list of lists."""
    rows = []
    for words in src:
        said = []
        while len(said) < max_len:
            best = model(words[None], torch.tensor([[bos, *said]]))[0, -1].argmax().item()
            if best == eos:
                break
            said.append(best)
        rows.append(said)
    return rows


@greedy.cases
def _(draw):
    src = torch.tensor([[3, 5], [4, 6], [5, 8]])
    return [
        (Scripted(1, {3: [5, 6, 2]}), src[:1], 1, 2, 5),
        (Scripted(1, {3: [7, 2], 4: [5, 8, 6, 2], 5: [2]}), src, 1, 2, 6),
        (Scripted(1, {3: [5, 6, 7, 8, 4, 2], 4: [8, 2]}), src[:2], 1, 2, 3),
        (Scripted(6, {3: [5, 3, 0], 4: [1, 2, 5, 0]}), src[:2], 6, 0, 4),
    ]


def _said(model, src, bos, max_len, at=-1):
    tgt = torch.full((len(src), 1), bos)
    for _ in range(max_len):
        tgt = torch.cat([tgt, model(src, tgt)[:, at].argmax(-1, keepdim=True)], dim=1)
    return tgt.tolist()


def _until(row, eos, keep=0):
    return row[: row.index(eos) + keep] if eos in row else row


STOP = "A row ends at its first eos, and eos itself is not part of it: what comes after means nothing."


@greedy.mistake("it does not stop at eos", STOP)
def _(model, src, bos, eos, max_len):
    return [row[1:] for row in _said(model, src, bos, max_len)]


@greedy.mistake("it does not stop at eos", STOP)
def _(model, src, bos, eos, max_len):
    return [[i for i in row[1:] if i != eos] for row in _said(model, src, bos, max_len)]


@greedy.mistake("it does not stop at eos", STOP)
def _(model, src, bos, eos, max_len):
    return _said(model, src, bos, max_len)


@greedy.mistake("eos is kept", "Return the words alone, without bos and eos.")
def _(model, src, bos, eos, max_len):
    return [_until(row[1:], eos, keep=1) for row in _said(model, src, bos, max_len)]


@greedy.mistake("bos is kept", "Return the words alone, without bos and eos.")
def _(model, src, bos, eos, max_len):
    return [_until(row, eos) for row in _said(model, src, bos, max_len)]


@greedy.mistake("bos and eos are kept", "Return the words alone, without bos and eos.")
def _(model, src, bos, eos, max_len):
    return [_until(row, eos, keep=1) for row in _said(model, src, bos, max_len)]


@greedy.mistake("all rows stop with the first", "A row that has ended may wait; the others go on.")
def _(model, src, bos, eos, max_len):
    rows = [_until(row[1:], eos) for row in _said(model, src, bos, max_len)]
    return [row[: min(map(len, rows))] for row in rows]


@greedy.mistake("only the first row", "src may hold several sentences: a list for each.")
def _(model, src, bos, eos, max_len):
    return [_until(_said(model, src[:1], bos, max_len)[0][1:], eos)]


@greedy.mistake("one token too few", "max_len counts the words that are returned, bos and eos not among them.")
def _(model, src, bos, eos, max_len):
    return [_until(row[1:], eos) for row in _said(model, src, bos, max_len - 1)]


@greedy.mistake("one token too many", "max_len counts the words that are returned, bos and eos not among them.")
def _(model, src, bos, eos, max_len):
    return [_until(row[1:], eos) for row in _said(model, src, bos, max_len + 1)]


@greedy.mistake("the first position is read", "The newest position knows all that was said: logits[:, -1].")
def _(model, src, bos, eos, max_len):
    return [_until(row[1:], eos) for row in _said(model, src, bos, max_len, at=0)]
