"""Lesson 06: seq2seq with attention."""

import math  # noqa: F401 - the patches use it

import torch

from utils.checks.engine import exercise, say
from utils.checks.lessons import lesson02


@exercise(stars=2)
def additive_scores(s, H, W, U, v):
    """v . tanh(W s + U h_i): s (d_s,), H (n, d_h), W (d_a, d_s), U (d_a, d_h), v (d_a,) -> (n,)."""
    found = []
    for h in H:
        inner = [torch.tanh(sum(w * s) + sum(u * h)) for w, u in zip(W, U, strict=True)]
        found.append(sum(v_a * x for v_a, x in zip(v, inner, strict=True)))
    return torch.stack(found)


def _asked_by_many(draw):
    """First whole numbers, set in part, so that no mistake looks right by chance: the last state is not the best."""
    first = draw.integer(0, 1)
    H = torch.tensor([[0.0, -1], [1, 2], [1, 0]])[[first, 1 - first, 2]]
    W, U = torch.tensor([[1.0, 1], [0, 1]]), torch.tensor([[1.0, 0], [2, 1]])
    cases = [(torch.tensor([1.0, -1]), H, W, U, torch.tensor([2.0, draw.integer(0, 1) * 2 - 1]))]
    for n, d_s, d_h, d_a in ((3, 3, 3, 3), (4, 3, 3, 2), (1, 3, 2, 4), (3, 4, 2, 5)):
        cases.append(tuple(draw.normal(*shape) for shape in ((d_s,), (n, d_h), (d_a, d_s), (d_a, d_h), (d_a,))))
    return cases


additive_scores.cases(_asked_by_many)


@additive_scores.answer
def _(s, H, W, U, v):
    inner = W @ s + H @ U.T
    found = torch.tanh(inner) @ v
    return found


additive_scores.patches("""
no tanh: torch.tanh(inner) -> inner
    Without the tanh the score is a sum, v . W s + v . U h_i, in which s adds the same to every state and the softmax
    does not notice it. See "The additive score".
a tanh of each part: W @ s + H @ U.T -> torch.tanh(W @ s) + torch.tanh(H @ U.T) && torch.tanh(inner) -> inner
    Add first, then take one tanh: tanh(W s + U h_i). Only inside it do s and h_i meet.
the tanh outside: torch.tanh(inner) @ v -> torch.tanh(inner @ v)
    The tanh belongs to each of the d_a entries of W s + U h_i; v then weighs what comes out.
not added up: torch.tanh(inner) @ v -> torch.tanh(inner) * v
    One number for each state is wanted: the d_a products with v are added up, v . tanh(...).
times instead of plus: W @ s + H @ U.T -> (W @ s) * (H @ U.T)
    W s and U h_i are added, entry by entry, inside the tanh. Multiplying is the dot product's way.
a sigmoid: torch.tanh(inner) -> torch.sigmoid(inner)
    The sigmoid runs from 0 to 1, the tanh from -1 to 1: tanh is asked for.
a ReLU: torch.tanh(inner) -> torch.relu(inner)
    The ReLU cuts off what is negative; the tanh keeps it, from -1 to 1: tanh is asked for.
averaged: torch.tanh(inner) @ v -> torch.tanh(inner) @ v / len(v)
    The d_a products with v are added up, v . tanh(...): their mean is not asked for.
v left out: @ v -> .sum(1)
    The d_a entries after the tanh are not simply added up: v weighs each of them, v . tanh(...).
softmax already taken: return found -> return found.softmax(0)
divided by a root: return found -> return found / math.sqrt(len(W)) || return found / math.sqrt(W.shape[1])
  || return found / math.sqrt(U.shape[1])
    sqrt(d) belongs to the dot product, which grows with d. The tanh never leaves -1 to 1: here nothing is divided.
W and U exchanged: W @ s + H @ U.T -> U @ s + H @ W.T
    W goes with the state that asks, s, and U with those that are asked, h_i: W s + U h_i.
the matrices are transposed: W @ s + H @ U.T -> s @ W + H @ U
    Vectors are columns here, W s and U h_i as in the paper. s @ W is W transposed, times s. For all rows of H at once
    it is H @ U.T.
W transposed: W @ s -> s @ W
    s is a column: W @ s. s @ W is W transposed, times s; where W is square, the shape does not tell.
U transposed: U.T -> U
    h_i is a row of H, so all the U h_i at once are H @ U.T. H @ U is U transposed, times each of them.
U @ H where U @ H.T belongs: = v @ torch.tanh((W @ s)[:, None] + U @ H)
    A product takes the columns of the second matrix, and the states are the rows of H. U @ H.T has one U h_i in each
    column, H @ U.T in each row.
s left out: W @ s + ->
    Then every word of the output would ask the same question. The state asks with W s: tanh(W s + U h_i).
""")


@exercise(stars=1)
def context_vector(s, H, W, U, v):
    """c = sum_i softmax(additive_scores)_i h_i: arguments as in additive_scores -> (d_h,)."""
    shares = lesson02.softmax.oracle(additive_scores.oracle(s, H, W, U, v))
    return sum(share * h for share, h in zip(shares, H, strict=True))


context_vector.cases(_asked_by_many)


@context_vector.answer
def _(s, H, W, U, v):
    scores = torch.tanh(W @ s + H @ U.T) @ v
    shares = scores.softmax(0)
    return shares @ H


context_vector.patches("""
no softmax: .softmax(0) ->
    The states are weighted with the raw scores. The softmax makes them shares that add up to one.
softmax twice: .softmax(0) -> .softmax(0).softmax(0)
    Shares go into no second softmax: it would make them nearly alike. Take it once, of the scores.
divided without exp: scores.softmax(0) -> scores / scores.sum()
    A score may be negative, and a share may not: the softmax takes exp of every score, and then divides by the sum.
all states alike: = H.mean(0)
    This is the plain average of the states: the shares never reached the sum. "Break it: freeze the attention" shows
    what that costs.
only the last state: = H[-1]
    That is the one vector of the first model. See "The repair: look again before every word".
only the best state: shares @ H -> H[shares.argmax()]
    The context takes a bit of every state, not the one with the highest score alone: softmax, then a weighted sum.
U h where h belongs: shares @ H -> shares @ (H @ U.T)
    U h_i is for the score alone. What is handed over are the states themselves, h_i.
divided by n, too: shares @ H -> shares @ H / len(H)
    The shares add up to one already: sum the weighted states, do not average them.
not divided by the total: .softmax(0) -> .exp()
scores of the other kind: torch.tanh(W @ s + H @ U.T) @ v -> H @ s / math.sqrt(len(s))
    These shares come from the dot products s . h_i / sqrt(d). Here the additive score is asked for, of exercise 1.
divided by a root: shares = -> scores = scores / math.sqrt(len(W)); shares =
  || scores = scores / math.sqrt(W.shape[1]); shares = || scores = scores / math.sqrt(U.shape[1]); shares =
the context divided by a root: shares @ H -> shares @ H / math.sqrt(len(W)) || shares @ H / math.sqrt(W.shape[1])
  || shares @ H / math.sqrt(U.shape[1])
    sqrt(d) belongs to scores made by dot products. The shares add up to one already: nothing is divided here.
the state in front: = torch.cat([s, torch.tanh(W @ s + H @ U.T).matmul(v).softmax(0) @ H])
    The decoder reads its word from [s; c], side by side. Here the context alone is asked for, c, (d_h,).
no tanh: torch.tanh(W @ s + H @ U.T) -> (W @ s + H @ U.T)
    The scores lack their tanh: v . tanh(W s + U h_i). Exercise 1 has them.
""")


@exercise(stars=1)
def teacher_forcing_pair(target, bos, eos):
    """([bos] + target, target + [eos]): target 1-D long (T,) -> two tensors (T + 1,)."""
    begin, end = target.new_tensor([bos]), target.new_tensor([eos])
    read = torch.cat([begin, target])
    said = torch.cat([target, end])
    return read, said


@teacher_forcing_pair.cases
def _(draw):
    return [
        (torch.tensor([7, 5]), 1, 2),
        (torch.tensor([6]), 1, 2),
        (torch.tensor([], dtype=torch.long), 1, 2),
        (torch.tensor([4, 4, 9, 4]), 2, 3),
        (torch.tensor(draw.integers(10, 99, 5)), draw.integer(0, 4), draw.integer(5, 9)),
    ]


teacher_forcing_pair.patches("""
the pair exchanged: return read, said -> return said, read
    First what the decoder reads, from bos on; then what it should say, up to eos.
nothing is shifted: return read, said -> return target.clone(), target.clone() || return read, read.clone()
  || return said, said.clone() || return torch.cat([begin, said]), torch.cat([begin, said])
    At every place the label equals the word just read: a decoder would learn to repeat it. At place t it reads word
    t - 1 and should say word t.
shifted twice: [target, end] -> [target[1:], end]
    bos in front has moved the input by one place already. The labels are the whole target, from its first word on, and
    eos.
eos in the input, too: [begin, target] -> [begin, target, end]
    The decoder stops when it has said eos, so it never reads it. Input and labels are one longer than the target.
bos in the labels, too: [target, end] -> [begin, target, end]
    Nobody has to say bos: it is there before the first step. The first label is the first word.
bos and eos exchanged: [bos] -> [eos] && [eos] -> [bos]
    bos, begin of sequence, opens the input; eos, end of sequence, closes the labels.
the last word lost: [begin, target] -> [begin, target[:-1]] &&? [target, end] -> [target]
    `tgt[:-1]` is right where the target ends in eos, as the digits of the lesson do. This one does not yet: all of it
    is read, and eos is added to the labels.
no eos: [target, end] -> [target]
    Without eos among the labels the decoder never learns to stop. After the last word it should say eos.
no bos: [begin, target] -> [target]
    Before the first word the decoder needs something to read: the input begins with bos.
rolled: said = torch.cat([target, end]) -> said = read.roll(-1)
    roll moves the first id to the end, so that the last label is bos. After the last word it should say eos.
the lesson's ids: [bos] -> [1] &&? [eos] -> [2]
  | [eos] -> [2]
    Other vocabularies have other numbers for the marks: take the arguments `bos` and `eos`.
zeros for the marks: [bos] -> [0] &&? [eos] -> [0]
  | [eos] -> [0]
    F.pad puts in zeros unless you say what: value=bos in front of the one, value=eos behind the other.
lists, not tensors: return read, said -> return read.tolist(), said.tolist()
    The target is a tensor of ids, and so should both results be: target.new_tensor(...) makes one of a list.
one tensor of both: return read, said -> return torch.stack([read, said]) || return torch.stack([read, said], dim=1)
    Return the two tensors side by side, `return decoder_input, labels`: do not stack them.
""")


@exercise(stars=2, finite=True)
def padded_weights(scores, lengths):
    """Softmax over the first lengths[b] entries of row b, zeros behind: scores (B, n), lengths (B,) long -> (B, n)."""
    rows = []
    for row, length in zip(scores, lengths.tolist(), strict=True):
        shares = lesson02.softmax.oracle(row[:length]) if length else row[:0]
        rows.append(torch.cat([shares, 0 * row[length:].detach()]))
    return torch.stack(rows)


@padded_weights.cases
def _(draw):
    small = draw.small(2, 3) + torch.tensor([0.0, 3, 7])
    return [
        (small, torch.tensor([2, 3])),
        (small[:1], torch.tensor([0])),
        (torch.tensor([[-30000.0, -30001, 0], [30000, 29999, 31000]]), torch.tensor([2, 2])),
        (draw.normal(3, 4), torch.tensor([1, 4, 0])),
        (draw.normal(4, 5), torch.tensor([3, 1, 2, 5])),
    ]


@padded_weights.answer
def _(scores, lengths):
    place, some = torch.arange(scores.shape[1], device=scores.device), lengths[:, None] > 0
    real = place < lengths[:, None] + 0
    hidden = scores.masked_fill(~real, -math.inf)
    hidden = hidden.masked_fill(~some, 0.0)
    return hidden.softmax(1) * some


padded_weights.patches("""
no mask: .masked_fill(~real, -math.inf) -> &&? * some ->
    Every entry has a share, the padding too: scores behind lengths[b] must not count.
the mask comes after the softmax: .masked_fill(~real, -math.inf) -> && * some -> * real
divided again after the softmax: .masked_fill(~real, -math.inf) -> && .masked_fill(~some, 0.0) ->
  && return hidden.softmax(1) * some -> w = hidden.softmax(1) * real; return w / w.sum(1, keepdim=True)
  || w = hidden.softmax(1) * real; return w / w.sum(1, keepdim=True).clamp(min=1e-9)
    Where the padding is far above the real scores, their shares are 0 after the softmax, and no division brings them
    back; a sentence of length 0 divides 0 by 0. Hide scores, not weights.
exp without the largest subtracted:
  | return hidden.softmax(1) * some -> w = scores.exp() * real; return w / w.sum(1, keepdim=True).clamp(min=1e-9)
    exp of tens of thousands is infinite, of minus tens of thousands 0. Subtract the largest real score of the row
    first, as torch.softmax does (lesson 02, "When the softmax breaks").
hidden scores are 0: -math.inf -> 0.0 &&? * some ->
  | -math.inf -> 0.0 && * some -> * real
hidden scores are not low enough: -math.inf -> -1e4 &&? * some ->
  | -math.inf -> -1e4 && * some -> * real
the mask is inverted: (~real -> (real
    The first lengths[b] entries are real: minus infinity belongs to those behind.
one entry too many: place < -> place <=
    Places count from 0: with length 2 the real ones are 0 and 1, place < length.
padding on the left: place < lengths[:, None] + 0 -> place >= scores.shape[1] - lengths[:, None]
    The real entries stand first in each row, the padding behind them.
the longest sentence decides for all: lengths[:, None] + 0 -> lengths.max()
    Each row has a length of its own: place (n,) against lengths (B, 1) gives a mask (B, n).
softmax over the batch: softmax(1) -> softmax(0)
    The shares of one row add up to one: each sentence divides its own attention.
NaN where a sentence is empty: .masked_fill(~some, 0.0) -> &&? * some ->
    A softmax of nothing but minus infinity divides 0 by 0. A sentence of length 0 means zeros.
all alike where a sentence is empty: * some ->
    Where all scores are equal, all shares are alike. A sentence of length 0 means zeros.
0 times minus infinity: .masked_fill(~real, -math.inf) -> + ~real * -math.inf
""")


class _Decoder:
    """A decoder to try: what it favors hangs on its state, a number, and on the word that it reads."""

    def __init__(self, draw, script: dict, other: str, letters: str = "<>abc"):
        ids = torch.randperm(len(letters), generator=draw.generator).tolist()
        self.ids, self.script, self.other = dict(zip(letters, ids, strict=True)), script, other

    def __call__(self, token, state):
        letter = next(name for name, i in self.ids.items() if i == int(token))
        favored = self.script.get((state, letter), self.other[min(state, len(self.other) - 1)])
        logits = torch.tensor([-1.0 - i for i in range(len(self.ids))])
        for name in favored:
            logits[self.ids[name]] = 2.0
        return logits, state + 1

    def __repr__(self):
        as_ids = {(self.ids[word], n): [self.ids[x] for x in best] for (n, word), best in self.script.items()}
        return say(
            "what it favors, by (token, state): {table}; in other cases, by state: {other}",
            table=as_ids,
            other=[self.ids[x] for x in self.other],
        )


@exercise(stars=3, differentiable=False)
def decode(step, state, bos, eos, max_len):
    """Greedy from bos: step(token, state) -> (logits (V,), new state); list of ids without marks, at most max_len."""
    words, token = [], bos
    for _ in range(max_len):
        logits, state = step(token, state)
        logits = logits.tolist()
        token = logits.index(max(logits))
        if token == eos:
            break
        words.append(token)
    return words


@decode.cases
def _(draw):
    def case(script, other, max_len):
        step = _Decoder(draw, script, other)
        return step, 0, step.ids["<"], step.ids[">"], max_len

    two = {(0, "<"): "a", (1, "a"): "b", (2, "b"): ">"}
    return [
        case(two, "bc", 5),
        case({(0, "<"): ">"}, "ab", 3),
        case({(0, "<"): "ab", (1, "a"): ">", (1, "b"): ">"}, "cc", 4),
        case({(0, "<"): "a", (1, "a"): "b", (2, "b"): "a", (3, "a"): "c"}, "bcac", 4),
        case(two | {(2, "b"): "a", (3, "a"): "c", (4, "c"): "bc", (5, "b"): ">"}, "cb", 8),
    ]


@decode.answer
def _(step, state, bos, eos, max_len):
    ids = [bos]
    for _ in range(max_len):
        logits, new = step(ids[-1], state)
        state = new
        ids.append(int(logits.argmax()))
        if ids[-1] == eos:
            break
    return [i for i in ids if i not in (bos, eos)]


decode.patches("""
bos is returned: (bos, eos) -> (eos,)
    bos is what the decoder reads first, not a word of the translation: leave it out.
eos is returned: (bos, eos) -> (bos,)
    eos says that the sentence is over: look at the id first, then append it or stop.
bos and eos are returned: [i for i in ids if i not in (bos, eos)] -> ids
    Only the ids between the two marks are the translation.
it does not stop at eos: if ids[-1] == eos -> if False && (bos, eos) -> (bos,)
    What comes after eos is babble: leave the loop there.
it goes on after eos: if ids[-1] == eos -> if False
    Only eos itself is left out, and what came after it stays: leave the loop at eos.
the first state in every step: state = new ->
    Each step gets the state that the one before returned: logits, state = step(token, state).
it always reads bos: ids[-1], state -> bos, state
    After the first step the decoder reads its own word: step(token, state) with the newest id.
it reads the word before the last: step(ids[-1] -> step(ids[max(len(ids) - 2, 0)]
    The decoder reads the id that it has just written.
one id too many: range(max_len) -> range(max_len + 1)
    At most max_len ids: the loop has max_len rounds.
one id too few: range(max_len) -> range(max_len - 1)
    max_len counts the ids that are returned: bos is none of them, and the last is left out only where it is eos.
the highest id of a tie: logits.argmax() -> len(logits) - 1 - logits.flip(0).argmax()
    Where two are equally probable the lower id is asked for: replace the best only by one that is greater (>).
the least probable: logits.argmax() -> logits.argmin()
    The largest logit is the most probable word: argmax.
the lesson's ids: == eos -> == 2 && (bos, eos) -> (1, 2)
""")
