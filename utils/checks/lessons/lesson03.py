"""Lesson 03: matrices."""

import math

import torch

from utils.checks.engine import SDPA, exercise

INFINITY = float("inf")


# ---- self_attention ----------------------------------------------------------------------------------------


@exercise(stars=1, forbidden=SDPA)
def self_attention(X, Wq, Wk, Wv):
    """Q = X Wq and so on, softmax(Q K^T / sqrt(d)) along each row, times V: X (n, d_in), W (d_in, d) -> (n, d)."""
    Q, K, V = X @ Wq, X @ Wk, X @ Wv
    A = Q @ K.T / math.sqrt(Wq.shape[1])
    return A.softmax(dim=1) @ V


@self_attention.cases
def _(draw):
    # Set in part, so that no mistake looks right by chance; with d = 4, the scores are divided by 2.
    X, Wv = torch.tensor([[1.0, 0], [1, 2]]), draw.small(2, 4)
    Wv[:, :2] = torch.tensor([[1.0, -1], [2, 1]])
    return [
        (X, torch.tensor([[2.0, 1, 0, 0], [1, 0, 0, 0]]), torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]]), Wv),
        (draw.normal(5, 3), *[draw.normal(3, 3) for _ in range(3)]),
        (draw.normal(4, 4), *[draw.normal(4, 2) for _ in range(3)]),
        (draw.normal(3, 2), *[draw.normal(2, 5) for _ in range(3)]),
    ]


@self_attention.cost
def _(draw):
    return (draw.normal(60, 3), *[draw.normal(3, 2) for _ in range(3)]), [
        (
            lambda spent: spent.calls < 60,
            "a Python loop goes over the words: 60 of them take 60 calls or more. A few matrix products do it all.",
        )
    ]


def _projected(X, Wq, Wk, Wv):
    return X @ Wq, X @ Wk, X @ Wv


@self_attention.mistake(
    "a loop over the words",
    "Lesson 02 needed it; here Q @ K.T holds the scores of all words at once, and one more product all outputs.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return torch.stack([(K @ q / math.sqrt(len(q))).softmax(0) @ V for q in Q])


@self_attention.mistake("no scaling", "The scores are not divided by sqrt(d), where d is the length of the queries.")
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.T).softmax(1) @ V


@self_attention.mistake("divided by d", "Divide the scores by sqrt(d), not by d.")
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.T / Q.shape[1]).softmax(1) @ V


@self_attention.mistake(
    "scaled by the inputs' length",
    "The d under the root is the length of the queries and keys (the columns of Wq), not that of the inputs.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.T / math.sqrt(X.shape[1])).softmax(1) @ V


@self_attention.mistake(
    "scaled by the number of words", "The d under the root is the length of the queries; n has no part in it."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.T / math.sqrt(len(X))).softmax(1) @ V


@self_attention.mistake(
    "softmax along the wrong axis",
    'In rows, row i holds the scores of the one who asks: dim=-1. See "Break it: softmax along the wrong axis".',
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.T / math.sqrt(Q.shape[1])).softmax(0) @ V


# What may be subtracted before the powers are taken, by a softmax made by hand: nothing, the row's largest score, or,
# with the same slip, that of another row.
PEAKS = (lambda A: 0.0, lambda A: A.amax(1, keepdim=True), lambda A: A.amax(1))
TOTALS = (
    "the totals lie across",
    "e.sum(1) is (n,), and e / e.sum(1) takes it for a row: it divides each column by a total of its own. A row is "
    "divided by its total with e.sum(1, keepdim=True), (n, 1).",
)
for _peak in PEAKS:

    @self_attention.mistake(*TOTALS)
    def _(X, Wq, Wk, Wv, peak=_peak):
        Q, K, V = _projected(X, Wq, Wk, Wv)
        A = Q @ K.T / math.sqrt(Q.shape[1])
        e = torch.exp(A - peak(A))
        return e / e.sum(1) @ V


@self_attention.mistake(
    "queries and keys exchanged",
    'Row i belongs to the word that asks: Q K^T. K Q^T is its transpose: see "The dictionary: from columns to rows".',
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (K @ Q.T / math.sqrt(Q.shape[1])).softmax(1) @ V


@self_attention.mistake(
    "the weights are transposed",
    "Columns and rows are mixed: in rows A = Q K^T, softmax along each row, and O = A V. "
    'See "The dictionary: from columns to rows".',
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.T / math.sqrt(Q.shape[1])).softmax(1).T @ V


@self_attention.mistake(
    "the matrices are transposed",
    "Wq is (d_in, d) here, for rows: X @ Wq. X @ Wq.T is what nn.Linear does with the matrix that it stores.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq.T, Wk.T, Wv.T)
    return (Q @ K.T / math.sqrt(Q.shape[1])).softmax(1) @ V


@self_attention.mistake(
    "no softmax", "The scores are not shares yet: softmax along each row, before the product with V."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return Q @ K.T / math.sqrt(Q.shape[1]) @ V


@self_attention.mistake("keys where values belong", "Keys are only matched; what travels are the values, V = X Wv.")
def _(X, Wq, Wk, Wv):
    Q, K, _ = _projected(X, Wq, Wk, Wv)
    return (Q @ K.T / math.sqrt(Q.shape[1])).softmax(1) @ K


@self_attention.mistake(
    "inputs where values belong", "What travels are the values, V = X Wv, not the inputs themselves."
)
def _(X, Wq, Wk, Wv):
    Q, K, _ = _projected(X, Wq, Wk, Wv)
    return (Q @ K.T / math.sqrt(Q.shape[1])).softmax(1) @ X


@self_attention.mistake(
    "the output in columns", "One output per row, (n, d), as the inputs are given: leave out the last transpose."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return ((Q @ K.T / math.sqrt(Q.shape[1])).softmax(1) @ V).T


# ---- masked_attention --------------------------------------------------------------------------------------


@exercise(stars=2, forbidden=SDPA)
def masked_attention(Q, K, V, mask):
    """Row i attends to the rows j with mask[i, j] only: Q (n_q, d), K (n_k, d), V (n_k, d_v) -> (n_q, d_v)."""
    out = []
    for q, may in zip(Q, mask, strict=True):
        scores = {j: K[j] @ q / math.sqrt(len(q)) for j in range(len(K)) if may[j]}
        largest = max((score.item() for score in scores.values()), default=0.0)
        powers = {j: torch.exp(score - largest) for j, score in scores.items()}
        total = sum(powers.values())
        out.append(sum((powers[j] / total * V[j] for j in powers), start=V.new_zeros(V.shape[1])))
    return torch.stack(out)


def _mask(draw, n_q: int, n_k: int):
    """In every row something is allowed and something is not."""
    mask = torch.rand(n_q, n_k, generator=draw.generator) < 0.5
    for i in range(n_q):
        place = draw.integer(0, n_k - 1)
        mask[i, place], mask[i, place - 1] = True, False
    return mask


@masked_attention.cases
def _(draw):
    T, no = True, False
    Q, K = torch.tensor([[2.0, 0, 0, 0], [0, 2, 0, 0]]), draw.small(3, 4)
    K[:, :2] = torch.tensor([[1.0, 0], [0, 2], [2, 1]])
    square, empty = _mask(draw, 3, 3), _mask(draw, 4, 5)
    square[0], square[1, 0] = torch.tensor([T, T, no]), False  # its transpose is another one, and two keys share a row
    empty[1] = False  # nothing to attend to
    # Scores of -19999, -20000 and 0, then of 20001, 20000 and 25000; the last of each is masked.
    far = (
        torch.tensor([[-100.0, 1, 0, 0], [100, 1, 100, 0]]),
        torch.tensor([[400.0, 2, 0, 0], [400, 0, 0, 0], [0, 0, 500, 0]]),
    )
    return [
        (Q, K, torch.tensor([[4.0, 0], [0, 8], [2, 2]]), torch.tensor([[T, T, no], [T, no, T]])),
        (Q, K, torch.tensor([[4.0, 0], [0, 8], [2, 2]]), torch.tensor([[no, no, no], [T, T, T]])),
        (*far, torch.tensor([[4.0, 0], [0, 8], [2, 2]]), torch.tensor([[T, T, no], [T, T, no]])),
        (draw.normal(3, 2), draw.normal(3, 2), draw.normal(3, 3), square),
        (draw.normal(2, 5), draw.normal(6, 5), draw.normal(6, 2), _mask(draw, 2, 6)),
        (draw.normal(4, 3), draw.normal(5, 3), draw.normal(5, 2), empty),
    ]


def _softmax_of(scores, mask, dim=1):
    """What the right answer does, given other scores, another mask or another axis."""
    return scores.masked_fill(~mask, -INFINITY).softmax(dim).masked_fill(~mask, 0)


def _scores(Q, K):
    return Q @ K.T / math.sqrt(Q.shape[1])


INVERTED = "the mask is inverted", "True means: may attend. Minus infinity belongs where the mask is False."


@masked_attention.mistake(*INVERTED)
def _(Q, K, V, mask):
    return _softmax_of(_scores(Q, K), ~mask) @ V


@masked_attention.mistake(*INVERTED)
def _(Q, K, V, mask):
    return _scores(Q, K).masked_fill(mask, -INFINITY).softmax(1) @ V


@masked_attention.mistake(
    "the mask is not used", "Every query asks every key: a score where the mask is False should not count."
)
def _(Q, K, V, mask):
    return _scores(Q, K).softmax(1) @ V


NAN = (
    "NaN where nobody may be asked",
    "A row in which nothing is allowed divides 0 by 0. Set its weights to zero after the softmax.",
)
ALIKE = (
    "everybody alike where nobody may be asked",
    "A large negative number hides a key behind others, but if all scores are equally low, all get the same share. "
    "Use minus infinity, and set the masked weights to zero after the softmax.",
)
NOT_LOW = (
    "masked scores are not low enough",
    "Allowed scores may lie far below -10000, and then the masked ones win. No number is low enough for every case: "
    "take minus infinity.",
)


@masked_attention.mistake(*NAN)
def _(Q, K, V, mask):
    return _scores(Q, K).masked_fill(~mask, -INFINITY).softmax(1) @ V


@masked_attention.mistake(*ALIKE)
def _(Q, K, V, mask):
    return _scores(Q, K).masked_fill(~mask, -1e9).softmax(1) @ V


@masked_attention.mistake(*ALIKE)
def _(Q, K, V, mask):
    return _scores(Q, K).masked_fill(~mask, -1e4).softmax(1) @ V


@masked_attention.mistake(*NOT_LOW)
def _(Q, K, V, mask):
    return _scores(Q, K).masked_fill(~mask, -1e4).softmax(1).masked_fill(~mask, 0) @ V


@masked_attention.mistake(*NOT_LOW)
def _(Q, K, V, mask):
    return _scores(Q, K).masked_fill(~mask, -1e4).softmax(1).masked_fill(~mask.any(1, keepdim=True), 0) @ V


def _powers(Q, K, mask, peak):
    """A softmax made by hand begins so: the powers of the allowed scores, and their totals."""
    scores = _scores(Q, K)
    powers = torch.exp(scores - peak(scores)).masked_fill(~mask, 0)
    return powers, powers.sum(1, keepdim=True)


@masked_attention.mistake(*NAN)
def _(Q, K, V, mask):
    powers, total = _powers(Q, K, mask, PEAKS[0])
    return powers / total @ V


for _peak in PEAKS[:2]:  # the largest of a row may be that of a masked key
    for _mended in (
        lambda powers, total, mask: (powers / total).nan_to_num(0.0),
        lambda powers, total, mask: (powers / total).masked_fill(~mask, 0),
        lambda powers, total, mask: powers / total.where(total != 0, 1),
    ):

        @masked_attention.mistake(
            "powers that are infinite, or all 0",
            "exp(20000) is infinite, and exp(-20000) is 0. Subtract from each row the largest of the scores that are "
            "allowed (a masked one may be far above them): the shares stay the same.",
        )
        def _(Q, K, V, mask, peak=_peak, mended=_mended):
            return mended(*_powers(Q, K, mask, peak), mask) @ V


for _peak in PEAKS:

    @masked_attention.mistake(*TOTALS)  # this needs as many queries as keys: elsewhere it stops
    def _(Q, K, V, mask, peak=_peak):
        scores = _scores(Q, K).masked_fill(~mask, -INFINITY)
        e = torch.exp(scores - peak(scores))
        return e / e.sum(1) @ V


AFTER = (
    "the mask comes after the softmax",
    "The masked keys have taken their share of the total, so what is left does not add up to 1. Mask the scores first.",
)


@masked_attention.mistake(*AFTER)
def _(Q, K, V, mask):
    return (_scores(Q, K).softmax(1) * mask) @ V


@masked_attention.mistake(
    "minus infinity after the softmax",
    "It belongs in the scores: after the softmax there are shares, between 0 and 1.",
)
def _(Q, K, V, mask):
    return _scores(Q, K).softmax(1).masked_fill(~mask, -INFINITY) @ V


@masked_attention.mistake(
    "masked scores are zero",
    "A score of 0 is not a share of 0: e^0 = 1 takes its part. Minus infinity is the score that takes none.",
)
def _(Q, K, V, mask):
    return (_scores(Q, K) * mask).softmax(1) @ V


@masked_attention.mistake(
    "masked scores are zero",
    "A score of 0 is not a share of 0: e^0 = 1 takes its part. Minus infinity is the score that takes none.",
)
def _(Q, K, V, mask):
    return (_scores(Q, K) * mask).softmax(1).masked_fill(~mask.any(1, keepdim=True), 0) @ V


@masked_attention.mistake(
    "the mask is added as numbers",
    "True counts as 1, so an allowed key only gets one point more. Forbidden scores must become minus infinity.",
)
def _(Q, K, V, mask):
    return (_scores(Q, K) + mask).softmax(1) @ V


WRONG_AXIS = (
    "softmax along the wrong axis",
    'Row i holds the scores of query i: dim=-1. See "Break it: softmax along the wrong axis".',
)


@masked_attention.mistake(*WRONG_AXIS)
def _(Q, K, V, mask):
    return _softmax_of(_scores(Q, K), mask, dim=0) @ V


@masked_attention.mistake(*WRONG_AXIS)
def _(Q, K, V, mask):
    return _scores(Q, K).masked_fill(~mask, -INFINITY).softmax(0) @ V


@masked_attention.mistake(
    "0 times minus infinity",
    "That is NaN, not 0, so every score is lost. masked_fill or torch.where put minus infinity where it belongs.",
)
def _(Q, K, V, mask):
    return (_scores(Q, K) + ~mask * -INFINITY).softmax(1) @ V


@masked_attention.mistake(
    "the mask is transposed", "Row i of the mask is for query i, column j for key j: the same places as in Q K^T."
)
def _(Q, K, V, mask):
    return _softmax_of(_scores(Q, K), mask.T) @ V


SCALES = {
    "no scaling": ("The scores are not divided by sqrt(d), where d is the length of the queries.", lambda Q, V: 1.0),
    "divided by d": ("Divide the scores by sqrt(d), not by d.", lambda Q, V: Q.shape[1]),
    "scaled by the length of the values": (
        "The d under the root is the length of queries and keys, not of the values.",
        lambda Q, V: math.sqrt(V.shape[1]),
    ),
    "scaled by the number of keys": (
        "The d under the root is the length of queries and keys; how many keys there are plays no part.",
        lambda Q, V: math.sqrt(len(V)),
    ),
}
for _name, (_advice, _by) in SCALES.items():

    @masked_attention.mistake(_name, _advice)
    def _(Q, K, V, mask, by=_by):
        return _softmax_of(Q @ K.T / by(Q, V), mask) @ V

    @masked_attention.mistake(_name, _advice)
    def _(Q, K, V, mask, by=_by):
        return (Q @ K.T / by(Q, V)).masked_fill(~mask, -INFINITY).softmax(1) @ V


# ---- batched_self_attention --------------------------------------------------------------------------------


@exercise(stars=2, forbidden=SDPA)
def batched_self_attention(X, Wq, Wk, Wv):
    """Each sentence as if it were alone: X (B, n, d_in), W (d_in, d) -> (B, n, d)."""
    return torch.stack([self_attention.oracle(sentence, Wq, Wk, Wv) for sentence in X])


@batched_self_attention.cases
def _(draw):
    X = torch.tensor([[[1.0, 0], [1, 2], [0, 1]], [[0, 2], [2, 0], [1, -1]]])
    W = [torch.tensor(rows) for rows in ([[2.0, 1], [1, 0]], [[1.0, 0], [0, 1]], [[1.0, -1], [2, 1]])]
    return [
        (X, *W),
        (
            torch.tensor([[[1.0], [2]]]),
            *[torch.tensor([row]) for row in ([1.0, 1, 0, 0], [1.0, 0, 1, 0], [1.0, 2, 0, -1])],
        ),
        (draw.normal(2, 4, 3), *[draw.normal(3, 3) for _ in range(3)]),
        (draw.normal(2, 2, 3), *[draw.normal(3, 2) for _ in range(3)]),  # B = n = d: here even K.T fits
        (draw.normal(3, 3, 2), *[draw.normal(2, 5) for _ in range(3)]),
        (draw.normal(4, 5, 3), *[draw.normal(3, 2) for _ in range(3)]),
    ]


@batched_self_attention.mistake(
    "no scaling", "The scores are not divided by sqrt(d), where d is the length of the queries."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.mT).softmax(-1) @ V


@batched_self_attention.mistake("divided by d", "Divide the scores by sqrt(d), not by d.")
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.mT / Q.shape[-1]).softmax(-1) @ V


@batched_self_attention.mistake(
    "scaled by the number of words",
    "In (B, n, d) the last dimension is d: Q.shape[-1]. Q.shape[1], which was d without a batch, is n now.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.mT / math.sqrt(Q.shape[1])).softmax(-1) @ V


@batched_self_attention.mistake(
    "scaled by the number of sentences", "In (B, n, d) the last dimension is d: Q.shape[-1]. len(Q) is B now."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.mT / math.sqrt(len(Q))).softmax(-1) @ V


@batched_self_attention.mistake(
    "scaled by the inputs' length", "The d under the root is the length of the queries, not that of the inputs."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.mT / math.sqrt(X.shape[-1])).softmax(-1) @ V


@batched_self_attention.mistake(
    "softmax over the queries",
    "The scores are (B, n, n), and those of one query lie along the last dimension: dim=-1. dim=1 was right without a "
    "batch.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.mT / math.sqrt(Q.shape[-1])).softmax(1) @ V


@batched_self_attention.mistake(
    "softmax over the sentences", "dim=0 is the batch: sentences would compete with one another. Take dim=-1."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.mT / math.sqrt(Q.shape[-1])).softmax(0) @ V


@batched_self_attention.mistake(
    "dimensions counted from the front",
    "shape[1] and dim=1 meant the last dimension without a batch, and mean another one now. Count from the end: -1.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.mT / math.sqrt(Q.shape[1])).softmax(1) @ V


ALL_TURNED = (
    "K.T turns round all dimensions",
    '(B, n, d) becomes (d, n, B). K.mT swaps the last two only: see "Many sentences at once".',
)


@batched_self_attention.mistake(*ALL_TURNED)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.permute(2, 1, 0) / math.sqrt(Q.shape[-1])).softmax(-1) @ V


@batched_self_attention.mistake(*ALL_TURNED)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.permute(2, 1, 0) / math.sqrt(Q.shape[1])).softmax(1) @ V


@batched_self_attention.mistake(
    "one long sentence",
    "All sentences were laid end to end, so words attend across them. Each sentence stays by itself.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X.flatten(0, 1), Wq, Wk, Wv)
    return ((Q @ K.T / math.sqrt(Q.shape[-1])).softmax(-1) @ V).unflatten(0, X.shape[:2])


@batched_self_attention.mistake(
    "words attend along the batch",
    "The first two dimensions are exchanged: a word asks the words at its own place in other sentences.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X.transpose(0, 1), Wq, Wk, Wv)
    return ((Q @ K.mT / math.sqrt(Q.shape[-1])).softmax(-1) @ V).transpose(0, 1)


@batched_self_attention.mistake(
    "rows of sentences are mixed up",
    "A view or reshape to (n, B, d) only cuts the same list of numbers elsewhere. @ takes the batch as it is.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X.reshape(X.shape[1], X.shape[0], -1), Wq, Wk, Wv)
    return ((Q @ K.mT / math.sqrt(Q.shape[-1])).softmax(-1) @ V).reshape(*X.shape[:2], -1)


@batched_self_attention.mistake(
    "keys are reshaped, not transposed",
    "view and reshape to (B, d, n) keep the order of the numbers; .mT (or transpose(-1, -2)) moves them.",
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (Q @ K.reshape(len(K), K.shape[2], K.shape[1]) / math.sqrt(Q.shape[-1])).softmax(-1) @ V


@batched_self_attention.mistake("queries and keys exchanged", "Row i belongs to the word that asks: Q K^T, not K Q^T.")
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return (K @ Q.mT / math.sqrt(Q.shape[-1])).softmax(-1) @ V


@batched_self_attention.mistake("keys where values belong", "Keys are only matched; what travels are the values, X Wv.")
def _(X, Wq, Wk, Wv):
    Q, K, _ = _projected(X, Wq, Wk, Wv)
    return (Q @ K.mT / math.sqrt(Q.shape[-1])).softmax(-1) @ K


@batched_self_attention.mistake("the matrices are transposed", "Wq is (d_in, d) here, for rows: X @ Wq, not X @ Wq.T.")
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq.T, Wk.T, Wv.T)
    return (Q @ K.mT / math.sqrt(Q.shape[-1])).softmax(-1) @ V


@batched_self_attention.mistake("only the first sentence", "Every sentence of the batch has outputs of its own.")
def _(X, Wq, Wk, Wv):
    return self_attention.oracle(X[0], Wq, Wk, Wv).expand(len(X), -1, -1)


@batched_self_attention.mistake(
    "no softmax", "The scores are not shares yet: softmax along each row, before the values."
)
def _(X, Wq, Wk, Wv):
    Q, K, V = _projected(X, Wq, Wk, Wv)
    return Q @ K.mT / math.sqrt(Q.shape[-1]) @ V


# ---- online_attention --------------------------------------------------------------------------------------


@exercise(stars=3, forbidden=SDPA)
def online_attention(q, K, V, block):
    """softmax(K q / sqrt(d)) V, read `block` keys at a time: q (d,), K (n, d), V (n, d_v) -> (d_v,)."""
    peak, total, mixed = q.new_tensor(-INFINITY), q.new_zeros(()), q.new_zeros(V.shape[1])
    for start in range(0, len(K), block):
        keys, values = K[start : start + block], V[start : start + block]
        scores = keys @ q / math.sqrt(len(q))
        higher = torch.maximum(peak, scores.max())
        old, new = torch.exp(peak - higher), torch.exp(scores - higher)
        peak, total, mixed = higher, total * old + new.sum(), mixed * old + new @ values
    return mixed / total


@online_attention.cases
def _(draw):
    q, K, V = torch.tensor([2.0, 0, 0, 0]), draw.small(3, 4), torch.tensor([[4.0, 0], [0, 8], [4, 4]])
    K[:, 0] = torch.tensor([0.0, 1, 2])  # with d = 4, these are the scores; the largest comes last
    low = torch.tensor([[-1000.0], [-1001.0], [-999.0]])
    return [
        (q, K, V, 2),
        (torch.ones(1), -low, torch.tensor([[1.0], [2], [3]]), 2),  # scores that overflow a plain exp
        (torch.ones(1), low, torch.tensor([[1.0], [2], [3]]), 2),  # scores whose exp is 0
        (torch.ones(1), torch.tensor([[1000.0], [-1000]]), torch.tensor([[1.0], [2]]), 1),  # a block far below the peak
        (draw.normal(3), draw.normal(5, 3), draw.normal(5, 2), 1),
        (draw.normal(2), draw.normal(3, 2), draw.normal(3, 3), 8),  # one block holds all
        (draw.normal(3) * 2, draw.normal(7, 3), draw.normal(7, 2), 3),
    ]


@online_attention.cost
def _(draw):
    return (draw.normal(3), draw.normal(101, 3), draw.normal(101, 2), 2), [
        (
            lambda spent: spent.largest < 101,
            "with n = 101 keys and block = 2, it makes a tensor of 101 numbers or more. No tensor should grow with n.",
        ),
        (
            lambda spent: spent.calls > 50,
            "with n = 101 keys and block = 2, it takes fewer steps than there are blocks: it reads more than `block` "
            "keys at a time.",
        ),
    ]


def _blocks(q, K, V, block, first=-INFINITY):
    """The pieces of an online softmax: for each block m, the old m, its scores and values."""
    peak = q.new_tensor(first)
    for start in range(0, len(K), block):
        scores, values = K[start : start + block] @ q / math.sqrt(len(q)), V[start : start + block]
        old_peak, peak = peak, torch.maximum(peak, scores.max())
        yield old_peak, peak, scores, values


@online_attention.mistake(
    "all keys at once",
    "All n scores, or a copy of all keys, exist at the same time. Walk over the blocks and keep only m, l and o: see "
    '"The matrix that nobody wants".',
)
def _(q, K, V, block):
    return (K @ q / math.sqrt(len(q))).softmax(0) @ V


@online_attention.mistake(
    "block taken for the number of blocks",
    "block says how many keys are read at a time, as in range(0, n, block) or K.split(block); K.chunk(block) makes so "
    "many pieces.",
)
def _(q, K, V, block):
    peak, total, mixed = q.new_tensor(-INFINITY), q.new_zeros(()), q.new_zeros(V.shape[1])
    for keys, values in zip(K.chunk(block), V.chunk(block), strict=True):
        scores = keys @ q / math.sqrt(len(q))
        higher = torch.maximum(peak, scores.max())
        old, e = torch.exp(peak - higher), torch.exp(scores - higher)
        peak, total, mixed = higher, total * old + e.sum(), mixed * old + e @ values
    return mixed / total


@online_attention.mistake(
    "nothing is rescaled",
    "When a block brings a higher peak, what was summed before was measured from a lower one: multiply both l and o by "
    'e^(old m - new m). See "Merge two blocks".',
)
def _(q, K, V, block):
    total = mixed = 0
    for _, peak, scores, values in _blocks(q, K, V, block):
        e = torch.exp(scores - peak)
        total, mixed = total + e.sum(), mixed + e @ values
    return mixed / total


@online_attention.mistake(
    "o is not rescaled", "With a higher peak, the sum of values shrinks like the total: o needs the same factor."
)
def _(q, K, V, block):
    total = mixed = 0
    for old_peak, peak, scores, values in _blocks(q, K, V, block):
        e = torch.exp(scores - peak)
        total, mixed = total * torch.exp(old_peak - peak) + e.sum(), mixed + e @ values
    return mixed / total


@online_attention.mistake(
    "l is not rescaled", "With a higher peak, the total shrinks like the sum of values: l needs the same factor."
)
def _(q, K, V, block):
    total = mixed = 0
    for old_peak, peak, scores, values in _blocks(q, K, V, block):
        e = torch.exp(scores - peak)
        total, mixed = total + e.sum(), mixed * torch.exp(old_peak - peak) + e @ values
    return mixed / total


@online_attention.mistake(
    "only the block's own peak",
    "m is the largest score so far and must never fall: where a block lies far below it, e^(old m - new m) overflows. "
    "Take torch.maximum of the old m and the block's.",
)
def _(q, K, V, block):
    peak, total, mixed = q.new_tensor(-INFINITY), q.new_zeros(()), q.new_zeros(V.shape[1])
    for _, _, scores, values in _blocks(q, K, V, block):
        old_peak, peak = peak, scores.max()
        e, factor = torch.exp(scores - peak), torch.exp(old_peak - peak)
        total, mixed = total * factor + e.sum(), mixed * factor + e @ values
    return mixed / total


@online_attention.mistake(
    "NaN from the first block on",
    "There the old m is -inf. Both the factor, e^(old m - new m), and the block's powers, e^(score - new m), are "
    "measured to the new m, which is finite.",
)
def _(q, K, V, block):
    total = mixed = 0
    for old_peak, peak, scores, values in _blocks(q, K, V, block):
        e, factor = torch.exp(scores - peak), torch.exp(peak - old_peak)
        total, mixed = total * factor + e.sum(), mixed * factor + e @ values
    return mixed / total


@online_attention.mistake(
    "the factor is upside down",
    "What was summed before must shrink when the peak rises: e^(old m - new m), never above 1.",
)
def _(q, K, V, block):
    total = mixed = None
    for old_peak, peak, scores, values in _blocks(q, K, V, block):
        e, factor = torch.exp(scores - peak), torch.exp(peak - old_peak)
        total, mixed = (
            (e.sum(), e @ values) if total is None else (total * factor + e.sum(), mixed * factor + e @ values)
        )
    return mixed / total


@online_attention.mistake(
    "the old peak instead of the new one",
    "The new powers are measured from the peak before this block. Raise m first, then take e^(score - m).",
)
def _(q, K, V, block):
    total = mixed = None
    for old_peak, peak, scores, values in _blocks(q, K, V, block):
        if total is None:
            e = torch.exp(scores - peak)
            total, mixed = e.sum(), e @ values
        else:
            e, factor = torch.exp(scores - old_peak), torch.exp(old_peak - peak)
            total, mixed = total * factor + e.sum(), mixed * factor + e @ values
    return mixed / total


@online_attention.mistake(
    "only the block's own peak",
    "m is the largest score so far, of all blocks up to this one: torch.maximum of the old m and the block's.",
)
def _(q, K, V, block):
    total = mixed = old_peak = None
    for _, _, scores, values in _blocks(q, K, V, block):
        e = torch.exp(scores - scores.max())
        if old_peak is None:
            total, mixed = e.sum(), e @ values
        else:
            factor = torch.exp(old_peak - torch.maximum(old_peak, scores.max()))
            total, mixed = total * factor + e.sum(), mixed * factor + e @ values
        old_peak = scores.max()
    return mixed / total


@online_attention.mistake(
    "the ragged rest is left out",
    "The last block may be shorter, and counts as well: range(0, n, block) reaches it, and slices stop at the end by "
    "themselves.",
)
def _(q, K, V, block):
    whole = len(K) // block * block
    total = mixed = q.new_zeros(())
    for old_peak, peak, scores, values in _blocks(q, K[:whole], V[:whole], block):
        e, factor = torch.exp(scores - peak), torch.exp(old_peak - peak)
        total, mixed = total * factor + e.sum(), mixed * factor + e @ values
    return (mixed / total).expand(V.shape[1])


@online_attention.mistake(
    "the blocks are averaged",
    "Each block has its own softmax here, and all count alike. A block with higher scores must count for more: "
    'see "Merge two blocks".',
)
def _(q, K, V, block):
    return torch.stack([scores.softmax(0) @ values for _, _, scores, values in _blocks(q, K, V, block)]).mean(0)


@online_attention.mistake(
    "the blocks are added", "Each block has its own softmax here: the shares of all keys together should add up to 1."
)
def _(q, K, V, block):
    return sum(scores.softmax(0) @ values for _, _, scores, values in _blocks(q, K, V, block))


@online_attention.mistake(
    "only the last block", "Each block is merged with what was there before; here it replaces it."
)
def _(q, K, V, block):
    return [scores.softmax(0) @ values for _, _, scores, values in _blocks(q, K, V, block)][-1]


@online_attention.mistake(
    "it overflows",
    "exp(1000) is infinite. Measure every score from m, the largest so far, and no exponent is above 0.",
)
def _(q, K, V, block):
    total = mixed = 0
    for _, _, scores, values in _blocks(q, K, V, block):
        total, mixed = total + scores.exp().sum(), mixed + scores.exp() @ values
    return mixed / total


@online_attention.mistake(
    "m begins at 0",
    "If all scores are far below 0, every power is 0, and so is the total. Begin with minus infinity.",
)
def _(q, K, V, block):
    total = mixed = 0
    for old_peak, peak, scores, values in _blocks(q, K, V, block, first=0.0):
        e, factor = torch.exp(scores - peak), torch.exp(old_peak - peak)
        total, mixed = total * factor + e.sum(), mixed * factor + e @ values
    return mixed / total


def _merged(q, K, V, block, scale=None):
    """The right answer, with another scale for the scores if wished: -> l, o."""
    total = mixed = 0
    scaled = q if scale is None else q * math.sqrt(len(q)) / scale
    for old_peak, peak, scores, values in _blocks(scaled, K, V, block):
        e, factor = torch.exp(scores - peak), torch.exp(old_peak - peak)
        total, mixed = total * factor + e.sum(), mixed * factor + e @ values
    return total, mixed


@online_attention.mistake(
    "not divided at the end", "o is a sum of values that is not divided yet: the output is o / l."
)
def _(q, K, V, block):
    return _merged(q, K, V, block)[1]


@online_attention.mistake("no scaling", "The scores are not divided by sqrt(d), where d is the length of the query.")
def _(q, K, V, block):
    total, mixed = _merged(q, K, V, block, 1.0)
    return mixed / total


@online_attention.mistake("divided by d", "Divide the scores by sqrt(d), not by d.")
def _(q, K, V, block):
    total, mixed = _merged(q, K, V, block, len(q))
    return mixed / total


@online_attention.mistake(
    "scaled by the length of the values", "The d under the root is the length of the query and the keys."
)
def _(q, K, V, block):
    total, mixed = _merged(q, K, V, block, math.sqrt(V.shape[1]))
    return mixed / total


@online_attention.mistake(
    "scaled by the length of the block", "The d under the root is the length of the query, not of the block."
)
def _(q, K, V, block):
    total, mixed = _merged(q, K, V, block, math.sqrt(block))
    return mixed / total


@online_attention.mistake("keys where values belong", "Keys are only matched; what is summed up are the values.")
def _(q, K, V, block):
    total, mixed = _merged(q, K, K, block)
    return mixed / total
