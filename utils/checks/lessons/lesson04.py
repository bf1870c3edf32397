"""Lesson 04: multi-head attention."""

import math

import torch

from utils.checks.engine import SDPA, exercise, say
from utils.checks.lessons import lesson03


def _named(*shape: int) -> torch.Tensor:
    """Entries that carry their names, one digit for each dimension: 112 is the entry (1, 1, 2)."""
    index = torch.cartesian_prod(*[torch.arange(n) for n in shape])
    return (index * 10 ** torch.arange(len(shape)).flip(0)).sum(1).reshape(shape).float()


@exercise(stars=1)
def split_heads(X, n_heads):
    """Head h gets the columns h*D/H ... (h+1)*D/H - 1 of every word: X (B, T, D) -> (B, H, T, D/H)."""
    size, left_over = divmod(X.shape[2], n_heads)
    if left_over:
        raise ValueError(say("{D} columns cannot be split into {H} equal heads", D=X.shape[2], H=n_heads))
    return torch.stack([X[:, :, h * size : (h + 1) * size] for h in range(n_heads)], dim=1)


@split_heads.cases
def _(draw):
    # The first is a sentence of two words: word 1 has the columns 10 ... 15, word 2 has 20 ... 25.
    small, odd = _named(1, 3, 6)[:, 1:], _named(1, 3, 5)[:, 1:]
    large = [(draw.normal(*shape), heads) for *shape, heads in ((2, 3, 4, 1), (2, 3, 6, 3), (2, 5, 8, 4), (3, 4, 6, 6))]
    return [(small, 2), *large, (odd, 2)]


@split_heads.answer
def _(X, n_heads):
    B, T, D = X.shape
    if D % n_heads:
        raise ValueError("the heads would not be equal")
    parts = X.reshape(B, T, n_heads, D // n_heads)
    return parts.transpose(1, 2)


split_heads.patches("""
one reshape, and no swap: T, n_heads, D // n_heads -> n_heads, T, D // n_heads && .transpose(1, 2) ->
    It has the right shape and cuts the sentence, not the columns: memory lies word by word. Split the last dimension
    in two first, then swap. See "One reshape is not a split".
heads interleaved: n_heads, D // n_heads -> D // n_heads, n_heads && transpose(1, 2) -> permute(0, 3, 1, 2)
    Head h owns D/H neighboring columns, not every H-th one. In the reshape, n_heads comes before the columns of a head.
heads not moved to the front: .transpose(1, 2) ->
    The columns are split as they should be. Now swap words and heads: a head becomes a dimension in front, like the
    batch.
number and size of the heads exchanged: n_heads, D // n_heads -> D // n_heads, n_heads
    There are n_heads heads of D/H columns each. X.split wants the length of a part, D // n_heads (chunk wants their
    number); in a reshape n_heads comes first, D // n_heads after it.
slices as wide as there are heads:
  | = torch.stack([X[:, :, h * n_heads : (h + 1) * n_heads] for h in range(n_heads)], dim=1)
    A head has D // n_heads columns, and that is how far its slice reaches: h * size to (h + 1) * size.
slices that overlap: = torch.stack([X[:, :, h : h + X.shape[2] // n_heads] for h in range(n_heads)], dim=1)
    The slice of head h begins where the one before it ends: with size = D // n_heads, h * size to (h + 1) * size.
heads counted as sentences: .transpose(1, 2) -> .transpose(1, 2).flatten(0, 1) || .reshape(B * n_heads, T, D // n_heads)
    The heads are a dimension of their own, after the batch: (B, H, T, D/H). Do not join the two.
swapped before the reshape: X.reshape(B, T, n_heads -> X.transpose(1, 2).reshape(B, n_heads, T && .transpose(1, 2) ->
    Split the columns first, (B, T, H, D/H), then swap words and heads. The other way round mixes words and columns.
each head lies on its side: transpose(1, 2) -> permute(0, 2, 3, 1)
    Within a head a word should be a row, as everywhere: (B, H, T, D/H). The last two dimensions are exchanged here.
heads before the batch: transpose(1, 2) -> permute(2, 0, 1, 3)
    The batch stays in front: (B, H, T, D/H). With torch.stack, that is dim=1 and not dim=0.
torch.cat where torch.stack belongs: parts.transpose(1, 2) -> torch.cat(parts.unbind(2), dim=0)
  || torch.cat(parts.unbind(2), dim=1) || torch.cat(parts.unbind(2), dim=2)
    The heads are a dimension of their own: torch.stack makes it, dim=1. torch.cat only lengthens one that is
    there already.
columns that are left over are dropped:
  | = torch.stack(X[:, :, : X.shape[2] // n_heads * n_heads].chunk(n_heads, dim=2), dim=1)
    Where D cannot be divided by the number of heads, a part of every word would be lost, and nobody would notice.
    If D % n_heads is not 0, raise a ValueError.
""")


@exercise(stars=1)
def merge_heads(X):
    """What the heads have of a word, side by side: X (B, H, T, D/H) -> (B, T, D)."""
    return torch.cat([X[:, h] for h in range(X.shape[1])], dim=-1)


@merge_heads.cases
def _(draw):
    # The first: two heads of two columns, three words. 132 is head 1, word 3, column 2.
    shapes = (2, 1, 3, 4), (2, 4, 3, 1), (3, 3, 3, 3), (2, 3, 5, 2)
    return [(_named(1, 3, 4, 3)[:, 1:, 1:, 1:],), *[(draw.normal(*shape),) for shape in shapes]]


@merge_heads.answer
def _(X):
    B, H, T, size = X.shape
    words = X.transpose(1, 2)
    return words.reshape(B, T, H * size)


merge_heads.patches("""
one reshape, and no swap: .transpose(1, 2) ->
    The shape is right, but a row is filled up with the next words of the same head. Swap heads and words first,
    then reshape. See "One reshape is not a split".
heads interleaved: transpose(1, 2) -> permute(0, 2, 3, 1)
    Each word should hold all columns of head 0, then all of head 1. Here the first columns of all heads come first.
swapped, and not joined: .reshape(B, T, H * size) ->
    Words and heads are exchanged as they should be. Now make one dimension of the last two: reshape to (B, T, D).
heads added up, or averaged: words.reshape(B, T, H * size) -> words.sum(2) || words.mean(2)
    That loses what each said. Put them side by side; mixing is the work of W^O, afterwards.
words brought before the sentences: transpose(1, 2) -> permute(2, 0, 1, 3)
    The batch stays in front: (B, T, H, D/H), then (B, T, D). Only words and heads change places.
heads and columns exchanged: transpose(1, 2) -> transpose(1, 3)
    Swap heads and words, dimensions 1 and 2, not heads and columns: the columns of a head stay together as the last.
heads one below the other: words.reshape(B, T, H * size) -> torch.cat(words.unbind(2), dim=1)
    That makes a sentence of H*T words. Join along the columns, the last dimension: a word's parts stand in one row.
heads joined along the batch: words.reshape(B, T, H * size) -> torch.cat(words.unbind(2))
    That makes H*B sentences. torch.cat joins along the first dimension unless told otherwise: dim=-1 joins columns.
sentences joined, not heads: words.reshape(B, T, H * size) -> torch.cat(list(X), dim=-1)
    list(X) takes the batch apart, not the heads: X.unbind(1) or X[:, h] gives the heads, (B, T, D/H) each.
the wrong two dimensions swapped: transpose(1, 2) -> transpose(2, 3)
    Swap words and heads, dimensions 1 and 2, so that the columns of a head stay together as the last one.
""")


def _heads(X, Wq, Wk, Wv, n_heads):
    """What each head hears, with columns of its own of each matrix: a list of H tensors (B, T, D/H)."""
    columns = zip(*(W.chunk(n_heads, dim=1) for W in (Wq, Wk, Wv)), strict=True)
    return [lesson03.batched_self_attention.oracle(X, *matrices) for matrices in columns]


@exercise(stars=2, forbidden=SDPA)
def multi_head_attention(X, Wq, Wk, Wv, Wo, n_heads):
    """Attention with each head's columns of X Wq, X Wk, X Wv, joined, times Wo: X (B, T, D), W (D, D) -> (B, T, D)."""
    return torch.cat(_heads(X, Wq, Wk, Wv, n_heads), dim=-1) @ Wo


def _small_layer(draw, B: int, T: int, D: int) -> list:
    """Whole numbers, set in part, so that no mistake looks right by chance; no exp overflows."""
    X, matrices = draw.small(B, T, D).clamp(-1, 1), draw.small(4, D, D).clamp(-1, 1)
    X[:, :, 0], X[:, :, 1] = torch.arange(1.0, B * T + 1).reshape(B, T), 2
    matrices[:, :2, :2] = torch.tensor([[[1, -1], [0, 1]], [[1, -1], [1, 1]], [[2, -1], [1, 1]], [[3, -4], [0, 2]]])
    return [X, *matrices]


def _layers(draw):
    """One word (only Wv and Wo count), also in two sentences; two words, two heads or one; and larger ones."""
    small = (((1, 1, 2), 2), ((2, 1, 2), 2), ((1, 2, 2), 2), ((1, 2, 2), 1), ((1, 2, 4), 2), ((2, 2, 4), 2))
    large = (((1, 3, 8), 4), ((2, 5, 6), 2))
    return [(*_small_layer(draw, *sizes), n_heads) for sizes, n_heads in small] + [
        (draw.normal(*sizes), *(draw.normal(sizes[2], sizes[2]) / 2 for _ in range(4)), n_heads)
        for sizes, n_heads in large
    ]


multi_head_attention.cases(_layers)


@multi_head_attention.answer
def _(X, Wq, Wk, Wv, Wo, n_heads):
    B, T, D = X.shape
    q, k, v = ((X @ W).reshape(B, T, n_heads, -1).transpose(1, 2) for W in (Wq, Wk, Wv))
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    heads = scores.softmax(-1) @ v
    joined = heads.transpose(1, 2).reshape(B, T, D)
    return joined @ Wo


multi_head_attention.patches("""
no scaling: / math.sqrt(q.shape[-1]) ->
    The scores are not divided by sqrt(D/H), so the softmax is too sure. See "sqrt(d) of what?".
scaled by sqrt(D), the size of the model: q.shape[-1] -> D
    A score adds up D/H products, the length of one head's query: divide by sqrt(D/H). See lesson 04,
    "sqrt(d) of what?".
scaled by the root of the number of heads: q.shape[-1] -> n_heads
    After the split q.shape[1] is the number of heads. What counts is the length of one head's query, q.shape[-1].
multiplied by the root: / math -> * math
    Divide the scores by sqrt(D/H): long queries make them large, and the softmax too sure.
divided after the softmax: / math.sqrt(q.shape[-1]) -> && softmax(-1) -> softmax(-1) / math.sqrt(q.shape[-1])
nobody hears the words after it: .softmax -> .masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf).softmax
    No mask here: every word hears all words of its sentence, those after it, too.
divided by D/H, not by its root: math.sqrt(q.shape[-1]) -> q.shape[-1]
    The typical score grows like the root of a head's length: divide by sqrt(D/H).
split by one reshape, and no swap: T, n_heads, -1).transpose(1, 2) -> n_heads, T, -1) && heads.transpose(1, 2) -> heads
    Each word hears only a part of the sentence: the reshape cuts it by words, not by columns.
    See "One reshape is not a split".
only the split by one reshape: reshape(B, T, n_heads, -1).transpose(1, 2) -> reshape(B, n_heads, T, -1)
    Your merge is right, but the split cuts the sentence by words, not by columns: (B, T, H, D/H), then the swap.
    See "One reshape is not a split".
rows of the matrices for each head, not columns: = torch.cat(_heads(X, Wq.T, Wk.T, Wv.T, n_heads), dim=-1) @ Wo
  || torch.cat(_heads(X, *(torch.cat([w.T for w in W.chunk(n_heads)], 1) for W in (Wq, Wk, Wv)), n_heads), -1) @ Wo
    A head owns columns of Wq, Wk, Wv, and every row of these: X @ Wq[:, start:end].
scaled by the number of words: q.shape[-1] -> T
    The d under the root is the length of one head's query, D/H; how many words there are plays no part.
k.T turns round all dimensions: k.mT -> k.permute(3, 2, 1, 0)
    (B, H, T, D/H) becomes (D/H, T, H, B). k.mT, or k.transpose(-2, -1), swaps the last two only.
merged by one reshape, and no swap: heads.transpose(1, 2) -> heads
    On the way back words and heads must be swapped before they are joined: (B, T, H, D/H), then (B, T, D).
the heads attend to one another: .transpose(1, 2) for -> for && heads.transpose(1, 2) -> heads
    After the reshape to (B, T, H, D/H) words and heads were not swapped: each word compares its own heads.
heads interleaved: n_heads, -1).transpose(1, 2) -> -1, n_heads).permute(0, 3, 1, 2)
  && heads.transpose(1, 2) -> heads.permute(0, 2, 3, 1)
    Head h owns D/H neighboring columns of the queries, keys and values, not every H-th one.
joined with the heads interleaved: heads.transpose(1, 2) -> heads.permute(0, 2, 3, 1)
    Wo wants all columns of head 0, then all of head 1: torch.cat of the heads, dim=-1, or a swap and a reshape.
split interleaved, joined by neighbors: n_heads, -1).transpose(1, 2) -> -1, n_heads).permute(0, 3, 1, 2)
    Head h owns D/H neighboring columns, not every H-th one: in the reshape n_heads comes before the columns.
X cut before it is projected: X @ W -> X @ (W * torch.block_diag(*[torch.ones(D // n_heads, D // n_heads)] * n_heads))
    Every head reads all of a word: multiply X by the whole matrix first, then split the result.
shares averaged over the heads: softmax(-1) -> softmax(-1).mean(1, keepdim=True)
    Each head keeps its own shares: averaged, they are one head again.
a single head: n_heads, -1 -> 1, -1 &&? q.shape[-1] -> D / n_heads
    It attends with all D columns at once: n_heads plays no part. Split before you attend.
without W^O: @ Wo ->
    The joined heads still have to be multiplied by Wo. See "What W^O does".
softmax over the askers: softmax(-1) -> softmax(-2)
    Each query divides its own attention: the weights of one row, dim=-1, add up to one, not those of a column.
softmax over the heads: softmax(-1) -> softmax(1)
    Every head has weights of its own: they add up to one over the keys, dim=-1, not over the heads.
queries and keys exchanged: q @ k.mT -> k @ q.mT
    Row i answers for word i: its query meets all keys, q @ k.mT, not k @ q.mT.
keys where values belong: @ v -> @ k
values that were not projected: softmax(-1) @ v -> softmax(-1) @ X.reshape(B, T, n_heads, -1).transpose(1, 2)
    The values are columns of X @ Wv, not of X.
the matrices are transposed: X @ W) -> X @ W.T) && @ Wo -> @ Wo.T
    A word is a row here, X @ Wq. Only nn.Linear and nn.MultiheadAttention store the transposed matrix.
W^O transposed: @ Wo -> @ Wo.T
    The joined heads of a word are a row, too: they are multiplied by Wo as it is. Only nn.Linear and
    nn.MultiheadAttention store the transposed matrix.
""")


@exercise(stars=3, course=frozenset())
def head_importance(X, Wq, Wk, Wv, Wo, n_heads):
    """How far the output moves, as a Frobenius norm over (B, T, D), when head h is zeroed before Wo: (H,)."""
    heads, norms = _heads(X, Wq, Wk, Wv, n_heads), []
    full = torch.cat(heads, dim=-1) @ Wo
    for h in range(n_heads):
        silent = [torch.zeros_like(head) if other == h else head for other, head in enumerate(heads)]
        moved = full - torch.cat(silent, dim=-1) @ Wo
        norms.append((moved * moved).sum().sqrt())
    return torch.stack(norms)


head_importance.cases(_layers)


@head_importance.answer
def _(X, Wq, Wk, Wv, Wo, n_heads):
    B, T, D = X.shape
    size, norms = D // n_heads, []
    q, k, v = ((X @ W).reshape(B, T, n_heads, size).transpose(1, 2) for W in (Wq, Wk, Wv))
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    joined = (weights @ v).transpose(1, 2).reshape(B, T, D)
    full = joined @ Wo
    for h in range(n_heads):
        columns = slice(h * size, (h + 1) * size)
        silent = joined.clone()
        silent[..., columns] = 0
        left = silent @ Wo
        moved = full - left
        norms.append(moved.pow(2).sum().sqrt())
    return torch.stack(norms)


head_importance.patches("""
the norm of what is left: full - left -> left
    That measures the output without the head. How far did the output move? Subtract it from the full output first,
    then take the norm.
a difference of norms: moved.pow(2).sum().sqrt() -> full.norm() - left.norm()
    First subtract the two outputs, entry by entry, then take the norm. Two different outputs may be equally long.
measured before W^O: joined @ Wo -> joined && silent @ Wo -> silent
    That is the size of what the head hears. What it writes into the output goes through its band of W^O, which may
    enlarge it or drop it: see "What W^O does".
silenced heads stay silent: joined.clone() -> joined
    From the second turn on, more than one head is missing. Begin each turn with all heads: work on a copy, made by
    .clone().
columns of W^O zeroed, not rows: full - left -> full[..., columns]
    The band of head h in Wo is rows: they meet what the head hears. To a column of Wo all heads contribute.
a word silenced, not a head: silent[..., columns] = 0 -> silent[:, h] = 0
    Put zeros where the results of head h stand: in (B, H, T, D/H) at [:, h], in (B, T, D) at its columns.
a sentence silenced, not a head: silent[..., columns] = 0 -> silent[h] = 0
    The first dimension counts sentences. Put zeros where the results of head h stand: in (B, H, T, D/H) at [:, h].
the size of its band of W^O: moved.pow(2).sum().sqrt() -> Wo[columns].norm()
    That band is what the head could write. What it does write depends on what it hears: its result times the band.
every H-th column silenced: slice(h * size, (h + 1) * size) -> slice(h, None, n_heads)
    Head h owns D/H neighboring columns of the joined heads, h*D/H to (h+1)*D/H - 1.
the query silenced, not the head: columns] = 0 -> columns] = v[:, h].mean(1, keepdim=True)
    A head with a query of zeros is not silent: its scores are all equal, and it hears the average of all values.
    Put zeros where its result stands, before Wo.
shares, not norms: stack(norms) -> stack(norms) / torch.stack(norms).sum() || stack(norms) / full.norm()
    Return the norms as they are: divided by another number they only say which head counts more, not how much it moves.
squared: .sqrt() ->
    The Frobenius norm is the root of the sum of all squares: the root is missing.
a mean where the sum belongs: .sum() -> .mean()
    The Frobenius norm is the root of the sum of all squares, over the whole batch: nothing is divided by a number of
    entries.
the absolute values added up: moved.pow(2).sum().sqrt() -> moved.abs().sum()
    The Frobenius norm squares the entries, adds them up, and takes the root.
several norms, one for every word or sentence: moved.pow(2).sum().sqrt() -> moved.norm(dim=2).sum()
  || moved.norm(dim=2).mean() || moved.norm(dim=(1, 2)).sum() || moved.norm(dim=(1, 2)).mean() || moved.norm(dim=(1, 2))
  | moved.pow(2).sum().sqrt() -> moved.norm(dim=(1, 2)) && return torch.stack(norms) -> return torch.stack(norms, dim=1)
    There is one norm for each head, over sentences, words and columns together: add up all squares, take one
    root at the end. A sum or a mean of several norms is another number.
not scaled by sqrt(D/H): / math.sqrt(q.shape[-1]) ->
  | q.shape[-1] -> D
    The heads themselves are wrong: a score adds up D/H products, so divide it by sqrt(D/H).
""")
