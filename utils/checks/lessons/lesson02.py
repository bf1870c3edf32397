"""Lesson 02: self-attention, one query at a time."""

import math

import torch

from utils.checks.engine import SDPA, exercise


@exercise(stars=1, forbidden=SDPA)
def scores(q, K):
    """score_i = k_i . q / sqrt(d): q (d,), K (n, d) -> (n,)."""
    return torch.stack([sum(k[j] * q[j] for j in range(len(q))) / math.sqrt(len(q)) for k in K])


@scores.cases
def _(draw):
    # Set in part, so that no mistake looks right by chance.
    q, K = draw.small(3), draw.small(2, 3)
    q[0], K[:, 0] = 2, torch.tensor([1.0, -1.0])
    return [(q, K), (draw.normal(5), draw.normal(3, 5)), (draw.normal(4), draw.normal(4, 4))]


@scores.answer
def _(q, K):
    s = K @ q / math.sqrt(len(q))
    return s


scores.patches("""
no scaling: / math.sqrt(len(q)) ->
    The dot products are not divided by sqrt(d). See lesson 02, "Why divide by √d?", for what that costs.
divided by d: math.sqrt(len(q)) -> len(q)
    Variances add, so a dot product grows like the root of d: divide by sqrt(d), not by d.
divided by the root of n: len(q) -> len(K)
    d is the length of q and of each key; n, the number of keys, has no part in it.
divided by d, then by 2: math.sqrt(len(q)) -> len(q) ** 1 / 2
    Python takes the power first: x / d ** 1 / 2 is (x / d) / 2. Write d ** 0.5, or math.sqrt(d).
the root of 2 from the page: len(q) -> 2
    In the lesson's example d is 2; here it is len(q).
multiplied by sqrt(d): / math -> * math
    The scaling should make large scores smaller: divide by sqrt(d).
the reach alone: math.sqrt(len(q)) -> q.norm()
    That is how far each key reaches along q. A score is the dot product over sqrt(d).
divided by n: math.sqrt(len(q)) -> len(K)
    n, the number of keys, has no part in it: divide by sqrt(d), with d = len(q).
the cosine: = K @ q / (K.norm(dim=1) * q.norm())
    A cosine forgets how long q and k are. The dot product keeps it, and only sqrt(d) divides it.
a column instead of a vector: K @ q -> K @ q[:, None]
    q[:, None] is a matrix, (d, 1), and so is the result, (n, 1). K @ q gives (n,).
softmax already taken: return s -> return s.softmax(0)
    Scores may be any numbers; the softmax is the next step, and another exercise.
the products are not added up: K @ q -> K * q &&? / math.sqrt(len(q)) ->
    K * q multiplies entry by entry. A dot product adds these d products: one number for each key, .sum(1) or K @ q.
added up over the keys: K @ q -> (K * q).sum(0)
    The rows of K are the keys, and each has a score of its own: add along its row, .sum(1), not .sum(0).
one number for all keys: K @ q -> (K * q).sum()
    Add up along each row of K alone, .sum(1): every key has a score of its own.
q from the left: K @ q -> q @ K
    q @ K, and K.T @ q, add up the rows of K, each times an entry of q. K @ q is the dot product of each row with q.
""")


@exercise(stars=1, forbidden=frozenset({"softmax", "log_softmax", "special_softmax", "special_log_softmax"}))
def softmax(z):
    """exp(z_i) / sum_j exp(z_j), stable: z (n,) -> (n,)."""
    powers = (z - z.max()).exp()
    return powers / powers.sum()


@softmax.cases
def _(draw):
    small = torch.tensor([0.0, 1.0, 3.0])[torch.randperm(3, generator=draw.generator)]
    far_apart = [[0.0, -math.inf, 1.0], [1000.0, 999.0, -math.inf], [-1000.0, -1001.0]]
    far_apart += [[90.0, 0.0, 1.0], [300.0, 0.0, 1.0], [0.0, 1000.0, 3.0]]
    many = torch.cat([torch.zeros(1), -3 * torch.ones(20)])  # a base that is not quite e shows
    return [(z,) for z in (small, draw.normal(5), *map(torch.tensor, far_apart), draw.normal(4) * 3, many)]


softmax.patches("""
it overflows: (z - z.max()) -> z
  | (z - z.max()).exp() -> z.double().exp()
  && return powers / powers.sum() -> return (powers / powers.sum()).to(z.dtype)
    exp(1000) is infinite. Subtract the largest score from all of them first: the shares stay the same.
the mean is subtracted: max -> mean
    With one score of -inf the mean is -inf, too. Subtract the largest score: it is always finite.
the smallest is subtracted: max -> min
    Then the largest power can still overflow: subtract the largest score.
another score is subtracted: z.max() -> z[0] || z[-1] || z[z.isfinite()].mean()
    The largest score may lie a thousand above it, and its power overflows. Subtract the largest, wherever it stands.
the largest in size is subtracted: z.max() -> z.abs().max()
    The largest in size may be a negative score, even -inf: then z - c is huge, or NaN. Subtract the largest score.
divided by the largest score: z - z.max() -> z / z.max()
    Dividing changes the differences of the scores, and so the shares. Subtract the largest score.
a fixed number is subtracted: z.max() -> 1000
    Then small scores all have the power 0. Subtract the largest score, whatever it is.
no powers at all: = z / z.sum()
  | .exp() ->
    Scores may be negative, and their sum 0. Raise e to each of them first: torch.exp.
divided by the largest: = z.exp() / z.exp().max()
    The largest share is then 1, whatever the others are. Divide by the sum of the powers.
not divided by the total: / powers.sum() ->
    Shares add up to one: divide the powers by their sum.
the logarithm of it: = z - z.logsumexp(0)
    That is the log-softmax: the shares themselves are asked for.
powers of 2: exp -> exp2
    The base is e: torch.exp.
e is rounded: (z - z.max()).exp() -> 2.718 ** (z - z.max())
    e has more digits than 2.718, and shares show it: torch.exp has them all.
scores are cut at a limit: (z - z.max()) -> z.clamp(max=80)
    Scores above the limit become alike. Subtract the largest score from all: their differences stay.
""")


@exercise(stars=2, forbidden=SDPA)
def attend(q, K, V):
    """b = sum_i softmax(scores)_i v_i: q (d,), K (n, d), V (n, d_v) -> (d_v,)."""
    shares = softmax.oracle(scores.oracle(q, K))
    return sum(share * v for share, v in zip(shares, V, strict=True))


@attend.cases
def _(draw):
    q, K, V = torch.tensor([1.0, 2.0]), draw.small(3, 2), draw.small(3, 2)
    K[:2], V[:2] = torch.tensor([[2.0, 0], [0, 2]]), torch.tensor([[1.0, 0], [-1, 2]])
    return [
        (q, K, V),
        (draw.normal(4), draw.normal(3, 4), draw.normal(3, 3)),
        (draw.normal(3), draw.normal(5, 3), draw.normal(5, 2)),
    ]


@attend.answer
def _(q, K, V):
    shares = (K @ q / math.sqrt(len(q))).softmax(0)
    return shares @ V


# V @ shares and V * shares need as many values as a value has entries: elsewhere they stop.
attend.patches("""
no scaling: / math.sqrt(len(q)) ->
divided by d: math.sqrt(len(q)) -> len(q)
divided after the softmax: / math.sqrt(len(q))).softmax(0) -> ).softmax(0) / math.sqrt(len(q))
    The root of d belongs to the scores. Shares that are divided no longer add up to one.
divided by the root of n: len(q) -> len(K)
the root of 2 from the page: len(q) -> 2
scaled by the length of the values: len(q) -> V.shape[1]
    The d under the root is the length of q and the keys, not of the values.
no softmax: .softmax(0) ->
    The values are weighted with the raw scores. The softmax makes them shares that add up to one.
not divided by the total: softmax(0) -> exp()
the softmax twice: softmax(0) -> softmax(0).softmax(0)
    The shares go into a second softmax, which makes them nearly equal. Once is enough.
scores from the values: K @ q -> V @ q
    The query is matched with the keys; the values wait for the shares.
keys where values belong: shares @ V -> shares @ K
    Keys are only matched; what travels are the values: sum over the shares times v_i.
the shares alone: shares @ V -> shares
    The shares are not the output yet: it is the sum of the values, each times its share, shares @ V.
all values alike: = V.mean(0)
    Every value has the same weight: the shares never reached the sum.
only the best value: = V[(K @ q).argmax()]
    The query takes a bit of every value, not the one with the highest score alone.
the shares from the right: shares @ V -> V @ shares
    V @ shares is the dot product of each value with the shares. A sum of the rows of V, each times its share, is
    shares @ V: (n,) (n, d_v) -> (d_v,).
the shares lie across the values: shares @ V -> V * shares || (V * shares).sum(0)
    V * shares gives every column of V a share. The shares belong to the rows: shares[:, None] * V, or shares @ V.
a row instead of a vector: shares @ V -> shares[None] @ V
    One output is a vector, (d_v,), not a matrix with one row: shares @ V, with shares (n,).
the values are not added up: shares @ V -> shares[:, None] * V
    Each value times its share is not the output yet: add them up, .sum(0).
""")


@exercise(stars=2, forbidden=SDPA)
def self_attention_loop(X, Wq, Wk, Wv):
    """q_i = Wq x_i and so on, b_i = attend(q_i, K, V): X (n, d_in), W (d, d_in) -> (n, d)."""
    Q, K, V = (torch.stack([torch.stack([sum(w * x) for w in W]) for x in X]) for W in (Wq, Wk, Wv))
    return torch.stack([attend.oracle(q, K, V) for q in Q])


@self_attention_loop.cases
def _(draw):
    X, W = torch.tensor([[1.0, 0, 2], [0, 1, 1]]), draw.small(3, 2, 3)
    W[:, 0, 0], W[:, 1, 2] = torch.tensor([1.0, 2.0, -1.0]), 1.0
    return [
        (X, *W),
        (draw.normal(3, 4), *[draw.normal(4, 4) for _ in range(3)]),
        (draw.normal(3, 3), *[draw.normal(2, 3) for _ in range(3)]),  # n = d_in: Wq @ X can be computed, too
    ]


@self_attention_loop.answer
def _(X, Wq, Wk, Wv):
    Q, K, V = X @ Wq.T, X @ Wk.T, X @ Wv.T
    return (Q @ K.T / math.sqrt(Q.shape[1])).softmax(1) @ V


self_attention_loop.patches("""
no scaling: / math.sqrt(Q.shape[1]) ->
divided by d: math.sqrt(Q.shape[1]) -> Q.shape[1]
no softmax: .softmax(1) ->
divided by the root of n: Q.shape[1] -> len(X)
scaled by the inputs' length: Q.shape[1] -> X.shape[1]
    The d under the root is the length of q and k (the rows of Wq), not that of the inputs.
softmax over the askers: softmax(1) -> softmax(0)
    Each query divides its own attention: the shares of one word over all others add up to one.
queries and keys exchanged: Q @ K.T -> K @ Q.T
    Row i answers for word i: its query meets all keys, not its key all queries.
the matrices are transposed: Wq.T -> Wq && Wk.T -> Wk && Wv.T -> Wv
    Vectors are columns here, q = Wq @ x. x @ Wq is Wq transposed, times x.
the matrix from the left: X @ Wq.T -> Wq @ X && X @ Wk.T -> Wk @ X && X @ Wv.T -> Wv @ X
    Words are the rows of X. Wq @ x takes one of them, X[i]; for all at once it is X @ Wq.T.
keys where values belong: @ V -> @ K
words where values belong: @ V -> @ X
    What travels are the values, Wv @ x, not the words themselves.
one matrix for queries and keys: Wk.T -> Wq.T
  | Wq.T -> Wk.T
    Asking and being found are two roles: q = Wq @ x, k = Wk @ x.
the weights are transposed: softmax(1) -> softmax(1).T
    Row i of the weights belongs to query i: it weighs the rows of V.
the output is transposed: return (Q -> return ((Q && @ V -> @ V).T
    One word per row: the result is (n, d).
returned in the first turn: return (Q -> return ((Q && @ V -> @ V)[0]
    One vector comes back, not one for each word. Collect the outputs, and return torch.stack(outputs) after the loop.
end to end: return (Q -> return ((Q && @ V -> @ V).flatten()
    torch.cat puts the outputs one behind the other. torch.stack makes a row of each.
only the first word's output: X @ Wq.T -> X[:1].expand_as(X) @ Wq.T
    Every word asks: the result has a row for each.
""")


@exercise(stars=2, forbidden=SDPA, finite=True)
def masked_attend(q, K, V, may_attend):
    """attend, over the words that may be heard: q (d,), K (n, d), V (n, d_v), may_attend (n,) bool -> (d_v,)."""
    heard = [j for j in range(len(K)) if may_attend[j]]
    return attend.oracle(q, K[heard], V[heard]) if heard else V.new_zeros(V.shape[1])


@masked_attend.cases
def _(draw):
    T, no = True, False
    q, K, V = torch.tensor([1.0, 2]), torch.tensor([[2.0, 0], [0, 2], [1, 1]]), draw.small(3, 2)
    V[:2] = torch.tensor([[1.0, 0], [-1, 2]])
    far, low, high = torch.tensor([100.0, 1]), torch.tensor([[-300.0, 2], [-300, 0], [0, 0]]), [[300.0, 2], [300, 0]]
    return [
        (q, K, V, torch.tensor([T, no, T])),
        (q, K, V, torch.tensor([no, no, no])),
        (far, low, V, torch.tensor([T, T, no])),  # about -21000, hidden: 0
        (far, torch.tensor([*high, [400.0, 0]]), V, torch.tensor([T, T, no])),  # about 21000, hidden: 28000
        (draw.normal(4), draw.normal(5, 4), draw.normal(5, 3), torch.tensor([no, T, T, no, T])),
        (draw.normal(3), draw.normal(4, 3), draw.normal(4, 2), torch.tensor([T, no, T, T])),
    ]


@masked_attend.answer
def _(q, K, V, may_attend):
    scores = K @ q / math.sqrt(len(q))
    allowed = scores.masked_fill(~may_attend, -math.inf)
    if not may_attend.any():
        return V.new_zeros(V.shape[1])
    return allowed.softmax(0) @ V


masked_attend.patches("""
the mask is inverted: (~may_attend -> (may_attend &&? if not may_attend.any() -> if False
    True means: may attend. Minus infinity belongs where the mask is False.
the mask is not used: .masked_fill(~may_attend, -math.inf) -> &&? if not may_attend.any() -> if False
    Every word is heard: a score where the mask is False should be minus infinity before the softmax.
the mask comes after the softmax:
  | .masked_fill(~may_attend, -math.inf) -> && allowed.softmax(0) -> (allowed.softmax(0) * may_attend)
    What is hidden has taken its share of the total, so the rest no longer adds up to one. Hide scores, not shares. See
    lesson 02, "Or only a part of it".
hidden after the softmax, and divided again: .masked_fill(~may_attend, -math.inf) ->
  && allowed.softmax(0) -> (lambda shares: shares / shares.sum())(allowed.softmax(0) * may_attend)
    Where nobody may be heard, or a hidden score is the largest by far, every share that counts is 0, and so is their
    sum: 0 / 0. Hide scores first, then take the softmax; nobody to hear means zeros.
hidden scores are 0: -math.inf -> 0.0 &&? if not may_attend.any() -> if False
    A score of 0 is not a share of 0: e^0 = 1 takes its part. Minus infinity is the score that takes none.
hidden scores are not low enough: -math.inf -> -1e4 &&? if not may_attend.any() -> if False
  | -math.inf -> -1e4 && if not may_attend.any() -> if False && softmax(0) -> softmax(0) * may_attend
    Allowed scores may lie far below that number, and then the hidden ones win. Take minus infinity.
0 times minus infinity: .masked_fill(~may_attend, -math.inf) -> + ~may_attend * -math.inf
    That is NaN, not 0, so every score is lost. masked_fill or torch.where put minus infinity where it belongs.
NaN where nobody may be heard: if not may_attend.any() -> if False
    A softmax of nothing but minus infinity divides 0 by 0. Nobody to hear means zeros.
all alike where nobody may be heard: V.new_zeros(V.shape[1]) -> V.mean(0)
  | -math.inf -> -1e9 && if not may_attend.any() -> if False
    If all scores are equally low, all shares are equal. Nobody to hear means zeros, not everybody a little.
no scaling: / math.sqrt(len(q)) ->
divided by d: math.sqrt(len(q)) -> len(q)
keys where values belong: @ V -> @ K
""")


@masked_attend.answer  # a softmax by hand
def _(q, K, V, may_attend):
    scores = (K @ q / math.sqrt(len(q))).masked_fill(~may_attend, -math.inf)
    peak = scores.max().clamp(min=-1e30)
    e = torch.exp(scores - peak)
    return e / e.sum().clamp(min=1) @ V


masked_attend.patches("""
hidden after the softmax, and divided again: .masked_fill(~may_attend, -math.inf) ->
  && exp(scores - peak) -> exp(scores - peak) * may_attend &&? .clamp(min=1) ->
  | .masked_fill(~may_attend, -math.inf) -> && exp(scores - peak) -> exp(scores - peak) * may_attend
  && e.sum().clamp(min=1) -> (e.sum() + 1e-9)
powers that are infinite, or all 0: scores - peak -> scores
    Subtract the largest score that may be heard first: no power is above 1 then, and one is 1.
""")
