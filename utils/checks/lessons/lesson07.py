"""Lesson 07: the Transformer."""

import math

import torch

from utils.checks.engine import SDPA, exercise
from utils.checks.lessons import lesson03

LAYER_NORM = frozenset({"layer_norm", "native_layer_norm"})


@exercise(stars=1, forbidden=LAYER_NORM)
def layer_norm(x, gamma, beta):
    """gamma * (x - mean) / sqrt(variance + 1e-5) + beta on the last axis: x (..., D), gamma, beta (D,) -> (..., D)."""
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, correction=0, keepdim=True)
    normed = (x - mean) / (variance + 1e-5).sqrt()
    return gamma * normed + beta


def _rows_to_norm(draw) -> tuple:
    """Rows of mean 2 and variance 1 or 4, gamma and beta, all whole numbers."""
    low = draw.integer(0, 1)
    x = torch.tensor([[1.0, 1, 3, 3], [4.0, 0, 4, 0]])[[low, 1 - low]][:, torch.randperm(4, generator=draw.generator)]
    return x, torch.tensor([1.0, 2, -1, 3]), torch.tensor([0.0, 1, 2, -1])


@layer_norm.cases
def _(draw):
    def learned(d):
        return draw.normal(d) + 2, draw.normal(d) + 1

    vector = torch.tensor([2.0, 4, 4, 6])[torch.randperm(4, generator=draw.generator)]
    return [
        _rows_to_norm(draw),
        (vector, *learned(4)),
        (torch.tensor([[3.0, 3, 3, 3], [0, 0, 0, 0]]), *learned(4)),
        (vector[None] / 1000, *learned(4)),  # a variance of 2e-6, smaller than eps
        (draw.normal(3, 3), *learned(3)),
        (draw.normal(2, 3, 5) * 3 + 1, *learned(5)),
    ]


layer_norm.patches("""
the unbiased variance: , correction=0 ->
    PyTorch's var and std divide by d - 1 unless told otherwise. The formula divides by d: take the mean of the squares,
    or var(..., correction=0). See lesson 07, section 3.
eps outside the root: (variance + 1e-5).sqrt() -> (variance.sqrt() + 1e-5)
    eps is added to the variance, inside the root. Only vectors of tiny variance show it: lesson 07, section 3, has one.
x.std(), and eps added to it: , correction=0 ->
  && (variance + 1e-5).sqrt() -> (variance.sqrt() + 1e-5) || (variance.sqrt() + 1e-6)
    Two things at once: std divides by d - 1, the formula by d; and eps belongs inside the root. Compute the
    variance, add 1e-5, and take the root last. See lesson 07, section 3.
no eps: (variance + 1e-5) -> variance
    A vector of equal entries has variance 0, and 0 / 0 is NaN: add 1e-5 to the variance, inside the root.
x.std(), and no eps: , correction=0 -> && (variance + 1e-5) -> variance
    Two things at once: std divides by d - 1, the formula by d; and a vector of equal entries gives 0 / 0. Compute the
    variance, add 1e-5, and take the root last. See lesson 07, section 3.
another eps: 1e-5 -> 1e-3 || 1e-4 || 1e-6 || 1e-8 || 1e-9 || 1e-12
    eps is 1e-5 here. Only vectors of tiny variance show it: lesson 07, section 3, has one.
divided by the variance: .sqrt() ->
    Divide by the root of it, the standard deviation.
the first axis instead of the last: mean(-1 -> mean(0 && var(-1 -> var(0
    This is batch norm's axis, every feature over the batch. Layer norm stays within each vector, dim=-1. See lesson 07,
    "The other axis: batch norm".
the last axis but one: mean(-1 -> mean(-2 && var(-1 -> var(-2
    Those are the positions of a sentence. Mean and variance belong to one vector: dim=-1, keepdim=True.
axis 1 instead of the last: mean(-1 -> mean(1 && var(-1 -> var(1
    In a table (n, D) the two are the same, in (B, T, D) they are not, and a single vector has no axis 1: say dim=-1.
one mean for all vectors: mean(-1, keepdim=True) -> mean() && -1, correction=0, keepdim=True -> correction=0
    Each vector has a mean and a variance of its own: mean(dim=-1, keepdim=True).
keepdim forgotten: correction=0, keepdim=True -> correction=0 &&? mean(-1, keepdim=True) -> mean(-1)
    The means of (B, T, D) are (B, T), and broadcasting then aligns them with the wrong axis. keepdim=True leaves a 1 in
    D's place. The variance needs it, too.
gamma and beta left out: gamma * normed + beta -> normed
    After the norm, gamma stretches and beta shifts each entry: gamma * ... + beta.
gamma and beta exchanged: gamma * normed + beta -> beta * normed + gamma
    gamma stretches, beta shifts: gamma * normed + beta.
beta stretched, too: normed + beta -> (normed + beta)
    First stretch, then shift: gamma * normed + beta, not gamma * (normed + beta).
beta left out: + beta ->
    The last step shifts each entry: gamma * normed + beta.
gamma added, not multiplied: gamma * -> gamma + || gamma - 1 +
    gamma stretches: it multiplies each normed entry, and beta is added to that.
gamma left out: gamma * ->
    Before beta shifts it, gamma stretches each entry: gamma * normed + beta.
the mean not subtracted: (x - mean) -> x &&? x.var(-1, correction=0, -> x.square().mean(-1,
    The formula divides x - mean, not x, and the variance is the mean of (x - mean) squared, not of x squared: the
    result has mean 0 before beta.
the squares of x, not of x - mean: x.var(-1, correction=0, -> x.square().mean(-1,
    The variance says how far the entries lie from their mean: subtract it before you square.
the squares added up: variance = -> variance = x.shape[-1] *
    The variance is the mean of the squared distances: divide their sum by the number of entries.
parentheses missing around x - mean: (x - mean) / -> mean / && gamma * normed -> gamma * x - normed
  | (x - mean) / -> x - mean /
  | (x - mean) / -> mean / && gamma * normed -> x - normed * gamma
    / and * come before -, so only the mean is divided. First x - mean, in parentheses, then the division.
""")


@exercise(stars=1)
def causal_mask(n):
    """bool (n, n), True where key j <= query i."""
    return torch.tensor([[j <= i for j in range(n)] for i in range(n)])


causal_mask.cases(lambda draw: [(3,), (1,), (2,), (draw.integer(4, 6),)])


@causal_mask.answer
def _(n):
    mask = torch.ones(n, n).tril()
    return mask.bool()


causal_mask.patches("""
the upper triangle: tril() -> triu()
    Rows ask and columns are asked: row i may look at itself and at the columns on its left. Yours looks at itself
    and to the right, into the future. See section 7.
inverted: tril() -> triu(1)
    Here True says who may attend, as everywhere in this course. In nn.Transformer's masks True says who may not.
the diagonal is missing: tril() -> tril(-1)
    A word may ask itself, too: j <= i, not j < i. Otherwise the first row has nobody to ask at all.
one step too far: tril() -> tril(1)
    Row i sees column i + 1: the very word that it should say next. j <= i.
only the diagonal: torch.ones(n, n).tril() -> torch.eye(n)
    Row i looks at itself and at all columns on its left: j <= i, not j == i.
nothing is hidden: .tril() ->
    Every entry is True: compare j with i, and let j <= i alone be True.
numbers where True and False belong: .bool() ->
    The triangle is right. Compare instead of counting, or end with .bool().
what is added to the scores: = torch.full((n, n), -math.inf).triu(1)
    Zeros and minus infinities are another kind of mask, added to the scores. Here it is True (may attend) and False.
""")


@exercise(stars=1, forbidden=LAYER_NORM)
def add_and_norm(x, sublayer_output, gamma, beta):
    """layer_norm(x + sublayer_output): x, sublayer_output (..., D), gamma, beta (D,) -> (..., D)."""
    total = x + sublayer_output
    variance = total.var(-1, correction=0, keepdim=True)
    normed = (total - total.mean(-1, keepdim=True)) / (variance + 1e-5).sqrt()
    return gamma * normed + beta


@add_and_norm.cases
def _(draw):
    total, gamma, beta = _rows_to_norm(draw)
    x = torch.tensor([[1.0, 0, 2, -1], [0, 2, 1, 1]])
    return [
        (x, total - x, gamma, beta),
        (x / 1000, (total - x) / 1000, gamma, beta),  # eps counts: half a sum is not the sum
        (draw.normal(4), draw.normal(4), draw.normal(4) + 2, draw.normal(4) + 1),
        (draw.normal(2, 3, 5), draw.normal(2, 3, 5), draw.normal(5) + 2, draw.normal(5) + 1),
    ]


add_and_norm.patches("""
norm first, then add: x + sublayer_output -> sublayer_output && return -> return x +
    Only what the sublayer said is normed here. In the paper's order the sum is: norm(x + f(x)). See section 4.
the input normed, then added to: x + sublayer_output -> x && return -> return sublayer_output +
    Only x is normed here. In the paper's order, post-norm, first add, then norm the sum. See section 4.
both normed, then added: = layer_norm.oracle(x, gamma, beta) + layer_norm.oracle(sublayer_output, gamma, beta)
    The norm comes once, after the sum: norm(x + f(x)), not norm(x) + norm(f(x)).
no Add: x + sublayer_output -> sublayer_output
    x itself is lost: only what the sublayer said is normed. Section 4 shows what becomes of a stack without the sum.
what the sublayer said is lost: x + sublayer_output -> x
    Only x is normed, and sublayer_output has no part in it: first add the two.
the mean of the two, not their sum: x + sublayer_output -> (x + sublayer_output) / 2
    The norm takes the half out again, but for eps: add the two, and divide by nothing.
no Norm: gamma * normed + beta -> total
    The sum is right, and still has to be normed: layer_norm(x + sublayer_output).
x added twice: return -> return x +
    Add x before the norm only; nothing is added after it.
gamma and beta left out: gamma * normed + beta -> normed
gamma and beta exchanged: gamma * normed + beta -> beta * normed + gamma
the unbiased variance: , correction=0 ->
""")


@exercise(stars=1)
def noam_lr(step, d_model, warmup):
    """d_model^-0.5 * min(step^-0.5, step * warmup^-1.5); 0.0 at step 0."""
    if step == 0:
        return 0.0
    rate = min(step**-0.5, step * warmup**-1.5)
    return d_model**-0.5 * rate


@noam_lr.cases
def _(draw):
    warmup = draw.integer(100, 4000)
    large = (draw.integer(2, 9), 512, warmup), (draw.integer(2, 9) * warmup, draw.integer(32, 256), warmup)
    return [(1, 16, 4), (16, 16, 4), (4, 16, 4), (0, 16, 4), *large]


noam_lr.patches("""
the larger of the two: min -> max
    The rising line and the falling curve cross at step = warmup; the rate is the lower: min.
no d_model: d_model**-0.5 * ->
    Both parts are multiplied by d_model ** -0.5: wide models take smaller steps.
multiplied by sqrt(d_model): d_model**-0.5 -> d_model**0.5
    The power is -0.5: divide by the root of d_model.
divided by d_model: d_model**-0.5 -> d_model**-1
    The power is -0.5: divide by the root of d_model, not by d_model.
d_model in one part only: min( -> min(d_model**-0.5 * && d_model**-0.5 * rate -> rate
    The factor d_model ** -0.5 stands before the min: it belongs to both parts.
it never rises: min(step**-0.5, step * warmup**-1.5) -> step**-0.5
  | -1.5 -> 1.5
    Before step = warmup the min should be step * warmup ** -1.5. Is it there, and with its minus sign?
it never falls: min(step**-0.5, step * warmup**-1.5) -> step * warmup**-1.5
  | step**-0.5 -> step**0.5
    After step = warmup the min should be step ** -0.5. Is it there, and with its minus sign?
it rises no further than its start: step * warmup -> warmup
    The rising part has the factor step: step * warmup ** -1.5.
it falls like 1 / step: step**-0.5 -> step**-1
    The falling part is 1 / sqrt(step): step ** -0.5.
the parts do not meet: step * warmup**-1.5 -> step / warmup
    At step = warmup both parts must be equal, warmup ** -0.5. step / warmup is 1 there: write step * warmup ** -1.5.
the wrong power of warmup: -1.5 -> -0.5
    warmup has the power -1.5: step * warmup ** -1.5, equal to step / warmup ** 1.5.
step 0 counted as step 1: return 0.0 -> step = 1
    At step 0 the rate is 0.0. `max(step, 1)` avoids the division by zero, not the wrong rate.
one step ahead: step == 0 -> (step := step + 1) == 0
    The formula takes step as it is; step + 1 is the rate of the next one.
""")


@exercise(stars=2, forbidden=SDPA, finite=True)
def cross_attention(Y, memory, Wq, Wk, Wv, real):
    """Y asks memory: Y (T, D), memory (S, D), W (D, d), real (S,) bool, False = padding -> (T, d)."""
    mask = real.expand(len(Y), len(memory))
    return lesson03.masked_attention.oracle(Y @ Wq, memory @ Wk, memory @ Wv, mask)


@cross_attention.cases
def _(draw):
    def drawn(T, S, D, d):
        return draw.normal(T, D), draw.normal(S, D), *(draw.normal(D, d) for _ in range(3))

    Wq, Wk, Wv = torch.eye(2), torch.tensor([[1.0, 0], [1, 1]]), torch.tensor([[2.0, 1], [0, -1]])
    Y, memory = torch.tensor([[1.0, 2], [2, -1], [0, 1]]), torch.tensor([[2.0, 0], [-1, 1]])
    memory = memory[torch.randperm(2, generator=draw.generator)]
    long = torch.tensor([[60.0, 20], [-50, 10], [40, 70]])  # its scores go into the thousands
    return [
        (Y, memory, Wq, Wk, Wv, torch.tensor([True, True])),
        (Y, long, Wq, Wk, Wv, torch.tensor([True, True, False])),
        (-Y, long, 200 * Wq, Wk, Wv, torch.tensor([False, True, False])),
        (Y, memory, Wq, Wk, Wv, torch.tensor([False, False])),
        (*drawn(4, 4, 3, 3), torch.tensor([True, False, True, True])),
        (*drawn(2, 5, 4, 3), torch.tensor([True, True, True, False, False])),
    ]


@cross_attention.answer
def _(Y, memory, Wq, Wk, Wv, real):
    q = Y @ Wq
    k = memory @ Wk
    v = memory @ Wv
    scores = q @ k.T / math.sqrt(q.shape[1])
    scores = scores.masked_fill(~real, -math.inf)
    if not real.any():
        return Y.new_zeros(len(Y), v.shape[1])
    shares = scores.softmax(1)
    return shares @ v


cross_attention.patches("""
the memory asks the target: q = Y -> q = memory && k = memory -> k = Y && v = memory -> v = Y
    Queries come from Y, the target; keys and values from memory, the source. There is a row for everyone who asks.
the target asks itself: k = memory -> k = Y && v = memory -> v = Y
    Keys and values come from memory, the source. From Y comes the query alone.
keys from the target: k = memory -> k = Y
    Both keys and values come from memory: k^i is what v^i is found by.
values from the target: v = memory -> v = Y
    Both keys and values come from memory: what is handed over stands in the source.
queries from the memory: q = Y -> q = memory
    Who asks is the target: queries are Y @ Wq.
keys where values belong: @ v -> @ k
Wk and Wv exchanged: memory @ Wk -> memory @ Wv && memory @ Wv -> memory @ Wk
    Keys are memory @ Wk, values memory @ Wv.
Wq and Wk exchanged: Y @ Wq -> Y @ Wk && memory @ Wk -> memory @ Wq
    Queries are Y @ Wq, keys memory @ Wk.
no scaling: / math.sqrt(q.shape[1]) ->
divided by d: math.sqrt(q.shape[1]) -> q.shape[1]
scaled by D: math.sqrt(q.shape[1]) -> math.sqrt(Y.shape[1])
    The root is of d, the length of a query, not of D, the length of what came in.
softmax over the queries: softmax(1) -> softmax(0)
    Each query divides its own attention among the keys: softmax along the last axis.
the mask is inverted: (~real -> (real
    True means real: hide the others, masked_fill(~real, -inf).
no mask: .masked_fill(~real, -math.inf) ->
    Every place of memory has a share, the padding too. Hide its scores: -inf where real is False.
the mask comes after the softmax: .masked_fill(~real, -math.inf) -> && softmax(1) -> softmax(1) * real
hidden scores are 0: -math.inf -> 0.0
padding set to zero, and not hidden: k = memory -> k = memory * real[:, None]
  && v = memory -> v = memory * real[:, None] && .masked_fill(~real, -math.inf) ->
    A place of zeros has the score 0, and exp(0) = 1 is a share: hide the scores, -inf where real is False.
hidden scores are not low enough: -math.inf -> -1e3
a mean where nobody is real: Y.new_zeros(len(Y), v.shape[1]) -> v.mean(0).expand(len(Y), -1)
  | not real.any() -> False && -math.inf -> -1e9
    With no real place there is nothing to hear: zeros, not the average of the padding.
a causal mask: (~real -> (~(real & (torch.arange(len(memory)) <= torch.arange(len(Y))[:, None]))
    The source is known from the start: there is no future in it to hide.
""")
# NaN in one case, besides another slip, is the usual company.
cross_attention.patches("""
NaN where nobody is real: not real.any() -> False
    All scores of a row are minus infinity, and the softmax divides 0 by 0. Ask real.any() first.
""")


class Rule:
    """A part that is handed in: called like a layer, and printed as the rule that it follows."""

    def __init__(self, names: str, value: str):
        self.text, self.rule = f"{names} -> {value}", eval(f"lambda {names}: {value}")

    def __call__(self, *inputs):
        return self.rule(*inputs)

    def __repr__(self) -> str:
        return f"({self.text})"


@exercise(stars=3)
def decoder_layer(y, memory, norms, self_attend, cross_attend, feed_forward):
    """Pre-norm: y + f(norm(y)) for self-attention, cross-attention (memory as it is) and feed-forward, in this order.

    y (T, D), memory (S, D), norms three callables; self_attend(x), cross_attend(x, memory), feed_forward(x) -> (T, D).
    """
    first, second, third = norms
    y = y + self_attend(first(y))
    y = y + cross_attend(second(y), memory)
    y = y + feed_forward(third(y))
    return y


@decoder_layer.cases
def _(draw):
    def parts():
        norms = [Rule("x", f"{a} * x + {b}") for a, b in zip((2, 3, -1), draw.integers(1, 3, 3), strict=True)]
        norms = tuple(norms[i] for i in torch.randperm(3, generator=draw.generator))
        asks = Rule("x", "x.cumsum(0)"), Rule("x, memory", "x * memory.sum() + 3"), Rule("x", "x * x + 1")
        return norms, *asks

    return [
        (torch.tensor([[1.0]]), torch.tensor([[2.0]]), *parts()),
        (torch.tensor([[1.0, 0], [2, -1]]), torch.tensor([[1.0, 2], [0, 3]]), *parts()),
        (draw.normal(3, 2), draw.normal(2, 2), *parts()),
    ]


decoder_layer.patches("""
post-norm: y + self_attend(first(y)) -> first(y + self_attend(y))
  && y + cross_attend(second(y), memory) -> second(y + cross_attend(y, memory))
  && y + feed_forward(third(y)) -> third(y + feed_forward(y))
    Here the norm stands before the sublayer, pre-norm: y + f(norm(y)). Yours norms the sum, as the paper does.
no Add: y + self_attend -> self_attend && y + cross_attend -> cross_attend && y + feed_forward -> feed_forward
    Each sublayer's output is added to what came in: y + f(norm(y)).
no Add around the self-attention: y + self_attend -> self_attend
    Around each of the three sublayers, the first too, stands a sum: y + f(norm(y)).
no Add around the cross-attention: y + cross_attend -> cross_attend
    Around each of the three sublayers, the second too, stands a sum: y + f(norm(y)).
no Add around the feed-forward network: y + feed_forward -> feed_forward
    Around each of the three sublayers, the last too, stands a sum: y + f(norm(y)).
no norms: first(y) -> y && second(y) -> y && third(y) -> y
    Each sublayer reads its normed input: y + f(norm(y)), with norms[0], norms[1] and norms[2].
one norm missing: first(y) -> y
  | second(y), memory -> y, memory
  | third(y) -> y
    All three sublayers read their normed input, y + f(norm(y)); one of yours reads y itself.
the normed input of an earlier step: self_attend(first(y)) -> self_attend(z := first(y)) && second(y) -> z
  | self_attend(first(y)) -> self_attend(z := first(y)) && second(y) -> z && third(y) -> z
  | self_attend(first(y)) -> self_attend(z := first(y)) && third(y) -> z
  | cross_attend(second(y) -> cross_attend(z := second(y) && third(y) -> z
    A step reads y as the step before has left it: after each sum, norm y anew, with the next of the norms.
the norm behind the sublayer: self_attend(first(y)) -> first(self_attend(y))
  && cross_attend(second(y), memory) -> second(cross_attend(y, memory))
  && feed_forward(third(y)) -> third(feed_forward(y))
    The norm stands before the sublayer: y + f(norm(y)), not y + norm(f(y)).
the norms in another order: first, second, third = norms -> third, second, first = norms
    The norms come in the order of the sublayers: norms[0] belongs to self_attend, norms[2] to feed_forward.
one sum around all three: y = y + self_attend(first(y)) -> x = self_attend(first(y))
  && y = y + cross_attend(second(y), memory) -> x = cross_attend(second(x), memory)
  && feed_forward(third(y)) -> feed_forward(third(x))
    Around each sublayer stands a sum, y = y + ..., three times; not one around all.
a later sum begins with the first y: y = y + self_attend(first(y)) -> x = y + self_attend(first(y))
  && y = y + cross_attend(second(y), memory) -> x = x + cross_attend(second(x), memory)
  || x = y + cross_attend(second(x), memory) && feed_forward(third(y)) -> feed_forward(third(x))
    Each step begins with what the step before has made: y = y + ..., three times.
the cross-attention asks the target: second(y), memory -> second(y), second(y)
    Whom it asks is the source: cross_attend(norm(y), memory).
one norm for all: second(y) -> first(y) && third(y) -> first(y)
    Each sublayer has a norm of its own: norms[0], norms[1], norms[2].
the normed input is carried on: y + self_attend(first(y)) -> first(y) + self_attend(first(y))
  && y + cross_attend(second(y), memory) -> second(y) + cross_attend(second(y), memory)
  && y + feed_forward(third(y)) -> third(y) + feed_forward(third(y))
    The sum takes y as it is; only the sublayer reads norm(y). That keeps a path of sums alone from top to bottom.
the memory is normed, too: second(y), memory -> second(y), second(memory)
    The encoder's last norm has normed it once. Only the one who asks, y, is normed here.
the memory alone is normed: cross_attend(second(y), memory) -> cross_attend(y, second(memory))
    Only the one who asks, y, is normed here; memory comes as it is.
the two inputs of cross_attend exchanged: second(y), memory -> memory, second(y)
    First who asks, then who is asked: cross_attend(norm(y), memory).
no cross-attention: y = y + cross_attend(second(y), memory) ->
    The source has no part in it: the second step is y + cross_attend(norm(y), memory).
no self-attention: y = y + self_attend(first(y)) ->
    The first step is y + self_attend(norm(y)).
no feed-forward network: y = y + feed_forward(third(y)) ->
    The last step is y + feed_forward(norm(y)).
cross-attention first: y + self_attend(first(y)) -> y + cross_attend(first(y), memory)
  && y + cross_attend(second(y), memory) -> y + self_attend(second(y))
    First the words ask each other, then the source: self-attention, cross-attention, feed-forward.
feed-forward before cross-attention: y + cross_attend(second(y), memory) -> y + feed_forward(second(y))
  && y + feed_forward(third(y)) -> y + cross_attend(third(y), memory)
    First both attentions, then the feed-forward network.
all three read the same y: y = y + self_attend(first(y)) -> out = y + self_attend(first(y))
  && y = y + cross_attend(second(y), memory) -> out = out + cross_attend(second(y), memory)
  && y = y + feed_forward(third(y)) -> y = out + feed_forward(third(y))
    Each step begins with what the step before has made: y = y + ..., three times.
one norm more at the end: return y -> return third(y)
    In pre-norm the sum itself is never normed in a layer; one more norm comes behind the last layer of the stack.
""")
