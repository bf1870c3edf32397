"""Lesson 02: self-attention, one query at a time."""

import math

import torch

from utils.checks.engine import SDPA, exercise

INFINITY = float("inf")


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
    The dot products are not divided by sqrt(d). "Why divide by sqrt d?" shows what that costs.
divided by d: math.sqrt(len(q)) -> len(q)
    Variances add, so a dot product grows like the root of d: divide by sqrt(d), not by d.
divided by the root of n: len(q) -> len(K)
    d is the length of q and of each key; n, the number of keys, has no part in it.
multiplied by sqrt(d): / math -> * math
    The scaling should make large scores smaller: divide by sqrt(d).
softmax already taken: return s -> return s.softmax(0)
    Scores may be any numbers; the softmax is the next step, and another exercise.
the products are not added up: K @ q / math.sqrt(len(q)) -> K * q
  | K @ q -> K * q
    K * q multiplies entry by entry. A dot product adds these d products: one number for each key, .sum(1) or K @ q.
added up over the keys: K @ q -> (K * q).sum(0)
    The rows of K are the keys, and each has a score of its own: add along its row, .sum(1), not .sum(0).
one number for all keys: K @ q -> (K * q).sum()
    Add up along each row of K alone, .sum(1): every key has a score of its own.
q from the left: K @ q -> q @ K
    q @ K adds up the rows of K, each times an entry of q. K @ q is the dot product of each row, a key, with q.
""")


@exercise(stars=1, forbidden=frozenset({"softmax", "log_softmax", "special_softmax", "special_log_softmax"}))
def softmax(z):
    """exp(z_i) / sum_j exp(z_j), stable: z (n,) -> (n,)."""
    largest = max(x.item() for x in z)
    powers = torch.stack([torch.exp(x - largest) for x in z])
    return powers / sum(powers)


@softmax.cases
def _(draw):
    small = torch.tensor([0.0, 1.0, 3.0])[torch.randperm(3, generator=draw.generator)]
    return [
        (small,),
        (draw.normal(5),),
        (torch.tensor([0.0, -INFINITY, 1.0]),),
        (torch.tensor([1000.0, 999.0, -INFINITY]),),
        (torch.tensor([-1000.0, -1001.0]),),
        (torch.tensor([90.0, 0.0, 1.0]),),
        (draw.normal(4) * 3,),
    ]


@softmax.answer
def _(z):
    powers = (z - z.max()).exp()
    return powers / powers.sum()


softmax.patches("""
it overflows: (z - z.max()) -> z
    exp(1000) is infinite. Subtract the largest score from all of them first: the shares stay the same.
the mean is subtracted: max -> mean
    With one score of -inf the mean is -inf, too. Subtract the largest score: it is always finite.
the smallest is subtracted: max -> min
    Then the largest power can still overflow: subtract the largest score.
not divided by the total: / powers.sum() ->
    Shares add up to one: divide the powers by their sum.
the logarithm of it: = z - z.logsumexp(0)
    That is the log-softmax: the shares themselves are asked for.
powers of 2: exp -> exp2
    The base is e: torch.exp.
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
    The scores are not divided by sqrt(d), so the softmax is too sure. See "Why divide by sqrt d?".
divided by d: math.sqrt(len(q)) -> len(q)
    Divide the scores by sqrt(d), not by d.
scaled by the length of the values: len(q) -> V.shape[1]
    The d under the root is the length of q and the keys, not of the values.
no softmax: .softmax(0) ->
    The values are weighted with the raw scores. The softmax makes them shares that add up to one.
keys where values belong: shares @ V -> shares @ K
    Keys are only matched; what travels are the values: sum over the shares times v_i.
all values alike: = V.mean(0)
    Every value has the same weight: the shares never reached the sum.
only the best value: = V[(K @ q).argmax()]
    The query takes a bit of every value, not the one with the highest score alone.
the shares from the right: shares @ V -> V @ shares
    V @ shares is the dot product of each value with the shares. A sum of the rows of V, each times its share, is
    shares @ V: (n,) (n, d_v) -> (d_v,).
the shares lie across the values: shares @ V -> V * shares
  | shares @ V -> (V * shares).sum(0)
    V * shares gives every column of V a share. The shares belong to the rows: shares[:, None] * V, or shares @ V.
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
    X, matrices = torch.tensor([[1.0, 0, 2], [0, 1, 1]]), [draw.small(2, 3) for _ in range(3)]
    for W, entry in zip(matrices, (1.0, 2.0, -1.0), strict=True):
        W[0, 0], W[1, 2] = entry, 1.0
    return [
        (X, *matrices),
        (draw.normal(3, 4), *[draw.normal(4, 4) for _ in range(3)]),
        (draw.normal(5, 3), *[draw.normal(2, 3) for _ in range(3)]),
    ]


@self_attention_loop.answer
def _(X, Wq, Wk, Wv):
    Q, K, V = X @ Wq.T, X @ Wk.T, X @ Wv.T
    return (Q @ K.T / math.sqrt(Q.shape[1])).softmax(1) @ V


self_attention_loop.patches("""
no scaling: / math.sqrt(Q.shape[1]) ->
    The scores are not divided by sqrt(d), where d is the length of the queries.
divided by d: math.sqrt(Q.shape[1]) -> Q.shape[1]
    Divide the scores by sqrt(d), not by d.
no softmax: .softmax(1) ->
    The values are weighted with the raw scores. The softmax makes them shares that add up to one.
scaled by the inputs' length: Q.shape[1] -> X.shape[1]
    The d under the root is the length of q and k (the rows of Wq), not that of the inputs.
softmax over the askers: softmax(1) -> softmax(0)
    Each query divides its own attention: the shares of one word over all others add up to one.
queries and keys exchanged: Q @ K.T -> K @ Q.T
    Row i answers for word i: its query meets all keys, not its key all queries.
the matrices are transposed: Wq.T -> Wq && Wk.T -> Wk && Wv.T -> Wv
    Vectors are columns here, q = Wq @ x. x @ Wq is Wq transposed, times x.
keys where values belong: @ V -> @ K
    What travels are the values, Wv @ x.
only the first word's output: X @ Wq.T -> X[:1].expand_as(X) @ Wq.T
    Every word asks: the result has a row for each.
""")
