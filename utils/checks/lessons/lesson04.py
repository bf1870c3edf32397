"""Lesson 04: multi-head attention."""

import math

import torch

from utils.checks.engine import SDPA, exercise


def _named(*shape: int) -> torch.Tensor:
    """Entries that carry their names, one digit for each dimension: 112 is the entry (1, 1, 2)."""
    index = torch.cartesian_prod(*[torch.arange(n) for n in shape])
    return (index * 10 ** torch.arange(len(shape)).flip(0)).sum(1).reshape(shape).float()


# ---- split_heads -------------------------------------------------------------------------------------------


@exercise(stars=1)
def split_heads(X, n_heads):
    """Head h gets the columns h*D/H ... (h+1)*D/H - 1 of every word: X (B, T, D) -> (B, H, T, D/H)."""
    size, left_over = divmod(X.shape[2], n_heads)
    if left_over:
        raise ValueError(f"{X.shape[2]} columns cannot be split into {n_heads} equal heads")
    return torch.stack([X[:, :, h * size : (h + 1) * size] for h in range(n_heads)], dim=1)


@split_heads.cases
def _(draw):
    # The first is a sentence of two words: word 1 has the columns 10 ... 15, word 2 has 20 ... 25.
    return [
        (_named(1, 3, 6)[:, 1:], 2),
        (draw.normal(2, 3, 4), 1),
        (draw.normal(2, 3, 6), 3),
        (draw.normal(2, 5, 8), 4),
        (_named(1, 3, 5)[:, 1:], 2),
        (draw.normal(3, 4, 6), 6),
    ]


@split_heads.mistake(
    "one reshape, and no swap",
    "It has the right shape and cuts the sentence, not the columns: memory lies word by word. Split the last dimension "
    'in two first, then swap. See "A view is not a split".',
)
def _(X, n_heads):
    B, T, D = X.shape
    return X.reshape(B, n_heads, T, D // n_heads)


@split_heads.mistake(
    "heads interleaved",
    "Head h owns D/H neighboring columns, not every H-th one. In the reshape, n_heads comes before the columns of a "
    "head.",
)
def _(X, n_heads):
    B, T, D = X.shape
    return X.reshape(B, T, D // n_heads, n_heads).permute(0, 3, 1, 2)


@split_heads.mistake(
    "heads not moved to the front",
    "The columns are split as they should be. Now swap words and heads: a head becomes a dimension in front, like the "
    "batch.",
)
def _(X, n_heads):
    B, T, D = X.shape
    return X.reshape(B, T, n_heads, D // n_heads)


@split_heads.mistake(
    "number and size of the heads exchanged",
    "There are n_heads heads of D/H columns each: n_heads comes first in the reshape, D // n_heads after it.",
)
def _(X, n_heads):
    B, T, D = X.shape
    return X.reshape(B, T, D // n_heads, n_heads).transpose(1, 2)


@split_heads.mistake(
    "swapped before the reshape",
    "Split the columns first, (B, T, H, D/H), then swap words and heads. The other way round mixes words and columns.",
)
def _(X, n_heads):
    B, T, D = X.shape
    return X.transpose(1, 2).reshape(B, n_heads, T, D // n_heads)


@split_heads.mistake(
    "each head lies on its side",
    "Within a head a word should be a row, as everywhere: (B, H, T, D/H). The last two dimensions are exchanged here.",
)
def _(X, n_heads):
    B, T, D = X.shape
    return X.transpose(1, 2).reshape(B, n_heads, D // n_heads, T)


@split_heads.mistake(
    "heads before the batch", "The batch stays in front: (B, H, T, D/H). With torch.stack, that is dim=1 and not dim=0."
)
def _(X, n_heads):
    size = X.shape[2] // n_heads
    return torch.stack([X[:, :, h * size : (h + 1) * size] for h in range(n_heads)])


for _dim in range(3):

    @split_heads.mistake(
        "torch.cat where torch.stack belongs",
        "The heads are a dimension of their own: torch.stack makes it, dim=1. torch.cat only lengthens one that is "
        "there already.",
    )
    def _(X, n_heads, dim=_dim):
        return torch.cat(X.split(X.shape[2] // n_heads, dim=2), dim=dim)


@split_heads.mistake(
    "columns that are left over are dropped",
    "Where D cannot be divided by the number of heads, a part of every word would be lost, and nobody would notice. "
    "If D % n_heads is not 0, raise a ValueError.",
)
def _(X, n_heads):
    size = X.shape[2] // n_heads
    return torch.stack([X[:, :, h * size : (h + 1) * size] for h in range(n_heads)], dim=1)


# ---- merge_heads -------------------------------------------------------------------------------------------


@exercise(stars=1)
def merge_heads(X):
    """What the heads have of a word, side by side: X (B, H, T, D/H) -> (B, T, D)."""
    return torch.cat([X[:, h] for h in range(X.shape[1])], dim=-1)


@merge_heads.cases
def _(draw):
    # The first: two heads of two columns, three words. 132 is head 1, word 3, column 2.
    return [
        (_named(1, 3, 4, 3)[:, 1:, 1:, 1:],),
        (draw.normal(2, 1, 3, 4),),
        (draw.normal(2, 4, 3, 1),),
        (draw.normal(3, 3, 3, 3),),
        (draw.normal(2, 3, 5, 2),),
    ]


@merge_heads.mistake(
    "one reshape, and no swap",
    "The shape is right, but a row is filled up with the next words of the same head. Swap heads and words first, "
    'then reshape. See "A view is not a split".',
)
def _(X):
    B, H, T, size = X.shape
    return X.reshape(B, T, H * size)


@merge_heads.mistake(
    "heads interleaved",
    "Each word should hold all columns of head 0, then all of head 1. Here the first columns of all heads come first.",
)
def _(X):
    B, H, T, size = X.shape
    return X.permute(0, 2, 3, 1).reshape(B, T, H * size)


@merge_heads.mistake(
    "swapped, and not joined",
    "Words and heads are exchanged as they should be. Now make one dimension of the last two: reshape to (B, T, D).",
)
def _(X):
    return X.transpose(1, 2)


@merge_heads.mistake(
    "heads added up",
    "That mixes the heads and loses what each said. Put them side by side; mixing is the work of W^O, afterwards.",
)
def _(X):
    return X.sum(1)


@merge_heads.mistake(
    "heads averaged", "Put them side by side: no number is lost. Mixing is the work of W^O, afterwards."
)
def _(X):
    return X.mean(1)


@merge_heads.mistake(
    "heads one below the other",
    "That makes a sentence of H*T words. Join along the columns, the last dimension: a word's parts stand in one row.",
)
def _(X):
    return torch.cat(list(X.unbind(1)), dim=1)


@merge_heads.mistake(
    "heads joined along the batch",
    "That makes H*B sentences. torch.cat joins along the first dimension unless told otherwise: dim=-1 joins columns.",
)
def _(X):
    return torch.cat(list(X.unbind(1)))


@merge_heads.mistake(
    "the wrong two dimensions swapped",
    "Swap words and heads, dimensions 1 and 2, so that the columns of a head stay together as the last one.",
)
def _(X):
    B, H, T, size = X.shape
    return X.transpose(2, 3).reshape(B, T, H * size)


# ---- multi_head_attention ----------------------------------------------------------------------------------


def _attend(q, K, V):
    """One query: softmax(k_i . q / sqrt(d)) over i, and the values weighted by it."""
    return (torch.stack([k @ q for k in K]) / math.sqrt(len(q))).softmax(0) @ V


def _heads_by_loops(X, Wq, Wk, Wv, n_heads):
    """What each head hears: a list of H tensors (B, T, D/H)."""
    size, heads = X.shape[2] // n_heads, []
    for h in range(n_heads):
        mine = slice(h * size, (h + 1) * size)
        sentences = [(x @ Wq[:, mine], x @ Wk[:, mine], x @ Wv[:, mine]) for x in X]
        heads.append(torch.stack([torch.stack([_attend(q, K, V) for q in Q]) for Q, K, V in sentences]))
    return heads


@exercise(stars=2, forbidden=SDPA)
def multi_head_attention(X, Wq, Wk, Wv, Wo, n_heads):
    """Attention with each head's columns of X Wq, X Wk, X Wv, joined, times Wo: X (B, T, D), W (D, D) -> (B, T, D)."""
    return torch.cat(_heads_by_loops(X, Wq, Wk, Wv, n_heads), dim=-1) @ Wo


def _small_layer(draw, B: int, T: int, D: int) -> list:
    """Whole numbers, set in part, so that no mistake looks right by chance; no exp overflows."""
    X, *matrices = (draw.small(*shape).clamp(-1, 1) for shape in ((B, T, D), *[(D, D)] * 4))
    X[:, :, 0], X[:, :, 1] = torch.arange(1.0, B * T + 1).reshape(B, T), 2
    for W, set_by_hand in zip(
        matrices, ([[1, -1], [0, 1]], [[1, -1], [1, 1]], [[2, -1], [1, 1]], [[3, -4], [0, 2]]), strict=True
    ):
        W[:2, :2] = torch.tensor(set_by_hand)
    return [X, *matrices]


def _layer(draw, B: int, T: int, D: int) -> list:
    return [draw.normal(B, T, D), *[draw.normal(D, D) / 2 for _ in range(4)]]


def _layers(draw):
    """One word (only Wv and Wo count), also in two sentences; two words, two heads or one; and larger ones."""
    return [
        (*_small_layer(draw, 1, 1, 2), 2),
        (*_small_layer(draw, 2, 1, 2), 2),
        (*_small_layer(draw, 1, 2, 2), 2),
        (*_small_layer(draw, 1, 2, 2), 1),
        (*_small_layer(draw, 1, 2, 4), 2),
        (*_layer(draw, 1, 3, 8), 4),
        (*_layer(draw, 2, 5, 6), 2),
    ]


multi_head_attention.cases(_layers)


def _split(X, n_heads):
    return X.reshape(*X.shape[:2], n_heads, -1).transpose(1, 2)


def _merge(heads):
    return heads.transpose(1, 2).flatten(2)


def _weights(q, k):
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)


def _heads(X, Wq, Wk, Wv, n_heads):
    """Queries, keys and values of all heads: (B, H, T, D/H) each."""
    return [_split(X @ W, n_heads) for W in (Wq, Wk, Wv)]


@multi_head_attention.mistake(
    "no scaling", 'The scores are not divided by sqrt(D/H), so the softmax is too sure. See "sqrt(d) of what?".'
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    return _merge((q @ k.mT).softmax(-1) @ v) @ Wo


@multi_head_attention.mistake(
    "scaled by sqrt(D), the size of the model",
    'A score adds up D/H products, the length of one head\'s query: divide by sqrt(D/H). See "sqrt(d) of what?".',
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    return _merge((q @ k.mT / math.sqrt(X.shape[2])).softmax(-1) @ v) @ Wo


@multi_head_attention.mistake(
    "divided by D/H, not by its root", "The typical score grows like the root of a head's length: divide by sqrt(D/H)."
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    return _merge((q @ k.mT / q.shape[-1]).softmax(-1) @ v) @ Wo


@multi_head_attention.mistake(
    "split by one reshape, and no swap",
    "Each word hears only a part of the sentence: the reshape cuts it by words, not by columns. "
    'See "A view is not a split".',
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    B, T, D = X.shape
    q, k, v = ((X @ W).reshape(B, n_heads, T, D // n_heads) for W in (Wq, Wk, Wv))
    return (_weights(q, k) @ v).reshape(B, T, D) @ Wo


@multi_head_attention.mistake(
    "merged by one reshape, and no swap",
    "The heads are right, but on the way back words and heads must be swapped before they are joined: "
    "(B, H, T, D/H), (B, T, H, D/H), (B, T, D).",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    return (_weights(q, k) @ v).reshape(X.shape) @ Wo


@multi_head_attention.mistake(
    "the heads attend to one another",
    "After the reshape to (B, T, H, D/H) words and heads were not swapped, so each word compares its own heads, "
    "and no word hears another.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = (X @ W for W in (Wq, Wk, Wv))
    q, k, v = (part.reshape(*X.shape[:2], n_heads, -1) for part in (q, k, v))
    return (_weights(q, k) @ v).flatten(2) @ Wo


@multi_head_attention.mistake(
    "heads interleaved",
    "Head h owns D/H neighboring columns of the queries, keys and values, not every H-th one.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = ((X @ W).reshape(*X.shape[:2], -1, n_heads).permute(0, 3, 1, 2) for W in (Wq, Wk, Wv))
    return (_weights(q, k) @ v).permute(0, 2, 3, 1).flatten(2) @ Wo


@multi_head_attention.mistake(
    "joined with the heads interleaved",
    "The heads are right, but Wo wants all columns of head 0, then all of head 1: torch.cat of the heads, dim=-1, or "
    "a swap and a reshape. A stack along the last dimension puts the first columns of all heads first.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    return (_weights(q, k) @ v).permute(0, 2, 3, 1).flatten(2) @ Wo


@multi_head_attention.mistake(
    "a single head", "It attends with all D columns at once: n_heads plays no part. Split before you attend."
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    return _weights(X @ Wq, X @ Wk) @ (X @ Wv) @ Wo


@multi_head_attention.mistake("without W^O", 'The joined heads still have to be multiplied by Wo. See "What W^O does".')
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    return _merge(_weights(q, k) @ v)


@multi_head_attention.mistake(
    "softmax over the askers",
    "Each query divides its own attention: the weights of one row, dim=-1, add up to one, not those of a column.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    return _merge((q @ k.mT / math.sqrt(q.shape[-1])).softmax(-2) @ v) @ Wo


@multi_head_attention.mistake(
    "softmax over the heads",
    "Every head has weights of its own: they add up to one over the keys, dim=-1, not over the heads.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    return _merge((q @ k.mT / math.sqrt(q.shape[-1])).softmax(1) @ v) @ Wo


@multi_head_attention.mistake(
    "queries and keys exchanged", "Row i answers for word i: its query meets all keys, q @ k.mT, not k @ q.mT."
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    return _merge(_weights(k, q) @ v) @ Wo


@multi_head_attention.mistake(
    "keys where values belong", "Keys are only matched; what travels are the values: the weights meet v, from X @ Wv."
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, _ = _heads(X, Wq, Wk, Wv, n_heads)
    return _merge(_weights(q, k) @ k) @ Wo


@multi_head_attention.mistake(
    "the matrices are transposed",
    "A word is a row here, X @ Wq. Only nn.Linear and nn.MultiheadAttention store the transposed matrix.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq.T, Wk.T, Wv.T, n_heads)
    return _merge(_weights(q, k) @ v) @ Wo.T


@multi_head_attention.mistake(
    "W^O transposed",
    "The joined heads of a word are a row, too: they are multiplied by Wo as it is. Only nn.Linear and "
    "nn.MultiheadAttention store the transposed matrix.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    return _merge(_weights(q, k) @ v) @ Wo.T


# ---- head_importance ---------------------------------------------------------------------------------------


@exercise(stars=3, course=frozenset())
def head_importance(X, Wq, Wk, Wv, Wo, n_heads):
    """How far the output moves, as a Frobenius norm over (B, T, D), when head h is zeroed before Wo: (H,)."""
    heads, norms = _heads_by_loops(X, Wq, Wk, Wv, n_heads), []
    full = torch.cat(heads, dim=-1) @ Wo
    for h in range(n_heads):
        silent = [torch.zeros_like(head) if other == h else head for other, head in enumerate(heads)]
        moved = full - torch.cat(silent, dim=-1) @ Wo
        norms.append((moved * moved).sum().sqrt())
    return torch.stack(norms)


head_importance.cases(_layers)


def _all_heads(X, Wq, Wk, Wv, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    return _weights(q, k) @ v


def _without(heads, h, Wo):
    """The output with head h silent."""
    kept = torch.arange(heads.shape[1]).ne(h)[:, None, None]
    return _merge(heads * kept.to(heads)) @ Wo


def _moved(X, Wq, Wk, Wv, Wo, n_heads):
    """Full output minus the output with each head silent in turn: (H, B, T, D)."""
    heads = _all_heads(X, Wq, Wk, Wv, n_heads)
    return torch.stack([_merge(heads) @ Wo - _without(heads, h, Wo) for h in range(n_heads)])


@head_importance.mistake(
    "the norm of what is left",
    "That measures the output without the head. How far did the output move? Subtract it from the full output first, "
    "then take the norm.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    heads = _all_heads(X, Wq, Wk, Wv, n_heads)
    return torch.stack([_without(heads, h, Wo).norm() for h in range(n_heads)])


@head_importance.mistake(
    "a difference of norms",
    "First subtract the two outputs, entry by entry, then take the norm. Two different outputs may be equally long.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    heads = _all_heads(X, Wq, Wk, Wv, n_heads)
    return torch.stack([(_merge(heads) @ Wo).norm() - _without(heads, h, Wo).norm() for h in range(n_heads)])


@head_importance.mistake(
    "measured before W^O",
    "That is the size of what the head hears. What it writes into the output goes through its band of W^O, which may "
    'enlarge it or drop it: see "What W^O does".',
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    return _all_heads(X, Wq, Wk, Wv, n_heads).pow(2).sum((0, 2, 3)).sqrt()


@head_importance.mistake(
    "silenced heads stay silent",
    "From the second turn on, more than one head is missing. Begin each turn with all heads: work on a copy, made by "
    ".clone().",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    heads, found = _all_heads(X, Wq, Wk, Wv, n_heads), []
    silent = heads.clone()
    for h in range(n_heads):
        silent = silent * torch.arange(n_heads).ne(h)[:, None, None].to(X)
        found.append((_merge(heads) @ Wo - _merge(silent) @ Wo).norm())
    return torch.stack(found)


@head_importance.mistake(
    "columns of W^O zeroed, not rows",
    "The band of head h in Wo is rows: they meet what the head hears. A column of Wo holds one number of the output, "
    "to which all heads contribute.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    output = _merge(_all_heads(X, Wq, Wk, Wv, n_heads)) @ Wo
    return torch.stack([part.norm() for part in output.chunk(n_heads, dim=-1)])


@head_importance.mistake(
    "every H-th column silenced",
    "Head h owns D/H neighboring columns of the joined heads, h*D/H to (h+1)*D/H - 1.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    joined = _merge(_all_heads(X, Wq, Wk, Wv, n_heads))
    return torch.stack([(joined[..., h::n_heads] @ Wo[h::n_heads]).norm() for h in range(n_heads)])


@head_importance.mistake(
    "the query silenced, not the head",
    "A head with a query of zeros is not silent: its scores are all equal, and it hears the average of all values. "
    "Put zeros where its result stands, before Wo.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    moved = _weights(q, k) @ v - _weights(0 * q, k) @ v
    return torch.stack([(moved[:, h] @ Wo[h * q.shape[-1] : (h + 1) * q.shape[-1]]).norm() for h in range(n_heads)])


@head_importance.mistake("squared", "The Frobenius norm is the root of the sum of all squares: the root is missing.")
def _(X, Wq, Wk, Wv, Wo, n_heads):
    return _moved(X, Wq, Wk, Wv, Wo, n_heads).pow(2).sum((1, 2, 3))


@head_importance.mistake(
    "a mean where the sum belongs",
    "The Frobenius norm is the root of the sum of all squares, over the whole batch: nothing is divided by a number of "
    "entries.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    return _moved(X, Wq, Wk, Wv, Wo, n_heads).pow(2).mean((1, 2, 3)).sqrt()


@head_importance.mistake(
    "the absolute values added up",
    "The Frobenius norm squares the entries, adds them up, and takes the root.",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    return _moved(X, Wq, Wk, Wv, Wo, n_heads).abs().sum((1, 2, 3))


for _part, _over in {"word": (3,), "sentence": (2, 3)}.items():
    for _join in (torch.sum, torch.mean):

        @head_importance.mistake(
            f"one norm for every {_part}",
            "There is one norm for each head, over sentences, words and columns together: add up all squares, take one "
            "root at the end. A sum or a mean of several norms is another number.",
        )
        def _(X, Wq, Wk, Wv, Wo, n_heads, over=_over, join=_join):
            return join(_moved(X, Wq, Wk, Wv, Wo, n_heads).norm(dim=over).flatten(1), dim=1)


@head_importance.mistake("no scaling", "The heads themselves are wrong: their scores are not divided by sqrt(D/H).")
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    parts = (q @ k.mT).softmax(-1) @ v @ Wo.reshape(n_heads, -1, Wo.shape[1])
    return parts.pow(2).sum((0, 2, 3)).sqrt()


@head_importance.mistake(
    "scaled by sqrt(D), the size of the model",
    "The heads themselves are wrong: a score adds up D/H products, so divide by sqrt(D/H).",
)
def _(X, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = _heads(X, Wq, Wk, Wv, n_heads)
    weights = (q @ k.mT / math.sqrt(X.shape[2])).softmax(-1)
    parts = weights @ v @ Wo.reshape(n_heads, -1, Wo.shape[1])
    return parts.pow(2).sum((0, 2, 3)).sqrt()
