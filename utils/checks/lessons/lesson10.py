"""Lesson 10: what changed since 2017."""

import math

import torch

from utils.checks.engine import SDPA, exercise, say


@exercise(stars=1, forbidden=frozenset({"rms_norm"}))
def rms_norm(x, gamma, eps):
    """Divided by the root of the mean square of the last axis, times gamma: x (..., D), gamma (D,) -> (..., D)."""
    D, rows = x.shape[-1], []
    for row in x.reshape(-1, D):
        mean = sum(entry * entry for entry in row) / D
        rows.append(torch.stack([g * entry / (mean + eps) ** 0.5 for g, entry in zip(gamma, row, strict=True)]))
    return torch.stack(rows).reshape(x.shape)


@rms_norm.cases
def _(draw):
    return [
        (torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0]), 0.0),
        (draw.small(2, 3) + 3, draw.normal(3) + 1, 1.0),
        (torch.zeros(2, 2), torch.ones(2), 0.25),
        (draw.normal(2, 3, 4) + 1, draw.normal(4), 0.5),
        (draw.normal(4, 4), draw.normal(4), 1e-5),
        (draw.normal(3, 6), draw.normal(6), 0.1),
    ]


@rms_norm.answer
def _(x, gamma, eps):
    size = x.square().mean(-1, keepdim=True)
    return x / torch.sqrt(size + eps) * gamma


rms_norm.patches("""
the mean subtracted, as in a layer norm: size = -> x = x - x.mean(-1, keepdim=True); size =
    That is lesson 07's layer norm. An RMSNorm leaves the mean where it is.
divided by the standard deviation: x.square().mean(-1, keepdim=True) -> x.var(-1, keepdim=True, unbiased=False)
  | x.square().mean(-1, keepdim=True) -> x.var(-1, keepdim=True)
    No mean is subtracted here: the mean of the squares, not of the squared differences.
the sum of the squares: .mean(-1 -> .sum(-1
    The *mean* square: with the sum every vector would get the length 1, however many entries it has.
divided by D - 1: x.square().mean(-1, keepdim=True) -> x.square().sum(-1, keepdim=True) / (x.shape[-1] - 1)
    The mean of D squares divides by D.
the root is missing: torch.sqrt(size + eps) -> (size + eps)
    Divide by the root of the mean square: twice as large an x should give the same.
eps outside the root: torch.sqrt(size + eps) -> (torch.sqrt(size) + eps)
    eps is added to the mean square, under the root.
eps forgotten: torch.sqrt(size + eps) -> torch.sqrt(size)
    A row of zeros would be 0 / 0: add eps under the root.
gamma forgotten: * gamma ->
    Each entry is multiplied with its own gamma at the end.
1 + gamma: * gamma -> * (1 + gamma)
    Some models store gamma - 1. Here gamma is the factor itself.
gamma under the root, too: torch.sqrt(size + eps) * gamma -> torch.sqrt((size + eps) * gamma)
    gamma multiplies the result: x / sqrt(...) * gamma.
the first axis: mean(-1, keepdim=True) -> mean(0, keepdim=True)
    Each token is divided by its own size: the mean goes over its entries, the last axis.
one size for all tokens: x.square().mean(-1, keepdim=True) -> x.square().mean()
    Each token is divided by its own size: the mean goes over the last axis alone.
the mean of the sizes: x.square().mean(-1, keepdim=True) -> x.abs().mean(-1, keepdim=True).square()
    The root of the mean *square*: square first, then take the mean.
""")


@exercise(stars=1)
def swiglu(x, W_gate, W_up, W_down):
    """(silu(x W_gate) * (x W_up)) W_down, silu(z) = z sigmoid(z): x (..., D), W (D, F), (D, F), (F, D) -> (..., D)."""
    rows = []
    for row in x.reshape(-1, x.shape[-1]):
        hidden = []
        for gate_column, up_column in zip(W_gate.T, W_up.T, strict=True):
            z = (row * gate_column).sum()
            hidden.append(z / (1 + torch.exp(-z)) * (row * up_column).sum())
        rows.append(sum(h * to for h, to in zip(hidden, W_down, strict=True)))
    return torch.stack(rows).reshape(x.shape)


@swiglu.cases
def _(draw):
    return [
        (torch.tensor([1.0, 2.0]), *[torch.tensor([[entry, 1.0], [1.0, 0.0]]) for entry in (1.0, 2.0, -1.0)]),
        (draw.normal(2, 2), draw.normal(2, 3), draw.normal(2, 3), draw.normal(3, 2)),
        (draw.normal(2, 2, 3), draw.normal(3, 4), draw.normal(3, 4), draw.normal(4, 3)),
        (draw.normal(4, 3), draw.normal(3, 3), draw.normal(3, 3), draw.normal(3, 3)),
        (draw.normal(3, 4), draw.normal(4, 6), draw.normal(4, 6), draw.normal(6, 4)),
    ]


@swiglu.answer
def _(x, W_gate, W_up, W_down):
    gate = x @ W_gate
    up = x @ W_up
    hidden = gate * torch.sigmoid(gate) * up
    return hidden @ W_down


swiglu.patches("""
gate and up exchanged: gate * torch.sigmoid(gate) * up -> up * torch.sigmoid(up) * gate
    The silu is taken of x W_gate; x W_up stays as it is.
a sigmoid alone: gate * torch.sigmoid(gate) * up -> torch.sigmoid(gate) * up
    That is the GLU of 2016. silu(z) is z times sigmoid(z).
relu in the place of silu: gate * torch.sigmoid(gate) -> gate.relu()
    That is a ReGLU. silu(z) = z sigmoid(z) is a little below zero for negative z.
gelu in the place of silu: gate * torch.sigmoid(gate) -> torch.nn.functional.gelu(gate)
    That is a GEGLU. silu(z) = z sigmoid(z).
tanh in the place of sigmoid: torch.sigmoid(gate) -> torch.tanh(gate)
    silu(z) = z sigmoid(z), with sigmoid(z) = 1 / (1 + exp(-z)).
silu of the product: gate * torch.sigmoid(gate) * up -> gate * up * torch.sigmoid(gate * up)
    First the silu of the gate, then the product with x W_up.
silu of both: gate * torch.sigmoid(gate) * up -> gate * torch.sigmoid(gate) * up * torch.sigmoid(up)
    Only the gate goes through the silu.
added, not multiplied: torch.sigmoid(gate) * up -> torch.sigmoid(gate) + up
    The gate multiplies: where it is near 0, nothing of x W_up passes.
no gate: gate * torch.sigmoid(gate) * up -> up * torch.sigmoid(up) || gate * torch.sigmoid(gate)
    That is an ordinary feed-forward network with silu. Here two projections are multiplied with one another.
no silu at all: gate * torch.sigmoid(gate) * up -> gate * up
    Without the silu this is a bilinear layer.
W_down forgotten: hidden @ W_down -> hidden
    The hidden entries go back to D through W_down.
W_down on the wrong side: hidden @ W_down -> hidden @ W_down.T
    W_down is (F, D): hidden @ W_down, no transpose.
""")


@exercise(stars=2, forbidden=SDPA)
def grouped_query_attention(q, k, v):
    """Head h asks the keys and values of group h // (H / G): q (H, T, d), k and v (G, S, d) -> (H, T, d)."""
    H, G = len(q), len(k)
    if H % G:
        raise ValueError(say("{H} heads cannot share {G} groups evenly", H=H, G=G))
    heads = []
    for h in range(H):
        scores = torch.stack([torch.stack([(one * key).sum() for key in k[h // (H // G)]]) for one in q[h]])
        heads.append((scores / math.sqrt(q.shape[-1])).softmax(-1) @ v[h // (H // G)])
    return torch.stack(heads)


@grouped_query_attention.cases
def _(draw):
    return [
        (draw.small(2, 1, 1), *[torch.tensor([[[1.0], [0.0]], [[0.0], [2.0]]]) + i for i in range(2)]),
        (draw.normal(4, 2, 2), draw.normal(2, 3, 2), draw.normal(2, 3, 2)),
        (draw.normal(3, 2, 2), draw.normal(2, 3, 2), draw.normal(2, 3, 2)),
        (draw.normal(3, 2, 4), draw.normal(1, 3, 4), draw.normal(1, 3, 4)),
        (draw.normal(6, 3, 2), draw.normal(3, 5, 2), draw.normal(3, 5, 2)),
        (20 * draw.normal(4, 2, 3), 20 * draw.normal(2, 2, 3), draw.normal(2, 2, 3)),
        (draw.normal(4, 3, 3), draw.normal(2, 4, 3), draw.normal(2, 4, 3)),
    ]


@grouped_query_attention.answer
def _(q, k, v):
    H, G = len(q), len(k)
    if H % G:
        raise ValueError("the groups must divide the heads")
    k = k.repeat_interleave(H // G, dim=0)
    v = v.repeat_interleave(H // G, dim=0)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return scores.softmax(-1) @ v


grouped_query_attention.patches("""
groups in turn: k.repeat_interleave(H // G, dim=0) -> k.repeat(H // G, 1, 1)
  && v.repeat_interleave(H // G, dim=0) -> v.repeat(H // G, 1, 1)
    Neighbors share a group: with H / G = 2 heads 0 and 1 have the first, 2 and 3 the second. Here head h took group
    h mod G.
keys and values of different groups: v.repeat_interleave(H // G, dim=0) -> v.repeat(H // G, 1, 1)
  | k.repeat_interleave(H // G, dim=0) -> k.repeat(H // G, 1, 1)
    A head takes keys and values of the same group: h // (H // G) for both.
h // G in the place of h // (H // G): k.repeat_interleave(H // G, dim=0) -> k[(torch.arange(H) // G).clamp(max=G - 1)]
  && v.repeat_interleave(H // G, dim=0) -> v[(torch.arange(H) // G).clamp(max=G - 1)]
    H // G heads share a group, so head h has group h // (H // G). Here it took h // G, as if G heads shared one.
the first group for all: k.repeat_interleave(H // G, dim=0) -> k[:1].expand(H, -1, -1)
  && v.repeat_interleave(H // G, dim=0) -> v[:1].expand(H, -1, -1)
    That is multi-query attention, one group for all heads. Here head h has group h // (H // G).
all groups averaged: k.repeat_interleave(H // G, dim=0) -> k.mean(0, keepdim=True)
  && v.repeat_interleave(H // G, dim=0) -> v.mean(0, keepdim=True)
    No group is mixed with another: head h has group h // (H // G).
heads that do not divide are not refused: raise ValueError("the groups must divide the heads") -> pass
  && k.repeat_interleave(H // G, dim=0) -> k[torch.arange(H) * G // H]
  && v.repeat_interleave(H // G, dim=0) -> v[torch.arange(H) * G // H]
  | raise ValueError("the groups must divide the heads") -> pass
  && k.repeat_interleave(H // G, dim=0) -> k[(torch.arange(H) // (H // G)).clamp(max=G - 1)]
  && v.repeat_interleave(H // G, dim=0) -> v[(torch.arange(H) // (H // G)).clamp(max=G - 1)]
    Where G does not divide H, the groups would be of unequal size: raise a ValueError.
no scaling: / math.sqrt(q.shape[-1]) ->
    The scores are not divided by sqrt(d).
divided by d: math.sqrt(q.shape[-1]) -> q.shape[-1]
    Divide the scores by sqrt(d), not by d.
divided by the root of the wrong length: q.shape[-1] -> q.shape[-1] * H || k.shape[1] || len(q)
    The d under the root is the length of one head's queries and keys.
softmax over the queries: scores.softmax(-1) -> scores.softmax(-2)
    The shares of one query add up to one: softmax over the keys, the last axis.
softmax over the heads: scores.softmax(-1) -> scores.softmax(0)
    Each head asks by itself: softmax over the keys, the last axis.
a causal mask: scores.softmax(-1) -> scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf).softmax(-1)
    No mask is wanted here: every query may ask every key.
no softmax: scores.softmax(-1) -> scores
    The scores become shares that add up to one by a softmax over the keys.
a softmax that overflows: scores.softmax(-1) -> (scores.exp() / scores.exp().sum(-1, keepdim=True))
    exp of a large score is infinite. Subtract the largest score first, or take torch.softmax.
keys where values belong: .softmax(-1) @ v -> .softmax(-1) @ k
    Keys are only matched; what travels are the values.
""")


@exercise(stars=3)
def linear_recurrence(decay, a):
    """h_t = decay h_(t-1) + a_t from h_(-1) = 0, without a loop over all n: decay (d,), a (n, d) -> (n, d)."""
    back = torch.arange(len(a))[:, None] - torch.arange(len(a))  # from t back to s
    powers = torch.where(back[..., None] < 0, 0.0, decay ** back.clamp(min=0)[..., None])
    return torch.einsum("tsd,sd->td", powers, a)  # the sum over s of decay^(t - s) a_s


@linear_recurrence.cases
def _(draw):
    def decay(d):
        return torch.tensor([draw.integer(1, 9) / 10 for _ in range(d)])

    return [
        (torch.tensor([0.5, 0.25]), torch.tensor([[4.0, 16.0], [2.0, 0.0], [0.0, 4.0]])),
        (decay(1), draw.small(1, 1) + 3),
        (decay(2), draw.normal(7, 2)),
        (torch.tensor([0.1, 0.2]), draw.normal(90, 2)),
        (decay(3), draw.normal(33, 3)),
        (decay(2), draw.normal(draw.integer(10, 16), 2)),
    ]


@linear_recurrence.cost
def _(draw):
    loop = "a Python loop goes over the steps: 1,000 of them take 1,000 calls or more. Doubling the distance takes 10."
    return (torch.tensor([0.9, 0.5, 0.97]), draw.normal(1000, 3)), [(lambda spent: spent.calls < 1000, loop)]


@linear_recurrence.answer
def _(decay, a):
    h, factor, step = a, decay, 1
    while step < len(a):
        earlier = torch.cat([torch.zeros_like(h[:step]), h[:-step]])
        h = h + factor * earlier
        factor = factor * factor
        step = 2 * step
    return h


linear_recurrence.patches("""
the decay divided out and multiplied back:
  | = (a / decay ** torch.arange(len(a))[:, None]).cumsum(0) * decay ** torch.arange(len(a))[:, None]
  | = (a * decay ** -torch.arange(len(a))[:, None]).cumsum(0) * decay ** torch.arange(len(a))[:, None]
    On paper it is the same. But 0.1 to the 60th is 0 in a float, and one divided by it infinite: combine neighbors
    instead, so that only positive powers occur.
the factor is not squared: factor = factor * factor -> pass
    Two steps back the decay works twice: after each round the factor is squared.
the last states come round to the first: torch.cat([torch.zeros_like(h[:step]), h[:-step]]) -> h.roll(step, 0)
    Before the first step there is nothing: the first rows get zeros, not the end of the sequence.
the decay reaches the newest, too: return h -> return decay * h
    h_t = decay h_(t-1) + a_t: a_t itself is not multiplied yet.
a running average: h, factor, step = a, -> h, factor, step = (1 - decay) * a,
    Nothing is multiplied with 1 - decay here: h_t = decay h_(t-1) + a_t.
no decay: factor, step = a, decay, 1 -> factor, step = a, torch.ones_like(decay), 1
    That is a running sum. What lies s steps back counts decay to the power of s.
only the neighbor is heard: while step < len(a): -> while step < min(len(a), 2):
    One round brings the neighbor. Each further round doubles how far back a state reaches, until it is n.
it stops one round too early: while step < len(a): -> while 2 * step < len(a):
    After rounds with steps 1, 2, ..., s a state reaches 2s rows back: go on while the step is less than n.
the step grows by one: step = 2 * step -> step = step + 1
    After a round of distance s each state holds 2s rows: the next distance is 2s, not s + 1.
from the end to the beginning: = linear_recurrence.oracle(decay, a.flip(0)).flip(0)
    Time runs downwards: h_0 is the first row.
one step late: return h -> return torch.cat([torch.zeros_like(h[:1]), h[:-1]])
    Row t is the state after a_t was read: h_0 = a_0.
the last state alone: return h -> return h[-1]
    All n states are wanted, a row each.
the decay squared from the start: factor, step = a, decay, 1 -> factor, step = a, decay * decay, 1
    The first round reaches one step back: its factor is the decay itself.
""")


@linear_recurrence.mistake(
    "a loop over all steps",
    "Right, but as serial as lesson 01's network. In a scan each round doubles how far back a state reaches.",
)
def _(decay, a):
    states = [a[0]]
    for row in a[1:]:
        states.append(decay * states[-1] + row)
    return torch.stack(states)
