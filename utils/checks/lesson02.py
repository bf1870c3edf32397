"""Lesson 02: self-attention, one query at a time."""

import math

import torch

from utils.checks.exercise import SDPA, exercise

INFINITY = float("inf")


# ---- scores ------------------------------------------------------------------------------------------------


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


@scores.mistake(
    "no scaling", 'The dot products are not divided by sqrt(d). "Why divide by sqrt d?" shows what that costs.'
)
def _(q, K):
    return K @ q


@scores.mistake(
    "divided by d", "Variances add, so a dot product grows like the root of d: divide by sqrt(d), not by d."
)
def _(q, K):
    return K @ q / len(q)


@scores.mistake(
    "divided by the root of n", "d is the length of q and of each key; n, the number of keys, has no part in it."
)
def _(q, K):
    return K @ q / math.sqrt(len(K))


@scores.mistake("multiplied by sqrt(d)", "The scaling should make large scores smaller: divide by sqrt(d).")
def _(q, K):
    return K @ q * math.sqrt(len(q))


@scores.mistake(
    "softmax already taken", "Scores may be any numbers; the softmax is the next step, and another exercise."
)
def _(q, K):
    return (K @ q / math.sqrt(len(q))).softmax(0)


NO_SUM = (
    "the products are not added up",
    "K * q multiplies entry by entry. A dot product adds these d products: one number for each key, .sum(1) or K @ q.",
)


@scores.mistake(*NO_SUM)
def _(q, K):
    return K * q


@scores.mistake(*NO_SUM)
def _(q, K):
    return K * q / math.sqrt(len(q))


@scores.mistake(
    "added up over the keys",
    "The rows of K are the keys, and each has a score of its own: add along its row, .sum(1), not .sum(0).",
)
def _(q, K):
    return (K * q).sum(0) / math.sqrt(len(q))


@scores.mistake(
    "one number for all keys", "Add up along each row of K alone, .sum(1): every key has a score of its own."
)
def _(q, K):
    return (K * q).sum() / math.sqrt(len(q))


@scores.mistake(
    "q from the left",
    "q @ K adds up the rows of K, each times an entry of q. K @ q is the dot product of each row, a key, with q.",
)
def _(q, K):
    return q @ K / math.sqrt(len(q))


# ---- softmax -----------------------------------------------------------------------------------------------


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


@softmax.mistake(
    "it overflows",
    "exp(1000) is infinite. Subtract the largest score from all of them first: the shares stay the same.",
)
def _(z):
    return z.exp() / z.exp().sum()


@softmax.mistake(
    "the mean is subtracted",
    "With one score of -inf the mean is -inf, too. Subtract the largest score: it is always finite.",
)
def _(z):
    powers = (z - z.mean()).exp()
    return powers / powers.sum()


@softmax.mistake("the smallest is subtracted", "Then the largest power can still overflow: subtract the largest score.")
def _(z):
    powers = (z - z.min()).exp()
    return powers / powers.sum()


@softmax.mistake("not divided by the total", "Shares add up to one: divide the powers by their sum.")
def _(z):
    return (z - z.max()).exp()


@softmax.mistake("the logarithm of it", "That is the log-softmax: the shares themselves are asked for.")
def _(z):
    return z - z.logsumexp(0)


@softmax.mistake("powers of 2", "The base is e: torch.exp.")
def _(z):
    powers = 2 ** (z - z.max())
    return powers / powers.sum()


# ---- attend ------------------------------------------------------------------------------------------------


@exercise(stars=2, forbidden=SDPA)
def attend(q, K, V):
    """b = sum_i softmax(scores)_i v_i: q (d,), K (n, d), V (n, d_v) -> (d_v,)."""
    shares = softmax.oracle(scores.oracle(q, K))
    return sum(share * v for share, v in zip(shares, V, strict=True))


@attend.cases
def _(draw):
    q, K, V = torch.tensor([1.0, 2.0]), draw.small(3, 2), draw.small(3, 2)
    K[0], K[1], V[0], V[1] = (
        torch.tensor([2.0, 0]),
        torch.tensor([0.0, 2]),
        torch.tensor([1.0, 0]),
        torch.tensor([-1.0, 2]),
    )
    return [
        (q, K, V),
        (draw.normal(4), draw.normal(3, 4), draw.normal(3, 3)),
        (draw.normal(3), draw.normal(5, 3), draw.normal(5, 2)),
    ]


@attend.mistake(
    "no scaling", 'The scores are not divided by sqrt(d), so the softmax is too sure. See "Why divide by sqrt d?".'
)
def _(q, K, V):
    return (K @ q).softmax(0) @ V


@attend.mistake("divided by d", "Divide the scores by sqrt(d), not by d.")
def _(q, K, V):
    return (K @ q / len(q)).softmax(0) @ V


@attend.mistake(
    "scaled by the length of the values", "The d under the root is the length of q and the keys, not of the values."
)
def _(q, K, V):
    return (K @ q / math.sqrt(V.shape[1])).softmax(0) @ V


@attend.mistake(
    "no softmax", "The values are weighted with the raw scores. The softmax makes them shares that add up to one."
)
def _(q, K, V):
    return (K @ q / math.sqrt(len(q))) @ V


@attend.mistake(
    "keys where values belong", "Keys are only matched; what travels are the values: sum over the shares times v_i."
)
def _(q, K, V):
    return (K @ q / math.sqrt(len(q))).softmax(0) @ K


@attend.mistake("all values alike", "Every value has the same weight: the shares never reached the sum.")
def _(q, K, V):
    return V.mean(0)


@attend.mistake(
    "only the best value", "The query takes a bit of every value, not the one with the highest score alone."
)
def _(q, K, V):
    return V[(K @ q).argmax()]


# V @ shares and V * shares need as many values as a value has entries: elsewhere they stop.
@attend.mistake(
    "the shares from the right",
    "V @ shares is the dot product of each value with the shares. A sum of the rows of V, each times its share, is "
    "shares @ V: (n,) (n, d_v) -> (d_v,).",
)
def _(q, K, V):
    return V @ (K @ q / math.sqrt(len(q))).softmax(0)


ACROSS = (
    "the shares lie across the values",
    "V * shares gives every column of V a share. The shares belong to the rows: shares[:, None] * V, or shares @ V.",
)


@attend.mistake(*ACROSS)
def _(q, K, V):
    return V * (K @ q / math.sqrt(len(q))).softmax(0)


@attend.mistake(*ACROSS)
def _(q, K, V):
    return (V * (K @ q / math.sqrt(len(q))).softmax(0)).sum(0)


@attend.mistake(
    "the values are not added up", "Each value times its share is not the output yet: add them up, .sum(0)."
)
def _(q, K, V):
    return (K @ q / math.sqrt(len(q))).softmax(0)[:, None] * V


# ---- self_attention_loop -----------------------------------------------------------------------------------


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


def _heads(X, Wq, Wk, Wv):
    return X @ Wq.T, X @ Wk.T, X @ Wv.T


@self_attention_loop.mistake(
    "no scaling", "The scores are not divided by sqrt(d), where d is the length of the queries."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _heads(X, Wq, Wk, Wv)
    return (Q @ K.T).softmax(1) @ V


@self_attention_loop.mistake("divided by d", "Divide the scores by sqrt(d), not by d.")
def _(X, Wq, Wk, Wv):
    Q, K, V = _heads(X, Wq, Wk, Wv)
    return (Q @ K.T / Q.shape[1]).softmax(1) @ V


@self_attention_loop.mistake(
    "no softmax", "The values are weighted with the raw scores. The softmax makes them shares that add up to one."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _heads(X, Wq, Wk, Wv)
    return Q @ K.T / math.sqrt(Q.shape[1]) @ V


@self_attention_loop.mistake(
    "scaled by the inputs' length",
    "The d under the root is the length of q and k (the rows of Wq), not that of the inputs.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _heads(X, Wq, Wk, Wv)
    return (Q @ K.T / math.sqrt(X.shape[1])).softmax(1) @ V


@self_attention_loop.mistake(
    "softmax over the askers",
    "Each query divides its own attention: the shares of one word over all others add up to one.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _heads(X, Wq, Wk, Wv)
    return (Q @ K.T / math.sqrt(Q.shape[1])).softmax(0) @ V


@self_attention_loop.mistake(
    "queries and keys exchanged", "Row i answers for word i: its query meets all keys, not its key all queries."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _heads(X, Wq, Wk, Wv)
    return (K @ Q.T / math.sqrt(Q.shape[1])).softmax(1) @ V


@self_attention_loop.mistake(
    "the matrices are transposed", "Vectors are columns here, q = Wq @ x. x @ Wq is Wq transposed, times x."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = X @ Wq, X @ Wk, X @ Wv
    return (Q @ K.T / math.sqrt(Q.shape[1])).softmax(1) @ V


@self_attention_loop.mistake("keys where values belong", "What travels are the values, Wv @ x.")
def _(X, Wq, Wk, Wv):
    Q, K, _ = _heads(X, Wq, Wk, Wv)
    return (Q @ K.T / math.sqrt(Q.shape[1])).softmax(1) @ K


@self_attention_loop.mistake("only the first word's output", "Every word asks: the result has a row for each.")
def _(X, Wq, Wk, Wv):
    Q, K, V = _heads(X, Wq, Wk, Wv)
    return ((Q[0] @ K.T / math.sqrt(Q.shape[1])).softmax(0) @ V).expand(len(X), -1)
