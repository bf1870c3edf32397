"""Lesson 06: seq2seq with attention."""

import math
from itertools import product

import torch

from utils.checks.engine import exercise

# ---- additive_scores ---------------------------------------------------------------------------------------


@exercise(stars=2)
def additive_scores(s, H, W, U, v):
    """v . tanh(W s + U h_i): s (d_s,), H (n, d_h), W (d_a, d_s), U (d_a, d_h), v (d_a,) -> (n,)."""
    found = []
    for h in H:
        inner = [torch.tanh(sum(w * s) + sum(u * h)) for w, u in zip(W, U, strict=True)]
        found.append(sum(v_a * x for v_a, x in zip(v, inner, strict=True)))
    return torch.stack(found)


def _asked(draw):
    """Whole numbers, set in part, so that no mistake looks right by chance: the last state is not the best."""
    first = draw.integer(0, 1)
    H = torch.tensor([[0.0, -1], [1, 2], [1, 0]])[[first, 1 - first, 2]]
    W, U = torch.tensor([[1.0, 1], [0, 1]]), torch.tensor([[1.0, 0], [2, 1]])
    return torch.tensor([1.0, -1]), H, W, U, torch.tensor([2.0, draw.integer(0, 1) * 2 - 1])


def _drawn(draw, n, d_s, d_h, d_a):
    return draw.normal(d_s), draw.normal(n, d_h), draw.normal(d_a, d_s), draw.normal(d_a, d_h), draw.normal(d_a)


def _asked_by_many(draw):
    return [
        _asked(draw),
        _drawn(draw, 3, 3, 3, 3),
        _drawn(draw, 4, 3, 3, 2),
        _drawn(draw, 1, 3, 2, 4),
        _drawn(draw, 3, 4, 2, 5),
    ]


additive_scores.cases(_asked_by_many)


@additive_scores.mistake(
    "no tanh",
    "Without the tanh the score is a sum, v . W s + v . U h_i, in which s adds the same to every state and the softmax "
    'does not notice it. See "The additive score".',
)
def _(s, H, W, U, v):
    return (W @ s + H @ U.T) @ v


@additive_scores.mistake(
    "a tanh of each part", "Add first, then take one tanh: tanh(W s + U h_i). Only inside it do s and h_i meet."
)
def _(s, H, W, U, v):
    return (torch.tanh(W @ s) + torch.tanh(H @ U.T)) @ v


@additive_scores.mistake(
    "the tanh outside", "The tanh belongs to each of the d_a entries of W s + U h_i; v then weighs what comes out."
)
def _(s, H, W, U, v):
    return torch.tanh((W @ s + H @ U.T) @ v)


@additive_scores.mistake(
    "v left out", "The d_a entries after the tanh are not simply added up: v weighs each of them, v . tanh(...)."
)
def _(s, H, W, U, v):
    return torch.tanh(W @ s + H @ U.T).sum(1)


@additive_scores.mistake(
    "softmax already taken", "Scores may be any numbers. Their softmax is the next step, and the next exercise."
)
def _(s, H, W, U, v):
    return (torch.tanh(W @ s + H @ U.T) @ v).softmax(0)


def _root(W, U, which: int) -> float:
    """The root of d_a, of d_s or of d_h."""
    return math.sqrt((*W.shape, U.shape[1])[which])


for _which in range(3):

    @additive_scores.mistake(
        "divided by a root",
        "sqrt(d) belongs to the dot product, which grows with d. The tanh never leaves -1 to 1: here nothing is "
        "divided.",
    )
    def _(s, H, W, U, v, which=_which):
        return torch.tanh(W @ s + H @ U.T) @ v / _root(W, U, which)


@additive_scores.mistake(
    "W and U exchanged", "W goes with the state that asks, s, and U with those that are asked, h_i: W s + U h_i."
)
def _(s, H, W, U, v):
    return torch.tanh(U @ s + H @ W.T) @ v


@additive_scores.mistake(
    "the matrices are transposed",
    "Vectors are columns here, W s and U h_i as in the paper. s @ W is W transposed, times s. "
    "For all rows of H at once it is H @ U.T.",
)
def _(s, H, W, U, v):
    return torch.tanh(s @ W + H @ U) @ v


@additive_scores.mistake(
    "W transposed",
    "s is a column: W @ s. s @ W is W transposed, times s; where W is square, the shape does not tell.",
)
def _(s, H, W, U, v):
    return torch.tanh(s @ W + H @ U.T) @ v


@additive_scores.mistake(
    "U transposed",
    "h_i is a row of H, so all the U h_i at once are H @ U.T. H @ U is U transposed, times each of them.",
)
def _(s, H, W, U, v):
    return torch.tanh(W @ s + H @ U) @ v


@additive_scores.mistake(
    "U @ H where U @ H.T belongs",
    "A product takes the columns of the second matrix, and the states are the rows of H. U @ H.T has one U h_i in each "
    "column, H @ U.T in each row.",
)
def _(s, H, W, U, v):
    return v @ torch.tanh((W @ s)[:, None] + U @ H)


@additive_scores.mistake(
    "s left out",
    "Then every word of the output would ask the same question. The state asks with W s: tanh(W s + U h_i).",
)
def _(s, H, W, U, v):
    return torch.tanh(H @ U.T) @ v


# ---- context_vector ----------------------------------------------------------------------------------------


@exercise(stars=1)
def context_vector(s, H, W, U, v):
    """c = sum_i softmax(additive_scores)_i h_i: arguments as in additive_scores -> (d_h,)."""
    scores = additive_scores.oracle(s, H, W, U, v)
    powers = [torch.exp(score - max(x.item() for x in scores)) for score in scores]
    return sum(power / sum(powers) * h for power, h in zip(powers, H, strict=True))


context_vector.cases(_asked_by_many)


def _scores(s, H, W, U, v):
    return torch.tanh(W @ s + H @ U.T) @ v


@context_vector.mistake(
    "no softmax", "The states are weighted with the raw scores. The softmax makes them shares that add up to one."
)
def _(s, H, W, U, v):
    return _scores(s, H, W, U, v) @ H


@context_vector.mistake(
    "all states alike",
    'This is the plain average of the states: the shares never reached the sum. "Break it: freeze the attention" '
    "shows what that costs.",
)
def _(s, H, W, U, v):
    return H.mean(0)


@context_vector.mistake(
    "only the last state",
    'That is the one vector of the first model. See "The repair: look again before every word".',
)
def _(s, H, W, U, v):
    return H[-1]


@context_vector.mistake(
    "only the best state",
    "The context takes a bit of every state, not the one with the highest score alone: softmax, then a weighted sum.",
)
def _(s, H, W, U, v):
    return H[_scores(s, H, W, U, v).argmax()]


@context_vector.mistake(
    "U h where h belongs", "U h_i is for the score alone. What is handed over are the states themselves, h_i."
)
def _(s, H, W, U, v):
    return _scores(s, H, W, U, v).softmax(0) @ (H @ U.T)


@context_vector.mistake(
    "divided by n, too", "The shares add up to one already: sum the weighted states, do not average them."
)
def _(s, H, W, U, v):
    return (_scores(s, H, W, U, v).softmax(0)[:, None] * H).mean(0)


@context_vector.mistake(
    "not divided by the total", "exp alone makes the scores positive. Divide by the sum, and they are shares."
)
def _(s, H, W, U, v):
    return _scores(s, H, W, U, v).exp() @ H


@context_vector.mistake(
    "scores of the other kind",
    "These shares come from the dot products s . h_i / sqrt(d). Here the additive score is asked for, of exercise 1.",
)
def _(s, H, W, U, v):
    return (H @ s / math.sqrt(len(s))).softmax(0) @ H


for _which in range(3):

    @context_vector.mistake(
        "divided by a root",
        "sqrt(d) belongs to the dot product, which grows with d. The additive scores go into the softmax as they are.",
    )
    def _(s, H, W, U, v, which=_which):
        return (_scores(s, H, W, U, v) / _root(W, U, which)).softmax(0) @ H

    @context_vector.mistake(
        "the context divided by a root",
        "sqrt(d) belongs to scores made by dot products. The shares add up to one already: nothing is divided here.",
    )
    def _(s, H, W, U, v, which=_which):
        return _scores(s, H, W, U, v).softmax(0) @ H / _root(W, U, which)


@context_vector.mistake("no tanh", "The scores lack their tanh: v . tanh(W s + U h_i). Exercise 1 has them.")
def _(s, H, W, U, v):
    return ((W @ s + H @ U.T) @ v).softmax(0) @ H


# ---- teacher_forcing_pair ----------------------------------------------------------------------------------


@exercise(stars=1)
def teacher_forcing_pair(target, bos, eos):
    """([bos] + target, target + [eos]): target 1-D long (T,) -> two tensors (T + 1,)."""
    words = [int(word) for word in target]
    return target.new_tensor([bos] + words), target.new_tensor(words + [eos])


@teacher_forcing_pair.cases
def _(draw):
    return [
        (torch.tensor([7, 5]), 1, 2),
        (torch.tensor([6]), 1, 2),
        (torch.tensor([], dtype=torch.long), 1, 2),
        (torch.tensor([4, 4, 9, 4]), 2, 3),
        (torch.tensor(draw.integers(10, 99, 5)), draw.integer(0, 4), draw.integer(5, 9)),
    ]


def _with(first, target, last):
    marks = [target.new_tensor([mark] if mark is not None else []) for mark in (first, last)]
    return torch.cat([marks[0], target, marks[1]])


@teacher_forcing_pair.mistake(
    "the pair exchanged", "First what the decoder reads, from bos on; then what it should say, up to eos."
)
def _(target, bos, eos):
    return _with(None, target, eos), _with(bos, target, None)


for _first, _last in product((True, False), repeat=2):

    @teacher_forcing_pair.mistake(
        "nothing is shifted",
        "At every place the label equals the word just read: a decoder would learn to repeat it. "
        "At place t it reads word t - 1 and should say word t.",
    )
    def _(target, bos, eos, first=_first, last=_last):
        both = _with(bos if first else None, target, eos if last else None)
        return both, both.clone()


@teacher_forcing_pair.mistake(
    "shifted twice",
    "bos in front has moved the input by one place already. The labels are the whole target, from its first word on, "
    "and eos.",
)
def _(target, bos, eos):
    return _with(bos, target, None), _with(None, target[1:], eos)


@teacher_forcing_pair.mistake(
    "eos in the input, too",
    "The decoder stops when it has said eos, so it never reads it. Input and labels are one longer than the target.",
)
def _(target, bos, eos):
    return _with(bos, target, eos), _with(None, target, eos)


@teacher_forcing_pair.mistake(
    "bos in the labels, too",
    "Nobody has to say bos: it is there before the first step. The first label is the first word.",
)
def _(target, bos, eos):
    return _with(bos, target, None), _with(bos, target, eos)


@teacher_forcing_pair.mistake(
    "bos and eos exchanged", "bos, begin of sequence, opens the input; eos, end of sequence, closes the labels."
)
def _(target, bos, eos):
    return _with(eos, target, None), _with(None, target, bos)


for _last in (False, True):

    @teacher_forcing_pair.mistake(
        "the last word lost",
        "`tgt[:-1]` is right where the target ends in eos, as the digits of the lesson do. This one does not yet: "
        "all of it is read, and eos is added to the labels.",
    )
    def _(target, bos, eos, last=_last):
        return _with(bos, target[:-1], None), _with(None, target, eos if last else None)


@teacher_forcing_pair.mistake(
    "no eos", "Without eos among the labels the decoder never learns to stop. After the last word it should say eos."
)
def _(target, bos, eos):
    return _with(bos, target, None), target.clone()


@teacher_forcing_pair.mistake(
    "no bos", "Before the first word the decoder needs something to read: the input begins with bos."
)
def _(target, bos, eos):
    return target.clone(), _with(None, target, eos)


@teacher_forcing_pair.mistake(
    "lists, not tensors",
    "The target is a tensor of ids, and so should both results be: target.new_tensor(...) makes one of a list.",
)
def _(target, bos, eos):
    return [bos, *target.tolist()], [*target.tolist(), eos]


for _dim in range(2):

    @teacher_forcing_pair.mistake(
        "one tensor of both", "Return the two tensors side by side, `return decoder_input, labels`: do not stack them."
    )
    def _(target, bos, eos, dim=_dim):
        return torch.stack([_with(bos, target, None), _with(None, target, eos)], dim=dim)
