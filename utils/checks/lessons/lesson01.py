"""Lesson 01: sequence models."""

import math

import torch

from utils.checks.engine import exercise

RNN = frozenset({"rnn_tanh", "rnn_relu", "rnn_tanh_cell", "rnn_relu_cell"})
CONVOLUTIONS = frozenset(
    {f"conv{transposed}{axes}d" for transposed in ("", "_transpose") for axes in (1, 2, 3)}
    | {"convolution", "_convolution", "conv_tbc"}
)


# ---- rnn_step ----------------------------------------------------------------------------------------------


@exercise(stars=1, forbidden=RNN)
def rnn_step(x, h, W, U, b):
    """tanh(W x + U h + b): x (d_in,), h (d,), W (d, d_in), U (d, d), b (d,) -> (d,)."""
    rows = range(len(h))
    word = [sum(W[i, j] * x[j] for j in range(len(x))) for i in rows]
    memory = [sum(U[i, j] * h[j] for j in range(len(h))) for i in rows]
    return torch.stack([torch.tanh(word[i] + memory[i] + b[i]) for i in rows])


@rnn_step.cases
def _(draw):
    # Set in part, so that no mistake looks right by chance.
    W, U, b = draw.small(2, 2), torch.tensor([[0.5, 1.0], [0.0, 0.5]]), torch.tensor([0.5, -0.5])
    W[0], W[1, 0] = torch.tensor([1.0, 0.0]), 2
    return [
        (torch.tensor([1.0, 0.0]), torch.tensor([0.5, -1.0]), W, U, b),
        (draw.normal(3), draw.normal(3), draw.normal(3, 3), draw.normal(3, 3), draw.normal(3)),
        (draw.normal(2), draw.normal(3), draw.normal(3, 2), draw.normal(3, 3), draw.normal(3)),
        (draw.normal(5), draw.normal(4), draw.normal(4, 5), draw.normal(4, 4), draw.normal(4)),
    ]


@rnn_step.mistake(
    "no tanh",
    'The sum of the three parts goes through tanh, which keeps every entry between -1 and 1: see "One word '
    'after the other: an RNN".',
)
def _(x, h, W, U, b):
    return W @ x + U @ h + b


@rnn_step.mistake("the bias is missing", "Three parts are added inside the tanh: W x, U h and b.")
def _(x, h, W, U, b):
    return torch.tanh(W @ x + U @ h)


@rnn_step.mistake(
    "the bias is added after the tanh", "b stands inside the parentheses: add it first, then take the tanh."
)
def _(x, h, W, U, b):
    return torch.tanh(W @ x + U @ h) + b


@rnn_step.mistake(
    "the bias counts twice", "nn.RNN keeps two biases, of which only the sum matters; here b is that sum."
)
def _(x, h, W, U, b):
    return torch.tanh(W @ x + U @ h + 2 * b)


@rnn_step.mistake("the memory is forgotten", "U h is missing: without it nothing is carried from word to word.")
def _(x, h, W, U, b):
    return torch.tanh(W @ x + b)


@rnn_step.mistake("the word is not read", "W x is missing: the new state needs the new word, too.")
def _(x, h, W, U, b):
    return torch.tanh(U @ h + b)


@rnn_step.mistake(
    "the memory enters without U", "U reads the memory as W reads the word: multiply h by U before you add it."
)
def _(x, h, W, U, b):
    return torch.tanh(W @ x + h + b)


@rnn_step.mistake("a tanh for each part", "Add the parts first: one tanh around the whole sum, not one for each part.")
def _(x, h, W, U, b):
    return torch.tanh(W @ x) + torch.tanh(U @ h) + b


@rnn_step.mistake("a tanh for each part", "Add the parts first: one tanh around the whole sum, not one for each part.")
def _(x, h, W, U, b):
    return torch.tanh(W @ x + b) + torch.tanh(U @ h)


@rnn_step.mistake(
    "the memory is added after the tanh", "U h belongs inside: one tanh around the sum of all three parts."
)
def _(x, h, W, U, b):
    return torch.tanh(W @ x + b) + U @ h


@rnn_step.mistake("W and U are exchanged", "W reads the word x, U reads the memory h. Their shapes say it, too.")
def _(x, h, W, U, b):
    return torch.tanh(U @ x + W @ h + b)


@rnn_step.mistake(
    "both matrices are transposed", "Vectors are columns here: W @ x. x @ W is W transposed, times x; and so for U."
)
def _(x, h, W, U, b):
    return torch.tanh(x @ W + h @ U + b)


@rnn_step.mistake("U is transposed", "Vectors are columns here: U @ h. h @ U is U transposed, times h.")
def _(x, h, W, U, b):
    return torch.tanh(W @ x + h @ U + b)


@rnn_step.mistake(
    "a sigmoid instead of tanh", "tanh goes from -1 to 1, the sigmoid from 0 to 1: an entry could never say no."
)
def _(x, h, W, U, b):
    return torch.sigmoid(W @ x + U @ h + b)


@rnn_step.mistake("a ReLU instead of tanh", "The formula has a tanh: a ReLU would let the state grow without limit.")
def _(x, h, W, U, b):
    return torch.relu(W @ x + U @ h + b)


# ---- conv_layer --------------------------------------------------------------------------------------------


@exercise(stars=1, forbidden=CONVOLUTIONS)
def conv_layer(X, F):
    """number_i = sum over the window X[i], ..., X[i + k - 1] of filter times entry: X (n, d), F (k, d) -> (n-k+1,)."""
    n, k, d = len(X), len(F), X.shape[1]
    if k > n:
        raise ValueError(f"a filter of width {k} does not fit into {n} words")
    return torch.stack([sum(F[j, c] * X[i + j, c] for j in range(k) for c in range(d)) for i in range(n - k + 1)])


@conv_layer.cases
def _(draw):
    X, F = draw.small(4, 2), torch.tensor([[1.0, 0], [2.0, -1]])
    X[0], X[1], X[2] = torch.tensor([1.0, 2]), torch.tensor([0.0, 2]), torch.tensor([2.0, 0])
    X[3, 0] = 2
    return [
        (X, F),
        (draw.normal(3, 4), draw.normal(3, 4)),  # the filter is as wide as the text: one window
        (draw.normal(7, 3), draw.normal(1, 3)),
        (draw.small(1, 2), draw.small(2, 2)),  # it does not fit
        (draw.normal(8, 2), draw.normal(3, 2)),
    ]


def _windows(X, F):
    return [X[i : i + len(F)] for i in range(len(X) - len(F) + 1)]


def _fits(X, F):
    if len(F) > len(X):
        raise ValueError("the filter does not fit")


@conv_layer.mistake(
    "the filter is flipped",
    "Mathematics flips a filter before it slides; in networks it is laid on as it is, its first row on the first word. "
    'See "A filter looks through a window: a CNN".',
)
def _(X, F):
    _fits(X, F)
    return torch.stack([(F.flip(0) * window).sum() for window in _windows(X, F)])


@conv_layer.mistake(
    "the filter is flipped, rows and entries", "Row j of the filter belongs to word j of the window, entry by entry."
)
def _(X, F):
    _fits(X, F)
    return torch.stack([(F.flip(0, 1) * window).sum() for window in _windows(X, F)])


LAST = "the last window is missing", "A window of k words fits at n - k + 1 places: range(n - k) stops one too early."


@conv_layer.mistake(*LAST)
def _(X, F):
    _fits(X, F)
    return torch.stack([(F * window).sum() for window in _windows(X, F)[:-1]])


@conv_layer.mistake(*LAST)
def _(X, F):
    _fits(X, F)
    return torch.tensor([(F * window).sum() for window in _windows(X, F)[:-1]])


@conv_layer.mistake(*LAST)
def _(X, F):
    _fits(X, F)
    numbers = [(F * window).sum() for window in _windows(X, F)[:-1]]
    return torch.stack([*numbers, X.new_zeros(())])  # the place for it was made, and left empty


@conv_layer.mistake(
    "the first window is missing", "Python counts from 0: the first window is X[0:k], so i begins at 0."
)
def _(X, F):
    _fits(X, F)
    return torch.tensor([(F * window).sum() for window in _windows(X, F)[1:]])


# A product with the shorter slice stops with an error, but for k = 1 (the slice is empty) and k = 2 (it has one row).
TOO_MANY = (
    "a window too many",
    "The last window begins at word n - k, counted from 0: range(n - k + 1). Beyond that, the slice X[i : i + k] is "
    "cut short at the end of the text.",
)


@conv_layer.mistake(*TOO_MANY)
def _(X, F):
    _fits(X, F)
    return torch.stack([(F * X[i : i + len(F)]).sum() for i in range(len(X) - len(F) + 2)])


@conv_layer.mistake(*TOO_MANY)
def _(X, F):
    _fits(X, F)
    return torch.stack([(F * X[i : i + len(F)]).sum() for i in range(len(X))])


@conv_layer.mistake(
    "zeros at both edges",
    "Nothing hangs over the edge here: no padding, so there are n - k + 1 numbers and not one per word.",
)
def _(X, F):
    _fits(X, F)
    left = (len(F) - 1) // 2
    padded = torch.cat([X.new_zeros(left, X.shape[1]), X, X.new_zeros(len(F) - 1 - left, X.shape[1])])
    return torch.stack([(F * window).sum() for window in _windows(padded, F)])


@conv_layer.mistake(
    "zeros on the left",
    'Padding on the left is for the causal CNN of "Who remembers?". Here no window hangs over the edge.',
)
def _(X, F):
    _fits(X, F)
    padded = torch.cat([X.new_zeros(len(F) - 1, X.shape[1]), X])
    return torch.stack([(F * window).sum() for window in _windows(padded, F)])


@conv_layer.mistake(
    "the windows do not overlap", "The filter moves on by one word, not by its own width: windows overlap."
)
def _(X, F):
    _fits(X, F)
    return torch.stack([(F * window).sum() for window in _windows(X, F)[:: len(F)]])


@conv_layer.mistake(
    "a vector for each window",
    'All products of a window are added, over words and entries: one number, as "One number is not a vector" says.',
)
def _(X, F):
    _fits(X, F)
    return torch.stack([(F * window).sum(0) for window in _windows(X, F)])


@conv_layer.mistake(
    "a number for each word of the window", "Add over the words of the window, too: one window, one number."
)
def _(X, F):
    _fits(X, F)
    return torch.stack([(F * window).sum(1) for window in _windows(X, F)])


@conv_layer.mistake(
    "the mean instead of the sum", "An inner product adds up; it is not divided by the number of terms."
)
def _(X, F):
    _fits(X, F)
    return torch.stack([(F * window).mean() for window in _windows(X, F)])


@conv_layer.mistake(
    "the filter is not used", "Each entry of the window is multiplied by its weight before all is added."
)
def _(X, F):
    _fits(X, F)
    return torch.stack([window.sum() for window in _windows(X, F)])


@conv_layer.mistake(
    "an activation on top", "The inner products themselves are asked for; tanh or ReLU would come later."
)
def _(X, F):
    _fits(X, F)
    return torch.stack([(F * window).sum() for window in _windows(X, F)]).tanh()


@conv_layer.mistake(
    "an activation on top", "The inner products themselves are asked for; tanh or ReLU would come later."
)
def _(X, F):
    _fits(X, F)
    return torch.stack([(F * window).sum() for window in _windows(X, F)]).relu()


@conv_layer.mistake(
    "an empty answer where the filter does not fit",
    "With k > n there is not a single window. Say so: raise ValueError('...') before the loop.",
)
def _(X, F):
    return torch.stack([(F * window).sum() for window in _windows(X, F)]) if len(F) <= len(X) else X.new_zeros(0)


# ---- receptive_field ---------------------------------------------------------------------------------------


@exercise(stars=1)
def receptive_field(n_layers, kernel):
    """1 + L (k - 1): one position, and k - 1 more with every layer."""
    seen = 1
    for _ in range(n_layers):
        seen += kernel - 1
    return seen


@receptive_field.cases
def _(draw):
    return [
        (2, 3),
        (1, 4),
        (0, 5),
        (3, 1),
        (draw.integer(4, 9), draw.integer(5, 9)),
    ]


AGAIN = 'See "Stacked filters see more".'


@receptive_field.mistake(
    "the output itself is not counted", f"L (k - 1) are the others: add 1 for the position itself. {AGAIN}"
)
def _(n_layers, kernel):
    return n_layers * (kernel - 1)


@receptive_field.mistake(
    "every layer adds k", f"Windows overlap: one of the k positions was seen before, so a layer adds k - 1. {AGAIN}"
)
def _(n_layers, kernel):
    return 1 + n_layers * kernel


@receptive_field.mistake(
    "L times k", f"That is right only if no two windows overlap. They do: a layer adds k - 1. {AGAIN}"
)
def _(n_layers, kernel):
    return n_layers * kernel


@receptive_field.mistake(
    "k to the power L", f"That would need windows that never overlap. They do: a layer adds k - 1. {AGAIN}"
)
def _(n_layers, kernel):
    return kernel**n_layers


@receptive_field.mistake(
    "one layer too few", "With no layer an output sees 1 position, itself; each layer, the first one too, adds k - 1."
)
def _(n_layers, kernel):
    return 1 + (n_layers - 1) * (kernel - 1)


@receptive_field.mistake(
    "one layer too many", "With no layer an output sees 1 position, itself. That is where to begin."
)
def _(n_layers, kernel):
    return 1 + (n_layers + 1) * (kernel - 1)


@receptive_field.mistake(
    "k - 1 at either end", "A layer adds k - 1 positions in all: half of them on the left, half on the right."
)
def _(n_layers, kernel):
    return 1 + 2 * n_layers * (kernel - 1)


ONE_SIDE = (
    "only one side",
    "(k - 1) / 2 is what a layer adds at one end. There are two: k - 1 in all, for even k as well.",
)
HALVES = (
    "half windows, rounded",
    "Two halves, each rounded, make k - 1 for odd k only. An even window is not symmetric, and still adds k - 1.",
)


@receptive_field.mistake(*ONE_SIDE)
def _(n_layers, kernel):
    return 1 + n_layers * (kernel // 2)


@receptive_field.mistake(*ONE_SIDE)
def _(n_layers, kernel):
    return 1 + n_layers * ((kernel - 1) // 2)


@receptive_field.mistake(*HALVES)
def _(n_layers, kernel):
    return 1 + 2 * n_layers * (kernel // 2)


@receptive_field.mistake(*HALVES)
def _(n_layers, kernel):
    return 1 + 2 * n_layers * ((kernel - 1) // 2)


@receptive_field.mistake(
    "gaps that double", 'That is the field with dilation, from "Leave gaps: dilation". Here there are no gaps.'
)
def _(n_layers, kernel):
    return 1 + (kernel - 1) * (2**n_layers - 1)


# ---- layers_needed -----------------------------------------------------------------------------------------


@exercise(stars=2)
def layers_needed(n, kernel):
    """The least L >= 0 with 1 + L (k - 1) >= n."""
    if kernel == 1 and n > 1:
        raise ValueError("layers of width 1 never see a second position, however many there are")
    layers = 0
    while 1 + layers * (kernel - 1) < n:
        layers += 1
    return layers


@layers_needed.cases
def _(draw):
    kernel, layers = draw.integer(4, 7), draw.integer(4, 6)
    return [
        (4, 3),
        (3, 3),  # it just fits
        (9, 3),
        (1, 3),
        (2 + layers * (kernel - 1), kernel),  # one position more than fits
        (1, 1),
        (draw.integer(2, 9), 1),
    ]


def _possible(n, kernel):
    if kernel == 1 and n > 1:
        raise ValueError("layers of width 1 never see a second position")


@layers_needed.mistake(
    "rounded down",
    "Then the field is a little too small unless it fits exactly. A part of a layer takes a whole layer.",
)
def _(n, kernel):
    _possible(n, kernel)
    return (n - 1) // (kernel - 1) if n > 1 else 0


@layers_needed.mistake("rounded to the nearest", "A part of a layer, however small, takes a whole layer: round up.")
def _(n, kernel):
    _possible(n, kernel)
    return round((n - 1) / (kernel - 1)) if n > 1 else 0


# n / (k - 1), rounded up, is the same as (n - 1) / (k - 1), rounded down, plus one. With n = 1 that is 1, unless all of
# these cases, or k = 1 alone, are set apart; hence several variants of it, and of the mistakes below.
FITS = (
    "one layer too many where it just fits",
    "The first position is seen before the first layer, so n - 1 are left to win; and a field of exactly n is enough.",
)


@layers_needed.mistake(*FITS)
def _(n, kernel):
    _possible(n, kernel)
    return math.ceil(n / (kernel - 1)) if n > 1 else 0


@layers_needed.mistake(*FITS)
def _(n, kernel):
    _possible(n, kernel)
    return math.ceil(n / (kernel - 1)) if kernel > 1 else 1


@layers_needed.mistake(*FITS)
def _(n, kernel):
    _possible(n, kernel)
    return math.ceil(n / (kernel - 1)) if kernel > 1 else 0


@layers_needed.mistake("every layer adds k", f"Windows overlap, so a layer adds k - 1 positions. {AGAIN}")
def _(n, kernel):
    _possible(n, kernel)
    return math.ceil((n - 1) / kernel)


BY_K = "n divided by k", f"A layer adds k - 1 positions, and one is there from the start. {AGAIN}"
ONE = "at least one layer", "With n = 1 the output has seen everything before the first layer: 0 layers are enough."


@layers_needed.mistake(*BY_K)
def _(n, kernel):
    _possible(n, kernel)
    return math.ceil(n / kernel)


@layers_needed.mistake(*BY_K)
def _(n, kernel):
    _possible(n, kernel)
    return math.ceil(n / kernel) if kernel > 1 else 0


@layers_needed.mistake(*BY_K)
def _(n, kernel):
    _possible(n, kernel)
    return math.ceil(n / kernel) if n > 1 else 0


@layers_needed.mistake(*ONE)
def _(n, kernel):
    _possible(n, kernel)
    return max(1, math.ceil((n - 1) / (kernel - 1))) if kernel > 1 else 1


@layers_needed.mistake(*ONE)
def _(n, kernel):
    _possible(n, kernel)
    return max(1, math.ceil((n - 1) / (kernel - 1))) if kernel > 1 else 0


@layers_needed.mistake(
    "from the first word to the last",
    "That many let every output see every input. One output is enough here, and it may stand in the middle.",
)
def _(n, kernel):
    _possible(n, kernel)
    return math.ceil(2 * (n - 1) / (kernel - 1)) if n > 1 else 0


@layers_needed.mistake(
    "the logarithm", "The field grows by addition, k - 1 for each layer, not by multiplication with k."
)
def _(n, kernel):
    _possible(n, kernel)
    layers = 0
    while kernel**layers < n:
        layers += 1
    return layers


@layers_needed.mistake(
    "gaps that double", 'That many are enough with dilation, from "Leave gaps: dilation". Here there are no gaps.'
)
def _(n, kernel):
    _possible(n, kernel)
    layers = 0
    while 1 + (kernel - 1) * (2**layers - 1) < n:
        layers += 1
    return layers


@layers_needed.mistake(
    "the receptive field itself", "Given is the number of positions, and wanted the number of layers."
)
def _(n, kernel):
    _possible(n, kernel)
    return 1 + n * (kernel - 1)
