"""Lesson 03: matrices."""

import math

import torch

from utils.checks.engine import SDPA, exercise
from utils.checks.lessons import lesson02


@exercise(stars=1, forbidden=SDPA)
def self_attention(X, Wq, Wk, Wv):
    """Q = X Wq and so on, softmax(Q K^T / sqrt(d)) along each row, times V: X (n, d_in), W (d_in, d) -> (n, d)."""
    Q, K, V = (X @ W for W in (Wq, Wk, Wv))
    scores = Q @ K.T / math.sqrt(Q.shape[1])
    shares = scores.softmax(1)
    outputs = shares @ V
    return outputs


@self_attention.cases
def _(draw):
    # Set in part, so that no mistake looks right by chance; with d = 4, the scores are divided by 2.
    X, Wv = torch.tensor([[1.0, 0], [1, 2]]), draw.small(2, 4)
    Wv[:, :2] = torch.tensor([[1.0, -1], [2, 1]])
    return [
        (X, torch.tensor([[2.0, 1, 0, 0], [0, 1, 0, 0]]), torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]]), Wv),
        (draw.normal(5, 3), *[draw.normal(3, 3) for _ in range(3)]),
        (draw.normal(4, 4), *[draw.normal(4, 2) for _ in range(3)]),
        (draw.normal(3, 2), *[draw.normal(2, 5) for _ in range(3)]),
        [draw.normal(3, 3) for _ in range(4)],  # where every product fits
    ]


@self_attention.cost
def _(draw):
    loop = "a Python loop goes over the words: 60 of them take 60 calls or more. A few matrix products do it all."
    return (draw.normal(60, 3), *[draw.normal(3, 2) for _ in range(3)]), [(lambda spent: spent.calls < 60, loop)]


# By hand, what is subtracted before the powers: nothing, the row's largest score, or, wrongly, that of another row.
self_attention.patches("""
a loop over the words: = torch.stack([(X @ Wk @ q / math.sqrt(len(q))).softmax(0) @ (X @ Wv) for q in X @ Wq])
    Lesson 02 needed it; here Q @ K.T holds the scores of all words at once, and one more product all outputs.
no scaling: / math.sqrt(Q.shape[1]) ->
divided by d: math.sqrt(Q.shape[1]) -> Q.shape[1]
scaled by the inputs' length: Q.shape[1] -> X.shape[1]
    The d under the root is the length of the queries and keys (the columns of Wq), not that of the inputs.
divided by the root of n: Q.shape[1] -> len(X)
softmax along the wrong axis: softmax(1) -> softmax(0)
    In rows, row i holds the scores of the one who asks: dim=-1. See "Break it: softmax along the wrong axis".
the totals lie across: scores.softmax(1) -> (e := torch.exp(scores)) / e.sum(1)
  | scores.softmax(1) -> (e := torch.exp(scores - scores.amax(1, keepdim=True))) / e.sum(1)
  | scores.softmax(1) -> (e := torch.exp(scores - scores.amax(1))) / e.sum(1)
    e.sum(1) is (n,), and e / e.sum(1) takes it for a row: it divides each column by a total of its own. A row is
    divided by its total with e.sum(1, keepdim=True), (n, 1).
queries and keys exchanged: Q @ K.T -> K @ Q.T
    Row i belongs to the word that asks: Q K^T. K Q^T is its transpose: see "The dictionary: from columns to rows".
the weights are transposed: shares @ -> shares.T @
    Columns and rows are mixed: in rows A = Q K^T, softmax along each row, and O = A V.
    See "The dictionary: from columns to rows".
the matrices stand in front: X @ W for -> W @ X for
    W^q I is for columns. In rows the matrix stands behind: X @ Wq, (n, d_in) (d_in, d).
the lecture's product of columns: Q @ K.T -> K.T @ Q
  | Q @ K.T -> K.T @ Q && softmax(1) -> softmax(0) && shares @ V -> V @ shares
    K^T Q is for columns. In rows it lets entries of vectors meet, (d, d), not words: take Q @ K.T, (n, n).
multiplied by sqrt(d): scores = Q @ K.T / -> scores = Q @ K.T *
one softmax for all words: scores.softmax(1) -> scores.flatten().softmax(0).view_as(scores)
    All shares together add up to 1 here. Every word has a softmax of its own, along its row: dim=-1.
divided after the softmax: / math.sqrt(Q.shape[1]) -> && softmax(1) -> softmax(1) / math.sqrt(Q.shape[1])
the matrices are transposed: X @ W for -> X @ W.T for
    Wq is (d_in, d) here, for rows: X @ Wq. X @ Wq.T is what nn.Linear does with the matrix that it stores.
no softmax: .softmax(1) ->
    The scores are not shares yet: softmax along each row, before the product with V.
keys where values belong: @ V -> @ K
inputs where values belong: @ V -> @ X
    What travels are the values, V = X Wv, not the inputs themselves.
the weights returned: return outputs -> return shares || return scores
    A and its softmax, (n, n), say how much each word hears of each. The outputs, (n, d), are these weights times V.
the output in columns: return outputs -> return outputs.T
    One output per row, (n, d), as the inputs are given: leave out the last transpose.
""")


@exercise(stars=2, forbidden=SDPA)
def masked_attention(Q, K, V, mask):
    """Row i attends to the rows j with mask[i, j] only: Q (n_q, d), K (n_k, d), V (n_k, d_v) -> (n_q, d_v)."""
    rows = zip(Q, mask, strict=True)
    return torch.stack([lesson02.masked_attend.oracle(q, K, V, may_attend) for q, may_attend in rows])


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


@masked_attention.answer
def _(Q, K, V, mask):
    scores = Q @ K.T / math.sqrt(Q.shape[1])
    allowed = scores.masked_fill(~mask, -math.inf)
    shares = allowed.softmax(1).nan_to_num(0.0)
    return shares @ V


# Many who forget the row in which nothing is allowed make another mistake as well: hence the second ways.
masked_attention.patches("""
the mask is inverted: ~mask -> mask &&? .nan_to_num(0.0) ->
the mask is not used: .masked_fill(~mask, -math.inf) ->
everybody alike where nobody may be asked: -math.inf -> -1e9 || -1e4
    A large negative number hides a key behind others, but if all scores are equally low, all get the same share.
    Use minus infinity, and set the masked weights to zero after the softmax.
hidden scores are not low enough: -math.inf -> -1e4 && nan_to_num(0.0) -> masked_fill(~mask, 0)
  | -math.inf -> -1e4 && nan_to_num(0.0) -> masked_fill(~mask.any(1, keepdim=True), 0)
the totals lie across: allowed.softmax(1) -> (e := torch.exp(allowed)) / e.sum(1)
  | allowed.softmax(1) -> (e := torch.exp(allowed - allowed.amax(1, keepdim=True))) / e.sum(1)
  | allowed.softmax(1) -> (e := torch.exp(allowed - allowed.amax(1))) / e.sum(1)
the mask comes after the softmax: .masked_fill(~mask, -math.inf) -> && nan_to_num(0.0) -> masked_fill(~mask, 0)
minus infinity after the softmax: .masked_fill(~mask, -math.inf) -> && nan_to_num(0.0) -> masked_fill(~mask, -math.inf)
    It belongs in the scores: after the softmax there are shares, between 0 and 1.
hidden scores are 0: .masked_fill(~mask, -math.inf) -> * mask
  &&? nan_to_num(0.0) -> masked_fill(~mask.any(1, keepdim=True), 0) || masked_fill(~mask, 0)
the mask is added as numbers: .masked_fill(~mask, -math.inf) -> + mask
    True counts as 1, so an allowed key only gets one point more. Forbidden scores must become minus infinity.
softmax along the wrong axis: softmax(1) -> softmax(0) &&? .nan_to_num(0.0) ->
0 times minus infinity: .masked_fill(~mask, -math.inf) -> + ~mask * -math.inf &&? .nan_to_num(0.0) ->
one empty row makes all outputs zero:
  | .nan_to_num(0.0) -> && return shares -> return 0 * V[:1].expand(len(Q), -1) if shares.isnan().any() else shares
    A query that may ask nobody gets zeros; the other rows keep their outputs. Mend that row alone.
the mask is transposed: ~mask -> ~mask.T
    Row i of the mask is for query i, column j for key j: the same places as in Q K^T.
no scaling: / math.sqrt(Q.shape[1]) -> &&? .nan_to_num(0.0) ->
divided by d: math.sqrt(Q.shape[1]) -> Q.shape[1] &&? .nan_to_num(0.0) ->
scaled by the length of the values: Q.shape[1] -> V.shape[1] &&? .nan_to_num(0.0) ->
divided by the root of n: Q.shape[1] -> len(V) &&? .nan_to_num(0.0) ->
""")


@masked_attention.answer  # a softmax by hand
def _(Q, K, V, mask):
    scores = Q @ K.T / math.sqrt(Q.shape[1])
    allowed = scores.where(mask, scores.min())
    e = torch.exp(allowed - allowed.amax(1, keepdim=True)).masked_fill(~mask, 0)
    total = e.sum(1, keepdim=True)
    return e / total.where(total != 0, 1) @ V


masked_attention.patches("""
NaN where nobody may be asked: .where(total != 0, 1) -> &&? allowed - allowed.amax(1, keepdim=True) -> scores
    A row in which nothing is allowed divides 0 by 0. Set its weights to zero after the softmax.
powers that are infinite, or all 0: allowed - allowed.amax(1, keepdim=True) -> scores
  &&? e / total.where(total != 0, 1) -> (e / total).nan_to_num(0.0) || (e / total).masked_fill(~mask, 0)
  | .where(mask, scores.min()) ->
  &&? e / total.where(total != 0, 1) -> (e / total).nan_to_num(0.0) || (e / total).masked_fill(~mask, 0)
    exp(20000) is infinite, and exp(-20000) is 0. Subtract from each row the largest of the scores that are
    allowed (a masked one may be far above them): the shares stay the same.
""")


@exercise(stars=2, forbidden=SDPA)
def batched_self_attention(X, Wq, Wk, Wv):
    """Each sentence as if it were alone: X (B, n, d_in), W (d_in, d) -> (B, n, d)."""
    return torch.stack([self_attention.oracle(sentence, Wq, Wk, Wv) for sentence in X])


@batched_self_attention.cases
def _(draw):
    X = torch.tensor([[[1.0, 0], [1, 2], [0, 1]], [[0, 2], [2, 0], [1, -1]]])
    W = [torch.tensor(rows) for rows in ([[2.0, 1], [1, 0]], [[1.0, 0], [0, 1]], [[1.0, -1], [2, 1]])]
    narrow = [torch.tensor([row]) for row in ([1.0, 1, 0, 0], [1.0, 0, 1, 0], [1.0, 2, 0, -1])]
    return [
        (X, *W),
        (torch.tensor([[[1.0], [2]]]), *narrow),
        (draw.normal(2, 4, 3), *[draw.normal(3, 3) for _ in range(3)]),
        (draw.normal(2, 2, 3), *[draw.normal(3, 2) for _ in range(3)]),  # B = n = d: here even K.T fits
        (draw.normal(3, 3, 2), *[draw.normal(2, 5) for _ in range(3)]),
        (draw.normal(4, 5, 3), *[draw.normal(3, 2) for _ in range(3)]),
    ]


@batched_self_attention.answer
def _(X, Wq, Wk, Wv):
    Q, K, V = (X @ W for W in (Wq, Wk, Wv))
    scores = Q @ K.mT / math.sqrt(Q.shape[-1])
    shares = scores.softmax(-1)
    outputs = shares @ V
    return outputs


batched_self_attention.patches("""
no scaling: / math.sqrt(Q.shape[-1]) ->
divided by d: math.sqrt(Q.shape[-1]) -> Q.shape[-1]
scaled by the number of words: Q.shape[-1] -> Q.shape[1]
    In (B, n, d) the last dimension is d: Q.shape[-1]. Q.shape[1], which was d without a batch, is n now.
scaled by the number of sentences: Q.shape[-1] -> len(Q)
    In (B, n, d) the last dimension is d: Q.shape[-1]. len(Q) is B now.
scaled by the inputs' length: Q.shape[-1] -> X.shape[-1]
softmax over the queries: softmax(-1) -> softmax(1)
    The scores are (B, n, n), and those of one query lie along the last dimension: dim=-1. dim=1 was right without a
    batch.
softmax over the sentences: softmax(-1) -> softmax(0)
    dim=0 is the batch: sentences would compete with one another. Take dim=-1.
dimensions counted from the front: Q.shape[-1] -> Q.shape[1] && softmax(-1) -> softmax(1)
    shape[1] and dim=1 meant the last dimension without a batch, and mean another one now. Count from the end: -1.
K.T turns round all dimensions: K.mT -> K.permute(2, 1, 0)
  | K.mT -> K.permute(2, 1, 0) && Q.shape[-1] -> Q.shape[1] && softmax(-1) -> softmax(1)
    (B, n, d) becomes (d, n, B). K.mT swaps the last two only: see "Many sentences at once".
one long sentence: (X @ -> (X.flatten(0, 1) @ && return outputs -> return outputs.unflatten(0, X.shape[:2])
    All sentences were laid end to end, so words attend across them. Each sentence stays by itself.
words attend along the batch: (X @ -> (X.transpose(0, 1) @ && return outputs -> return outputs.transpose(0, 1)
    The first two dimensions are exchanged: a word asks the words at its own place in other sentences.
rows of sentences are mixed up:
  | (X @ -> (X.reshape(X.shape[1], X.shape[0], -1) @ && return outputs -> return outputs.reshape(*X.shape[:2], -1)
    A view or reshape to (n, B, d) only cuts the same list of numbers elsewhere. @ takes the batch as it is.
keys are reshaped, not transposed: K.mT -> K.reshape(len(K), K.shape[2], K.shape[1])
    view and reshape to (B, d, n) keep the order of the numbers; .mT (or transpose(-1, -2)) moves them.
queries and keys exchanged: Q @ K.mT -> K @ Q.mT
keys where values belong: @ V -> @ K
the matrices are transposed: W for -> W.T for
the wrong two dimensions swapped: K.mT -> K.transpose(0, 1)
    K.transpose(0, 1) swaps sentences and words: (n, B, d). The last two, words and d, change places: K.mT.
sentences laid end to end: return outputs -> return torch.cat(list(outputs))
    torch.cat lengthens a dimension that is there already, (B*n, d); torch.stack makes a new one in front, (B, n, d).
the batch of one is lost: return outputs -> return outputs.squeeze()
    squeeze() drops every dimension of size 1. One sentence is a batch, too: (1, n, d).
only the first sentence: return outputs -> return outputs[:1].expand_as(outputs)
    Every sentence of the batch has outputs of its own.
no softmax: .softmax(-1) ->
""")


@exercise(stars=3, forbidden=SDPA)
def online_attention(q, K, V, block):
    """softmax(K q / sqrt(d)) V, read `block` keys at a time: q (d,), K (n, d), V (n, d_v) -> (d_v,)."""
    peak, total, mixed = q.new_tensor(-math.inf), q.new_zeros(()), q.new_zeros(V.shape[1])
    for i in range(0, len(K), block):
        scores = K[i : i + block] @ q / math.sqrt(len(q))
        values, top = V[i : i + block], scores.max()
        higher = torch.maximum(peak, top)
        factor, e = torch.exp(peak - higher), torch.exp(scores - higher)
        total = total * factor + e.sum()
        mixed = mixed * factor + e @ values
        peak = higher
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
        # Peaks that rise twice, then a block far below them.
        (torch.ones(1), torch.tensor([[998.0], [999], [1000], [-1000]]), torch.tensor([[1.0], [2], [3], [4]]), 1),
        (draw.normal(3), draw.normal(5, 3), draw.normal(5, 2), 1),
        (draw.normal(2), draw.normal(3, 2), draw.normal(3, 3), 8),  # one block holds all
        (draw.normal(3) * 2, draw.normal(7, 3), draw.normal(7, 2), 3),
    ]


@online_attention.cost
def _(draw):
    grows = "with n = 101 keys and block = 2, it makes a tensor of 101 numbers or more. No tensor should grow with n."
    skips = "with n = 101 keys and block = 2, it takes fewer steps than there are blocks: it reads more than `block` "
    skips += "keys at a time."
    holds = "with n = 101 keys and block = 2, it holds 101 numbers or more at one moment, in many small tensors."
    rules = [(lambda spent: spent.largest < 101, grows), (lambda spent: spent.calls > 50, skips)]
    rules.append((lambda spent: spent.held < 101, holds))
    twice = "It reads each key more than once. That is exact, too; but where keys come by once, or reading is what "
    twice += 'costs, the peak has to be found on the way: see "Merge two blocks".'
    remarks = [(lambda spent: spent.read[1] <= 1.5 * 101 * 3, twice)]
    return (draw.normal(3), draw.normal(101, 3), draw.normal(101, 2), 2), rules, remarks


online_attention.patches("""
all keys at once: = (K @ q / math.sqrt(len(q))).softmax(0) @ V
    All n scores, or a copy of all keys, exist at the same time. Walk over the blocks and keep only m, l and o: see
    "The matrix that nobody wants".
all blocks are kept: scores.max() -> scores.max(); kept = [scores, *(kept if i else [])]
    Merge each block into m, l and o as soon as it is read, and forget it.
block taken for the number of blocks: = online_attention.oracle(q, K, V, math.ceil(len(K) / block))
    block says how many keys are read at a time, as in range(0, n, block) or K.split(block); K.chunk(block) makes so
    many pieces.
nothing is rescaled: torch.exp(peak - higher) -> 1
    When a block brings a higher peak, what was summed before was measured from a lower one: multiply both l and o by
    e^(old m - new m). See "Merge two blocks".
each block measured from its own peak: torch.maximum(peak, top) -> top && torch.exp(peak - higher) -> 1
    The blocks measured their powers from different peaks, so they cannot simply be added. Put both on the higher one:
    see "Merge two blocks".
o is not rescaled: mixed * factor -> mixed
    With a higher peak, the sum of values shrinks like the total: o needs the same factor.
l is not rescaled: total * factor -> total
    With a higher peak, the total shrinks like the sum of values: l needs the same factor.
only the block's own peak: torch.maximum(peak, top) -> top
    m is the largest score so far and must never fall: where a block lies far below it, e^(old m - new m) overflows.
    Take torch.maximum of the old m and the block's.
NaN from the first block on: peak - higher -> higher - peak
    There the old m is -inf. Both the factor, e^(old m - new m), and the block's powers, e^(score - new m), are
    measured to the new m, which is finite.
the factor is upside down: torch.exp(peak - higher) -> torch.exp(higher - peak) if i else 1
  | peak - higher -> higher - peak && -math.inf -> 0.0
    What was summed before must shrink when the peak rises: e^(old m - new m), never above 1.
the old peak instead of the new one: scores - higher -> scores - (peak if i else higher)
    The new powers are measured from the peak before this block. Raise m first, then take e^(score - m).
only the block's own peak: scores - higher -> scores - top && peak = higher -> peak = top
the ragged rest is left out: range(0, len(K), block) -> range(0, len(K) // block * block, block)
    The last block may be shorter, and counts as well: range(0, n, block) reaches it, and slices stop at the end by
    themselves.
the blocks are averaged:
  | torch.maximum(peak, top) -> peak && torch.exp(peak - higher), torch.exp(scores - higher) -> 1, scores.softmax(0)
    Each block has its own softmax here, and all count alike. A block with higher scores must count for more:
    see "Merge two blocks".
the blocks are added: torch.maximum(peak, top) -> peak
  && torch.exp(peak - higher), torch.exp(scores - higher) -> 1, scores.softmax(0) && mixed / total -> mixed
    Each block has its own softmax here: the shares of all keys together should add up to 1.
only the last block: peak = higher ->
    Each block is merged with what was there before; here it replaces it.
it overflows:
  | torch.maximum(peak, top) -> peak && torch.exp(peak - higher), torch.exp(scores - higher) -> 1, torch.exp(scores)
    exp(1000) is infinite. Measure every score from m, the largest so far, and no exponent is above 0.
m begins at 0: -math.inf -> 0.0
    If all scores are far below 0, every power is 0, and so is the total. Begin with minus infinity.
not divided at the end: / total ->
    o is a sum of values that is not divided yet: the output is o / l.
divided before the end: mixed * factor + e @ values -> (mixed * factor + e @ values) / total &&? mixed / total -> mixed
  | + e @ values -> + e @ values / total &&? mixed / total -> mixed
    o is the sum of values, not yet divided: only so can the next block be added. Divide by l once, after the loop.
the new block is shrunk as well: total * factor + e.sum() -> (total + e.sum()) * (factor if i else 1)
  && mixed * factor + e @ values -> (mixed + e @ values) * (factor if i else 1)
    The new powers are measured from the new peak already. Multiply l and o by the factor, then add the new block.
no scaling: / math.sqrt(len(q)) ->
divided by d: math.sqrt(len(q)) -> len(q)
scaled by the length of the values: len(q) -> V.shape[1]
scaled by the length of the block: len(q) -> block
    The d under the root is the length of the query, not of the block.
keys where values belong: V.shape[1] -> K.shape[1] && V[i -> K[i
""")


@online_attention.answer  # with the lesson's digest and merge
def _(q, K, V, block):
    seen = None
    for i in range(0, len(K), block):
        alpha = K[i : i + block] @ q / math.sqrt(len(q))
        top = alpha.max()
        e = torch.exp(alpha - top)
        l_2, o_2 = e.sum(), e @ V[i : i + block]
        if seen is None:
            seen = top, l_2, o_2
            continue
        m_1, l_1, o_1 = seen
        m = torch.maximum(m_1, top)
        f_1, f_2 = torch.exp(m_1 - m), torch.exp(top - m)
        seen = m, l_1 * f_1 + l_2 * f_2, o_1 * f_1 + o_2 * f_2
    return seen[2] / seen[1]


online_attention.patches("""
both factors are upside down: torch.exp(m_1 - m), torch.exp(top - m) -> torch.exp(m - m_1), torch.exp(m - top)
    The block with the lower peak must shrink: e^(its own m - the higher m), never above 1. Here it grows.
only what was there is rescaled: torch.exp(top - m) -> 1
    The new block may be the one with the lower peak: it has a factor of its own, e^(its m - the higher m).
the factors are exchanged: torch.exp(m_1 - m), torch.exp(top - m) -> torch.exp(top - m), torch.exp(m_1 - m)
    Each block is multiplied by the factor made of its own peak: e^(its m - the higher m).
o is not rescaled: o_1 * f_1 + o_2 * f_2 -> o_1 + o_2
l is not rescaled: l_1 * f_1 + l_2 * f_2 -> l_1 + l_2
nothing is rescaled: torch.exp(m_1 - m), -> 1,
each block measured from its own peak: torch.exp(m_1 - m), torch.exp(top - m) -> 1, 1
divided before the end: e @ V[i : i + block] -> e @ V[i : i + block] / e.sum() &&? seen[2] / seen[1] -> seen[2]
""")
