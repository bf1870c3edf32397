"""Lesson 07: the Transformer."""

import math

import torch
from torch import Tensor

from utils.checks.engine import exercise

EPS = 1e-5
LAYER_NORM = frozenset({"layer_norm", "native_layer_norm"})


# ---- layer_norm --------------------------------------------------------------------------------------------


@exercise(stars=1, forbidden=LAYER_NORM)
def layer_norm(x, gamma, beta):
    """gamma * (x - mean) / sqrt(variance + 1e-5) + beta on the last axis: x (..., D), gamma, beta (D,) -> (..., D)."""
    if x.dim() > 1:
        return torch.stack([layer_norm.oracle(row, gamma, beta) for row in x])
    mean = sum(x) / len(x)
    variance = sum((entry - mean) ** 2 for entry in x) / len(x)
    return torch.stack(
        [g * (e - mean) / torch.sqrt(variance + EPS) + b for e, g, b in zip(x, gamma, beta, strict=True)]
    )


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


def _normed(x, variance, gamma, beta):
    return gamma * (x - x.mean(-1, keepdim=True)) / (variance + EPS).sqrt() + beta


@layer_norm.mistake(
    "the unbiased variance",
    "PyTorch's var and std divide by d - 1 unless told otherwise. The formula divides by d: take the mean of the "
    "squares, or var(..., correction=0). See section 3.",
)
def _(x, gamma, beta):
    return _normed(x, x.var(-1, keepdim=True), gamma, beta)


@layer_norm.mistake(
    "eps outside the root",
    "eps is added to the variance, inside the root. Only vectors of tiny variance show it: section 3 has one.",
)
def _(x, gamma, beta):
    return gamma * (x - x.mean(-1, keepdim=True)) / (x.std(-1, correction=0, keepdim=True) + EPS) + beta


@layer_norm.mistake(
    "x.std(), and eps added to it",
    "Two things at once: std divides by d - 1, the formula by d; and eps belongs inside the root. Compute the "
    "variance, add eps, and take the root last. See section 3.",
)
def _(x, gamma, beta):
    return gamma * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + EPS) + beta


@layer_norm.mistake(
    "no eps", "A vector of equal entries has variance 0, and 0 / 0 is NaN: add 1e-5 to the variance, inside the root."
)
def _(x, gamma, beta):
    return gamma * (x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True) + beta


@layer_norm.mistake(
    "x.std(), and no eps",
    "Two things at once: std divides by d - 1, the formula by d; and a vector of equal entries gives 0 / 0. Compute "
    "the variance, add 1e-5, and take the root last. See section 3.",
)
def _(x, gamma, beta):
    return gamma * (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True) + beta


@layer_norm.mistake("divided by the variance", "Divide by the root of it, the standard deviation.")
def _(x, gamma, beta):
    return gamma * (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + EPS) + beta


@layer_norm.mistake(
    "the first axis instead of the last",
    "This is batch norm's axis, every feature over the batch. Layer norm stays within each vector, dim=-1. "
    'See "The other axis: batch norm" in section 3.',
)
def _(x, gamma, beta):
    return gamma * (x - x.mean(0)) / (x.var(0, correction=0) + EPS).sqrt() + beta


@layer_norm.mistake(
    "axis 1 instead of the last",
    "In a table (n, D) the two are the same, in (B, T, D) they are not, and a single vector has no axis 1: say dim=-1.",
)
def _(x, gamma, beta):
    mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    return gamma * (x - mean) / (variance + EPS).sqrt() + beta


@layer_norm.mistake(
    "one mean for all vectors", "Each vector has a mean and a variance of its own: mean(dim=-1, keepdim=True)."
)
def _(x, gamma, beta):
    return gamma * (x - x.mean()) / (x.var(correction=0) + EPS).sqrt() + beta


KEEPDIM = (
    "keepdim forgotten",
    "The means of (B, T, D) are (B, T), and broadcasting then aligns them with the wrong axis. keepdim=True leaves a 1 "
    "in D's place. The variance needs it, too.",
)


@layer_norm.mistake(*KEEPDIM)
def _(x, gamma, beta):
    return gamma * (x - x.mean(-1)) / (x.var(-1, correction=0) + EPS).sqrt() + beta


@layer_norm.mistake(*KEEPDIM)
def _(x, gamma, beta):
    return _normed(x, x.var(-1, correction=0), gamma, beta)


@layer_norm.mistake(
    "gamma and beta left out", "After the norm, gamma stretches and beta shifts each entry: gamma * ... + beta."
)
def _(x, gamma, beta):
    return _normed(x, x.var(-1, correction=0, keepdim=True), 1, 0)


@layer_norm.mistake(
    "beta stretched, too", "First stretch, then shift: gamma * normed + beta, not gamma * (normed + beta)."
)
def _(x, gamma, beta):
    return gamma * (_normed(x, x.var(-1, correction=0, keepdim=True), 1, 0) + beta)


@layer_norm.mistake("beta left out", "The last step shifts each entry: gamma * normed + beta.")
def _(x, gamma, beta):
    return _normed(x, x.var(-1, correction=0, keepdim=True), gamma, 0)


@layer_norm.mistake("gamma left out", "Before beta shifts it, gamma stretches each entry: gamma * normed + beta.")
def _(x, gamma, beta):
    return _normed(x, x.var(-1, correction=0, keepdim=True), 1, beta)


NO_MEAN = (
    "the mean not subtracted",
    "The formula divides x - mean, not x, and the variance is the mean of (x - mean) squared, not of x squared: "
    "the result has mean 0 before beta.",
)


@layer_norm.mistake(*NO_MEAN)
def _(x, gamma, beta):
    return gamma * x / (x.var(-1, correction=0, keepdim=True) + EPS).sqrt() + beta


@layer_norm.mistake(*NO_MEAN)
def _(x, gamma, beta):
    return gamma * x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() + beta


@layer_norm.mistake(
    "the squares of x, not of x - mean",
    "The variance says how far the entries lie from their mean: subtract it before you square.",
)
def _(x, gamma, beta):
    return _normed(x, x.square().mean(-1, keepdim=True), gamma, beta)


@layer_norm.mistake(
    "the squares added up",
    "The variance is the mean of the squared distances: divide their sum by the number of entries.",
)
def _(x, gamma, beta):
    return _normed(x, x.var(-1, correction=0, keepdim=True) * x.shape[-1], gamma, beta)


PARENTHESES = (
    "parentheses missing around x - mean",
    "/ and * come before -, so only the mean is divided. First x - mean, in parentheses, then the division.",
)


def _divided_mean(x) -> Tensor:
    return x.mean(-1, keepdim=True) / (x.var(-1, correction=0, keepdim=True) + EPS).sqrt()


@layer_norm.mistake(*PARENTHESES)
def _(x, gamma, beta):
    return gamma * x - _divided_mean(x) + beta


@layer_norm.mistake(*PARENTHESES)
def _(x, gamma, beta):
    return gamma * (x - _divided_mean(x)) + beta


@layer_norm.mistake(*PARENTHESES)
def _(x, gamma, beta):
    return x - _divided_mean(x) * gamma + beta


# ---- causal_mask -------------------------------------------------------------------------------------------


@exercise(stars=1)
def causal_mask(n):
    """bool (n, n), True where key j <= query i."""
    return torch.tensor([[j <= i for j in range(n)] for i in range(n)])


@causal_mask.cases
def _(draw):
    return [(3,), (1,), (2,), (draw.integer(4, 6),)]


@causal_mask.mistake(
    "the upper triangle",
    "Rows ask and columns are asked: row i may look at itself and at the columns on its left. Yours looks at itself "
    "and to the right, into the future. See section 7.",
)
def _(n):
    return torch.ones(n, n).triu().bool()


@causal_mask.mistake(
    "inverted",
    "Here True says who may attend, as everywhere in this course. In nn.Transformer's masks True says who may not.",
)
def _(n):
    return torch.ones(n, n).triu(1).bool()


@causal_mask.mistake(
    "the diagonal is missing",
    "A word may ask itself, too: j <= i, not j < i. Otherwise the first row has nobody to ask at all.",
)
def _(n):
    return torch.ones(n, n).tril(-1).bool()


@causal_mask.mistake("one step too far", "Row i sees column i + 1: the very word that it should say next. j <= i.")
def _(n):
    return torch.ones(n, n).tril(1).bool()


@causal_mask.mistake("nothing is hidden", "Every entry is True: compare j with i, and let j <= i alone be True.")
def _(n):
    return torch.ones(n, n).bool()


@causal_mask.mistake(
    "numbers where True and False belong", "The triangle is right. Compare instead of counting, or end with .bool()."
)
def _(n):
    return torch.ones(n, n).tril()


@causal_mask.mistake(
    "what is added to the scores",
    "Zeros and minus infinities are another kind of mask, added to the scores. Here it is True (may attend) and False.",
)
def _(n):
    return torch.full((n, n), -math.inf).triu(1)


# ---- add_and_norm ------------------------------------------------------------------------------------------


@exercise(stars=1, forbidden=LAYER_NORM)
def add_and_norm(x, sublayer_output, gamma, beta):
    """layer_norm(x + sublayer_output): x, sublayer_output (..., D), gamma, beta (D,) -> (..., D)."""
    return layer_norm.oracle(x + sublayer_output, gamma, beta)


@add_and_norm.cases
def _(draw):
    total, gamma, beta = _rows_to_norm(draw)
    x = torch.tensor([[1.0, 0, 2, -1], [0, 2, 1, 1]])
    return [
        (x, total - x, gamma, beta),
        (draw.normal(4), draw.normal(4), draw.normal(4) + 2, draw.normal(4) + 1),
        (draw.normal(2, 3, 5), draw.normal(2, 3, 5), draw.normal(5) + 2, draw.normal(5) + 1),
    ]


def _norm(x, gamma, beta):
    return _normed(x, x.var(-1, correction=0, keepdim=True), gamma, beta)


@add_and_norm.mistake(
    "norm first, then add",
    "Only what the sublayer said is normed here. In the paper's order the sum is: norm(x + f(x)). See section 4.",
)
def _(x, sublayer_output, gamma, beta):
    return x + _norm(sublayer_output, gamma, beta)


@add_and_norm.mistake(
    "the input normed, then added to",
    "Only x is normed here. In the paper's order, post-norm, first add, then norm the sum. See section 4.",
)
def _(x, sublayer_output, gamma, beta):
    return _norm(x, gamma, beta) + sublayer_output


@add_and_norm.mistake(
    "both normed, then added", "The norm comes once, after the sum: norm(x + f(x)), not norm(x) + norm(f(x))."
)
def _(x, sublayer_output, gamma, beta):
    return _norm(x, gamma, beta) + _norm(sublayer_output, gamma, beta)


@add_and_norm.mistake(
    "no Add",
    "x itself is lost: only what the sublayer said is normed. Section 4 shows what becomes of a stack without the sum.",
)
def _(x, sublayer_output, gamma, beta):
    return _norm(sublayer_output, gamma, beta)


@add_and_norm.mistake("no Norm", "The sum is right, and still has to be normed: layer_norm(x + sublayer_output).")
def _(x, sublayer_output, gamma, beta):
    return x + sublayer_output


@add_and_norm.mistake("x added twice", "Add x before the norm only; nothing is added after it.")
def _(x, sublayer_output, gamma, beta):
    return x + _norm(x + sublayer_output, gamma, beta)


@add_and_norm.mistake("gamma and beta left out", "The norm stretches by gamma and shifts by beta, as in exercise 1.")
def _(x, sublayer_output, gamma, beta):
    return _norm(x + sublayer_output, 1, 0)


@add_and_norm.mistake(
    "the unbiased variance", "The variance is divided by d, not by d - 1: exercise 1's layer_norm does it."
)
def _(x, sublayer_output, gamma, beta):
    total = x + sublayer_output
    return _normed(total, total.var(-1, keepdim=True), gamma, beta)


# ---- noam_lr -----------------------------------------------------------------------------------------------


@exercise(stars=1)
def noam_lr(step, d_model, warmup):
    """d_model^-0.5 * min(step^-0.5, step * warmup^-1.5); 0.0 at step 0."""
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5) if step > 0 else 0.0


@noam_lr.cases
def _(draw):
    warmup = draw.integer(100, 4000)
    return [
        (1, 16, 4),
        (16, 16, 4),
        (4, 16, 4),
        (0, 16, 4),
        (draw.integer(2, 9), 512, warmup),
        (draw.integer(2, 9) * warmup, draw.integer(32, 256), warmup),
    ]


@noam_lr.mistake(
    "the larger of the two", "The rising line and the falling curve cross at step = warmup; the rate is the lower: min."
)
def _(step, d_model, warmup):
    return d_model**-0.5 * max(step**-0.5, step * warmup**-1.5) if step else 0.0


@noam_lr.mistake("no d_model", "Both parts are multiplied by d_model ** -0.5: wide models take smaller steps.")
def _(step, d_model, warmup):
    return min(step**-0.5, step * warmup**-1.5) if step else 0.0


@noam_lr.mistake("multiplied by sqrt(d_model)", "The power is -0.5: divide by the root of d_model.")
def _(step, d_model, warmup):
    return d_model**0.5 * min(step**-0.5, step * warmup**-1.5) if step else 0.0


@noam_lr.mistake(
    "d_model in one part only", "The factor d_model ** -0.5 stands before the min: it belongs to both parts."
)
def _(step, d_model, warmup):
    return min(d_model**-0.5 * step**-0.5, step * warmup**-1.5) if step else 0.0


@noam_lr.mistake(
    "it never rises", "This is the falling part alone. Up to step = warmup, step * warmup ** -1.5 is smaller."
)
def _(step, d_model, warmup):
    return d_model**-0.5 * step**-0.5 if step else 0.0


@noam_lr.mistake("it never falls", "This is the rising part alone. After step = warmup, step ** -0.5 is smaller.")
def _(step, d_model, warmup):
    return d_model**-0.5 * step * warmup**-1.5


@noam_lr.mistake(
    "the parts do not meet",
    "At step = warmup both parts must be equal, warmup ** -0.5. step / warmup is 1 there: write step * warmup ** -1.5.",
)
def _(step, d_model, warmup):
    return d_model**-0.5 * min(step**-0.5, step / warmup) if step else 0.0


@noam_lr.mistake(
    "the wrong power of warmup", "warmup has the power -1.5: step * warmup ** -1.5, equal to step / warmup ** 1.5."
)
def _(step, d_model, warmup):
    return d_model**-0.5 * min(step**-0.5, step * warmup**-0.5) if step else 0.0


@noam_lr.mistake(
    "step 0 counted as step 1",
    "At step 0 the rate is 0.0. `max(step, 1)` avoids the division by zero, not the wrong rate.",
)
def _(step, d_model, warmup):
    step = max(step, 1)
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


@noam_lr.mistake("one step ahead", "The formula takes step as it is; step + 1 is the rate of the next one.")
def _(step, d_model, warmup):
    step += 1
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


# ---- label_smoothed_loss -----------------------------------------------------------------------------------


@exercise(stars=3, forbidden=frozenset({"cross_entropy(label_smoothing)"}))
def label_smoothed_loss(logits, target, eps, pad_id):
    """Cross-entropy against 1 - eps on the target, eps / (V - 2) on the others, 0 on pad; mean over targets not pad.

    logits (..., V), target (...) long -> (); 0 if every target is pad.
    """
    V, losses = logits.shape[-1], []
    for row, right in zip(logits.reshape(-1, V), target.reshape(-1).tolist(), strict=True):
        if right != pad_id:
            wanted = [1 - eps if c == right else 0.0 if c == pad_id else eps / (V - 2) for c in range(V)]
            largest = row.detach().max()
            log_p = row - largest - torch.log(sum(torch.exp(z - largest) for z in row))
            losses.append(-sum(share * log_p[c] for c, share in enumerate(wanted)))
    return sum(losses) / len(losses) if losses else 0 * logits.sum()


@label_smoothed_loss.cases
def _(draw):
    logits = torch.tensor([[-1.0, 3, 1, 0]])[:, [0, *(torch.randperm(3, generator=draw.generator) + 1).tolist()]]
    return [
        (logits, torch.tensor([draw.integer(1, 3)]), 0.4, 0),
        (draw.small(2, 2, 4), torch.tensor([[2, 3], [1, 0]]), 0.2, 0),
        (draw.small(2, 4), torch.tensor([3, 3]), 0.2, 3),
        (torch.tensor([[0.0, 200, -1, 100, 3]]), torch.tensor([2]), 0.1, 0),
        (draw.normal(5, 6), torch.tensor([1, 4, 2, 5, 3]), 0.3, 0),
        (draw.normal(2, 3, 5), torch.tensor([[4, 0, 3], [2, 1, 1]]), 0.1, 1),
    ]


def _targets(logits, target, pad_id, right, others, pad=0.0) -> Tensor:
    """Rows of a target distribution, made in this order: others everywhere, pad's column, the right word's."""
    wanted = torch.full_like(logits, others)
    wanted[..., pad_id] = pad
    return wanted.scatter(-1, target[..., None], right)


def _mean(logits, target, pad_id, wanted) -> Tensor:
    """The mean cross-entropy over what is not pad; 0 if nothing is left."""
    real = target != pad_id
    loss = -(wanted * logits.log_softmax(-1)).sum(-1)
    return (loss * real).sum() / real.sum().clamp(min=1)


def _smooth(logits, target, eps, pad_id) -> Tensor:
    return _targets(logits, target, pad_id, 1 - eps, eps / (logits.shape[-1] - 2))


def _mistake(name: str, advice: str):
    """A mistake as learners make it: some forget besides that nothing may be left, and divide 0 by 0."""

    def add(code):
        def divides_by_zero(logits, target, eps, pad_id):
            return code(logits, target, eps, pad_id) * (1.0 if (target != pad_id).any() else math.nan)

        for one in (code, divides_by_zero):
            label_smoothed_loss.mistake(name, advice)(one)
        return code

    return add


@_mistake(
    "eps / V everywhere, as PyTorch's label_smoothing",
    "F.cross_entropy's own label_smoothing gives every class eps / V, pad too, and the target its 1 - eps on top. "
    "Here pad gets nothing, and the V - 2 classes that are neither pad nor target share eps.",
)
def _(logits, target, eps, pad_id):
    V = logits.shape[-1]
    return _mean(logits, target, pad_id, _targets(logits, target, pad_id, 1 - eps + eps / V, eps / V, eps / V))


for _left_out in range(3):  # from the number of classes, in the share: V, V - 1 or V - 2

    @_mistake(
        "pad gets a share, too",
        "eps goes to the V - 2 classes that are neither the target nor pad: pad is never a translation, so it gets 0.",
    )
    def _(logits, target, eps, pad_id, left_out=_left_out):
        share = eps / (logits.shape[-1] - left_out)
        return _mean(logits, target, pad_id, _targets(logits, target, pad_id, 1 - eps, share, share))


@_mistake(
    "shares of eps / (V - 1)",
    "With pad and the target left out, V - 2 classes share eps: check that your target distribution adds up to 1.",
)
def _(logits, target, eps, pad_id):
    return _mean(logits, target, pad_id, _targets(logits, target, pad_id, 1 - eps, eps / (logits.shape[-1] - 1)))


@_mistake(
    "shares of eps / V",
    "With pad and the target left out, V - 2 classes share eps: check that your target distribution adds up to 1.",
)
def _(logits, target, eps, pad_id):
    return _mean(logits, target, pad_id, _targets(logits, target, pad_id, 1 - eps, eps / logits.shape[-1]))


for _left_out in (1, 2):

    @_mistake(
        "the target gets a share of eps, too",
        "1 - eps is all that the target gets; eps goes to the V - 2 other classes.",
    )
    def _(logits, target, eps, pad_id, left_out=_left_out):
        share = eps / (logits.shape[-1] - left_out)
        return _mean(logits, target, pad_id, _targets(logits, target, pad_id, 1 - eps + share, share))


@_mistake("no smoothing", "This is the plain cross-entropy, the loss for eps = 0.")
def _(logits, target, eps, pad_id):
    return _mean(logits, target, pad_id, _targets(logits, target, pad_id, 1.0, 0.0))


@_mistake(
    "divided by all places", "The mean goes over targets that are not pad: divide by their number, not by that of all."
)
def _(logits, target, eps, pad_id):
    real = target != pad_id
    return _mean(logits, target, pad_id, _smooth(logits, target, eps, pad_id)) * real.sum() / real.numel()


for _more in (0, 1):  # on top of the 1, the others' share, too

    @_mistake(
        "the target keeps 1",
        "What the other classes get is taken from the right one: 1 - eps is left for it. Your target distribution "
        "should add up to 1.",
    )
    def _(logits, target, eps, pad_id, more=_more):
        share = eps / (logits.shape[-1] - 2)
        return _mean(logits, target, pad_id, _targets(logits, target, pad_id, 1 + more * share, share))


PADDING_COUNTS = (
    "padded places counted as words",
    "Where the target is pad there is nothing to learn: leave these places out, of the sum and of the count.",
)
PADDING_COSTS = (
    "padded places in the sum",
    "The count is right, but places whose target is pad still add to the sum: they should cost nothing.",
)


def _losses(logits, target, eps, pad_id, pad_last) -> Tensor:
    """A loss for every place, padded or not: there pad has 1 - eps, or 0 if its column was emptied last."""
    wanted = _smooth(logits, target, eps, pad_id)
    if pad_last:
        wanted[..., pad_id] = 0
    return -(wanted * logits.log_softmax(-1)).sum(-1)


@_mistake(*PADDING_COUNTS)
def _(logits, target, eps, pad_id):
    return _losses(logits, target, eps, pad_id, pad_last=False).mean()


@_mistake(*PADDING_COUNTS)
def _(logits, target, eps, pad_id):
    return _losses(logits, target, eps, pad_id, pad_last=True).mean()


@_mistake(*PADDING_COSTS)
def _(logits, target, eps, pad_id):
    return _losses(logits, target, eps, pad_id, pad_last=False).sum() / (target != pad_id).sum().clamp(min=1)


@_mistake(*PADDING_COSTS)
def _(logits, target, eps, pad_id):
    return _losses(logits, target, eps, pad_id, pad_last=True).sum() / (target != pad_id).sum().clamp(min=1)


@_mistake("the sum, not the mean", "Divide by the number of targets that are not pad.")
def _(logits, target, eps, pad_id):
    return _mean(logits, target, pad_id, _smooth(logits, target, eps, pad_id)) * (target != pad_id).sum()


@_mistake(
    "a mean of means",
    "Each sentence was averaged by itself, so a word in a short one counts more. Take one mean over all targets that "
    "are not pad.",
)
def _(logits, target, eps, pad_id):
    if target.dim() == 1:
        return _mean(logits, target, pad_id, _smooth(logits, target, eps, pad_id))
    return sum(
        _mean(row, ids, pad_id, _smooth(row, ids, eps, pad_id)) for row, ids in zip(logits, target, strict=True)
    ) / len(target)


@_mistake(
    "divided by V, too", "Sum over the classes, and take the mean over the places only: .sum(-1) comes before the mean."
)
def _(logits, target, eps, pad_id):
    return _mean(logits, target, pad_id, _smooth(logits, target, eps, pad_id)) / logits.shape[-1]


@_mistake(
    "a mean over everything",
    "It divides by V and by the padded places, too. Sum over the classes, then divide by the number of targets that "
    "are not pad.",
)
def _(logits, target, eps, pad_id):
    real = target != pad_id
    return _mean(logits, target, pad_id, _smooth(logits, target, eps, pad_id)) * real.sum() / logits.numel()


@label_smoothed_loss.mistake(
    "0 / 0 where all is padding",
    "With no target left, the mean divides by zero. The task asks for torch.tensor(0.0) there.",
)
def _(logits, target, eps, pad_id):
    real = target != pad_id
    return _mean(logits, target, pad_id, _smooth(logits, target, eps, pad_id)) * real.sum() / real.sum()


@_mistake(
    "the log of a softmax",
    "A probability below 1e-45 is rounded to 0, and the logarithm of 0 is minus infinity. log_softmax goes another "
    "way: it subtracts the logarithm of the sum from the logits.",
)
def _(logits, target, eps, pad_id):
    wanted, real = _smooth(logits, target, eps, pad_id), target != pad_id
    loss = -(wanted * logits.softmax(-1).log()).sum(-1)
    return (loss * real).sum() / real.sum().clamp(min=1)


for _tiny in (1e-6, 1e-8, 1e-9, 1e-10, 1e-12):

    @_mistake(
        "a small number inside the logarithm",
        "It keeps the logarithm finite, but not right: no class can cost more than minus the logarithm of that number. "
        "log_softmax needs no such help: it subtracts the logarithm of the sum from the logits.",
    )
    def _(logits, target, eps, pad_id, tiny=_tiny):
        wanted, real = _smooth(logits, target, eps, pad_id), target != pad_id
        loss = -(wanted * (logits.softmax(-1) + tiny).log()).sum(-1)
        return (loss * real).sum() / real.sum().clamp(min=1)


for _v, _dim in ((-1, 0), (-1, 1), (1, -1), (1, 1)):  # where V was looked up, and softmax's axis

    @_mistake(
        "another axis than the last",
        "In (N, V) the classes stand on axis 1, in (B, T, V) they do not: logits.shape[-1], and log_softmax(-1).",
    )
    def _(logits, target, eps, pad_id, v=_v, dim=_dim):
        wanted = _targets(logits, target, pad_id, 1 - eps, eps / (logits.shape[v] - 2))
        real = target != pad_id
        return -(wanted * logits.log_softmax(dim)).sum(-1)[real].sum() / real.sum().clamp(min=1)


@_mistake("pad taken for 0", "Pad is not 0 in every vocabulary: compare with the argument `pad_id`.")
def _(logits, target, eps, pad_id):
    return _mean(logits, target, 0, _smooth(logits, target, eps, 0))


@_mistake("logits taken for log-probabilities", "The cross-entropy needs log p: take log_softmax of the logits first.")
def _(logits, target, eps, pad_id):
    wanted, real = _smooth(logits, target, eps, pad_id), target != pad_id
    return -(wanted * logits).sum(-1)[real].sum() / real.sum().clamp(min=1)


@_mistake(
    "probabilities without a logarithm", "The cross-entropy is -sum of target times log p: log_softmax, not softmax."
)
def _(logits, target, eps, pad_id):
    wanted, real = _smooth(logits, target, eps, pad_id), target != pad_id
    return -(wanted * logits.softmax(-1)).sum(-1)[real].sum() / real.sum().clamp(min=1)


@_mistake("the sign", "A cross-entropy is minus the sum: log p is negative, so the loss is positive.")
def _(logits, target, eps, pad_id):
    return -_mean(logits, target, pad_id, _smooth(logits, target, eps, pad_id))


@_mistake(
    "the KL divergence",
    "F.kl_div subtracts the target's own entropy. The gradients are the same, the number is not: here it is the plain "
    "-sum of target times log p.",
)
def _(logits, target, eps, pad_id):
    wanted = _smooth(logits, target, eps, pad_id)
    own = torch.xlogy(wanted, wanted).sum(-1)[target != pad_id]
    return _mean(logits, target, pad_id, wanted) + own.sum() / max(len(own), 1)
