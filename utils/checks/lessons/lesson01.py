"""Lesson 01: sequence models."""

import functools  # noqa: F401 (patches use it)
import math

import torch

from utils.checks.engine import exercise, say

CONVOLUTIONS = frozenset({"convolution", "_convolution", "conv_tbc"})
CONVOLUTIONS |= {f"conv{transposed}{axes}d" for transposed in ("", "_transpose") for axes in (1, 2, 3)}


@exercise(stars=1, forbidden=frozenset({"rnn_tanh", "rnn_relu", "rnn_tanh_cell", "rnn_relu_cell"}))
def rnn_step(x, h, W, U, b):
    """tanh(W x + U h + b): x (d_in,), h (d,), W (d, d_in), U (d, d), b (d,) -> (d,)."""
    a = W @ x + U @ h + b
    return torch.tanh(a)


@rnn_step.cases
def _(draw):
    # Set in part, so that no mistake looks right by chance.
    W, U = torch.tensor([[1.0, 0.0], [2.0, draw.integer(-2, 2)]]), torch.tensor([[0.5, 1.0], [0.0, 0.5]])
    return [
        (torch.tensor([1.0, 0.0]), torch.tensor([0.5, -1.0]), W, U, torch.tensor([0.5, -0.5])),
        (draw.normal(3), draw.normal(3), draw.normal(3, 3), draw.normal(3, 3), draw.normal(3)),
        (draw.normal(2), draw.normal(3), draw.normal(3, 2), draw.normal(3, 3), draw.normal(3)),
        (draw.normal(5), draw.normal(4), draw.normal(4, 5), draw.normal(4, 4), draw.normal(4)),
    ]


rnn_step.patches("""
no tanh: torch.tanh(a) -> a
    The sum of the three parts goes through tanh, which keeps every entry between -1 and 1: see "One word after the
    other: an RNN".
the bias is missing: + b ->
    Three parts are added inside the tanh: W x, U h and b.
the bias is added after the tanh: + b -> && torch.tanh(a) -> torch.tanh(a) + b
    b stands inside the parentheses: add it first, then take the tanh.
the bias counts twice: + b -> + 2 * b
    nn.RNN keeps two biases, of which only the sum matters; here b is that sum.
the memory is forgotten: + U @ h ->
    U h is missing: without it nothing is carried from word to word.
the word is not read: W @ x + ->
    W x is missing: the new state needs the new word, too.
the memory enters without U: U @ h -> h
    U reads the memory as W reads the word: multiply h by U before you add it.
a tanh for each part: = torch.tanh(W @ x) + torch.tanh(U @ h) + b || torch.tanh(W @ x + b) + torch.tanh(U @ h)
    Add the parts first: one tanh around the whole sum, not one for each part.
the memory is added after the tanh: + U @ h -> && torch.tanh(a) -> torch.tanh(a) + U @ h
  | = torch.tanh(W @ x) + U @ h + b
    U h belongs inside: one tanh around the sum of all three parts.
entry by entry: W @ x + U @ h -> W * x + U * h || (W * x).sum(0) + (U * h).sum(0)
    W @ x is a matrix times a vector: each row of W times x, added up. W * x multiplies entry by entry.
W and U are exchanged: W @ x + U @ h -> U @ x + W @ h
    W reads the word x, U reads the memory h. Their shapes say it, too.
both matrices are transposed: W @ x + U @ h -> x @ W + h @ U
    Vectors are columns here: W @ x. x @ W is W transposed, times x; and so for U.
W is transposed: W @ x -> x @ W
    Vectors are columns here: W @ x. x @ W is W transposed, times x.
U is transposed: U @ h -> h @ U
    Vectors are columns here: U @ h. h @ U is U transposed, times h.
a sigmoid instead of tanh: torch.tanh -> torch.sigmoid
    tanh goes from -1 to 1, the sigmoid from 0 to 1: an entry could never say no.
a ReLU instead of tanh: torch.tanh -> torch.relu
    The formula has a tanh: a ReLU would let the state grow without limit.
""")


@exercise(stars=1, forbidden=CONVOLUTIONS)
def conv_layer(X, F):
    """number_i = sum over the window X[i], ..., X[i + k - 1] of filter times entry: X (n, d), F (k, d) -> (n-k+1,)."""
    n, k, d = len(X), len(F), X.shape[1]
    if k > n:
        raise ValueError(say("a filter of width {k} does not fit into {n} words", k=k, n=n))
    return torch.stack([sum(F[j, c] * X[i + j, c] for j in range(k) for c in range(d)) for i in range(n - k + 1)])


@conv_layer.cases
def _(draw):
    X = torch.tensor([[1.0, 2], [0, 2], [2, 0], [2, draw.integer(-2, 2)]])
    return [
        (X, torch.tensor([[1.0, 0], [2.0, -1]])),
        (draw.normal(3, 4), draw.normal(3, 4)),  # the filter is as wide as the text: one window
        (draw.normal(7, 3), draw.normal(1, 3)),
        (draw.small(1, 2), draw.small(2, 2)),  # it does not fit
        (draw.normal(8, 2), draw.normal(3, 2)),
    ]


@conv_layer.answer
def _(X, F):
    n, k = len(X), len(F)
    if k > n:
        raise ValueError("the filter does not fit")
    windows = [X[i : i + k] for i in range(n - k + 1)]
    numbers = [(F * window).sum() for window in windows]
    return torch.stack(numbers)


# A product with a slice that is cut short stops with an error, but for k = 1 (it is empty) and k = 2 (it has one row).
conv_layer.patches("""
the filter is flipped: F * window -> F.flip(0) * window
    Mathematics flips a filter before it slides; in networks it is laid on as it is, its first row on the first word.
    See "A filter looks through a window: a CNN".
the filter is flipped, rows and entries: F * window -> F.flip(0, 1) * window
    Row j of the filter belongs to word j of the window, entry by entry.
the last window is missing: range(n - k + 1) -> range(n - k) &&? torch.stack(numbers) -> torch.tensor(numbers)
  | range(n - k + 1) -> range(n - k) && torch.stack(numbers) -> torch.stack([*numbers, X.new_zeros(())])
    A window of k words fits at n - k + 1 places: range(n - k) stops one too early.
the first window is missing: range(n - k + 1) -> range(1, n - k + 1) &&? torch.stack(numbers) -> torch.tensor(numbers)
    Python counts from 0: the first window is X[0:k], so i begins at 0.
a window too many: range(n - k + 1) -> range(n - k + 2) || range(n)
    The last window begins at word n - k, counted from 0: range(n - k + 1). Beyond that, the slice X[i : i + k] is cut
    short at the end of the text.
zeros at both edges:
  | windows = -> Z = X.new_zeros(k, X.shape[1]); X = torch.cat([Z[: (k - 1) // 2], X, Z[: k // 2]]); windows =
  && range(n - k + 1) -> range(n)
  | windows = -> Z = X.new_zeros(k // 2, X.shape[1]); X = torch.cat([Z, X, Z]); windows =
  && range(n - k + 1) -> range(len(X) - k + 1)
    Nothing hangs over the edge here: no padding, so there are n - k + 1 numbers and not one per word.
zeros on the left: windows = -> X = torch.cat([X.new_zeros(k - 1, X.shape[1]), X]); windows =
  && range(n - k + 1) -> range(n)
    Padding on the left is for the causal CNN of "Rivals: who keeps, who chooses". Here no window hangs over the edge.
the windows do not overlap: range(n - k + 1) -> range(0, n - k + 1, k)
    The filter moves on by one word, not by its own width: windows overlap.
a vector for each window: .sum() -> .sum(0)
    All products of a window are added, over words and entries: one number, as "One number is not a vector" says.
a number for each word of the window: .sum() -> .sum(1)
    Add over the words of the window, too: one window, one number.
the mean instead of the sum: .sum() -> .mean()
    An inner product adds up; it is not divided by the number of terms.
the filter is not used: F * window -> window
    Each entry of the window is multiplied by its weight before all is added.
a product of matrices: F * window -> F @ window.T || F @ window
    Row j of the filter meets word j of the window only, entry by entry: F * window. With @ every row meets others, too.
an activation on top: torch.stack(numbers) -> torch.stack(numbers).tanh() || torch.stack(numbers).relu()
    The inner products themselves are asked for; tanh or ReLU would come later.
an empty answer where the filter does not fit: raise ValueError("the filter does not fit") -> return X.new_zeros(0)
    With k > n there is not a single window. Say so: raise ValueError('...') before the loop.
""")


@exercise(stars=1)
def receptive_field(n_layers, kernel):
    """1 + L (k - 1): one position, and k - 1 more with every layer."""
    return 1 + n_layers * (kernel - 1)


receptive_field.cases(lambda draw: [(2, 3), (1, 4), (0, 5), (3, 1), (draw.integer(4, 9), draw.integer(5, 9))])
receptive_field.patches("""
the output itself is not counted: 1 + n_layers -> n_layers
    L (k - 1) are the others: add 1 for the position itself. See "Stacked filters see more".
every layer adds k: (kernel - 1) -> kernel
    Windows overlap: one of the k positions was seen before, so a layer adds k - 1. See "Stacked filters see more".
L times k: = n_layers * kernel
    That is right only if no two windows overlap. They do: a layer adds k - 1. See "Stacked filters see more".
the arguments are exchanged: = 1 + kernel * (n_layers - 1)
    The first argument is the number of layers, the second their width.
one layer alone: = kernel || kernel if n_layers else 1
    k is what one layer sees; each further one adds k - 1, and without any it is 1.
k to the power L: = kernel**n_layers || (kernel - 1) ** n_layers || 1 + (kernel - 1) ** n_layers
    Fields grow by addition: windows overlap, and a layer adds k - 1. See "Stacked filters see more".
one layer too few: n_layers * -> (n_layers - 1) *
    With no layer an output sees 1 position, itself; each layer, the first one too, adds k - 1.
one layer too many: n_layers * -> (n_layers + 1) *
    With no layer an output sees 1 position, itself. That is where to begin.
k - 1 at either end: n_layers * -> 2 * n_layers *
    A layer adds k - 1 positions in all: half of them on the left, half on the right.
always width 3: (kernel - 1) -> 2
    2 L + 1 is right for layers of width 3; a layer of width k adds k - 1.
nothing without layers: return 1 + n_layers * (kernel - 1) -> return 1 + n_layers * (kernel - 1) if n_layers else 0
    Without any layer an output is its own input: it sees 1 position.
only one side: (kernel - 1) -> (kernel // 2) || ((kernel - 1) // 2)
    (k - 1) / 2 is what a layer adds at one end. There are two: k - 1 in all, for even k as well.
half windows, rounded: n_layers * (kernel - 1) -> 2 * n_layers * (kernel // 2) || 2 * n_layers * ((kernel - 1) // 2)
    Two halves, each rounded, make k - 1 for odd k only. An even window is not symmetric, and still adds k - 1.
gaps that double: n_layers * -> (2**n_layers - 1) *
    That is the field with dilation, from "Leave gaps: dilation (deeper)". Here there are no gaps.
""")


@exercise(stars=1)
def dilated_field(kernel, dilations):
    """1 + the sum of (k - 1) d: one position, and k - 1 steps of d more with every layer."""
    return 1 + (kernel - 1) * sum(dilations)


@dilated_field.cases
def _(draw):
    return [(2, [1, 3]), (3, [2, 5, 1]), (4, [2]), (5, []), (1, [2, 3]), (draw.integer(6, 9), draw.integers(2, 5, 3))]


dilated_field.patches("""
the output itself is not counted: 1 + ->
    The sum counts the others: add 1 for the position itself.
every layer adds k gaps: (kernel - 1) -> kernel
    A window of k words has k - 1 steps from its first word to its last.
the gaps are not used: sum(dilations) -> len(dilations)
    That is the field without gaps: each of the k - 1 steps of a layer is as long as its gap.
the gaps are multiplied: sum(dilations) -> math.prod(dilations)
    A layer adds (k - 1) times its own gap, whatever the others' gaps: add them up.
the largest gap alone: sum(dilations) -> max(dilations, default=0)
    Every layer widens the field, those with small gaps, too.
one layer alone: sum(dilations) -> (dilations or [0])[-1] || (dilations or [0])[0]
    Every layer widens the field by (k - 1) times its gap, not one alone: add them up.
one gap for all layers: sum(dilations) -> len(dilations) * max(dilations, default=0)
  || len(dilations) * (dilations or [0])[-1] || len(dilations) * (dilations or [0])[0]
    Each layer has a gap of its own: add up the gaps, one for each layer.
the gap as the number of words between: sum(dilations) -> sum(gap + 1 for gap in dilations)
    The gap is the distance from one word to the next: 1 is the window without any word left out.
gaps that double: sum(dilations) -> (2 ** len(dilations) - 1)
    The gaps are given, one for each layer, and need not double: add them up.
the width is not used: (kernel - 1) * ->
  | (kernel - 1) -> 2
    A window of k words has k - 1 steps; sum + 1 is right for width 2, 2 sum + 1 for width 3.
k instead of 1 to begin with: 1 + -> kernel +
    Begin with the output itself, 1 position; each layer, the first one too, adds (k - 1) times its gap.
nothing without layers: sum(dilations) -> sum(dilations) if dilations else 0
the top layer is left out: sum(dilations) -> sum(dilations[:-1])
    Every layer adds its (k - 1) gaps, the highest one, too.
the lowest layer is left out: sum(dilations) -> sum(dilations[1:])
    Every layer adds its (k - 1) gaps, the lowest one, too.
k - 1 gaps at either end: (kernel - 1) -> 2 * (kernel - 1)
    A layer adds k - 1 gaps in all: half of them on the left, half on the right.
only one side: (kernel - 1) -> (kernel // 2) || ((kernel - 1) // 2)
    (k - 1) / 2 gaps are what a layer adds at one end. There are two: k - 1 in all, for even k as well.
every layer adds its whole span: = sum((kernel - 1) * gap + 1 for gap in dilations)
  | = 1 + sum((kernel - 1) * gap + 1 for gap in dilations)
    A layer spans (k - 1) d + 1 positions, but one of them was seen before: it adds (k - 1) d.
the spans are multiplied: = math.prod((kernel - 1) * gap + 1 for gap in dilations)
    Fields grow by addition: a layer adds (k - 1) d positions to those that were seen before.
the words in the gaps are left out:
  | = len(functools.reduce(lambda seen, gap: {i + j * gap for i in seen for j in range(kernel)}, dilations, {0}))
    Wanted is how far the field reaches, from its first input to its last, with those in between.
""")


@exercise(stars=2)
def layers_needed(n, kernel):
    """The least L >= 0 with 1 + L (k - 1) >= n."""
    if kernel == 1 and n > 1:
        raise ValueError(say("layers of width 1 never see a second position, however many there are"))
    layers = 0
    while 1 + layers * (kernel - 1) < n:
        layers += 1
    return layers


@layers_needed.cases
def _(draw):
    kernel, layers = draw.integer(4, 7), draw.integer(4, 6)
    one_too_many = 2 + layers * (kernel - 1), kernel  # one position more than fits; with (3, 3) it just fits
    return [(4, 3), (3, 3), (9, 3), (1, 3), one_too_many, (1, 1), (draw.integer(2, 9), 1)]


@layers_needed.answer
def _(n, kernel):
    if kernel == 1 and n > 1:
        raise ValueError("layers of width 1 never see a second position")
    if n == 1:
        return 0
    return math.ceil((n - 1) / (kernel - 1))


# n / (k - 1), rounded up, is (n - 1) / (k - 1), rounded down, plus one. With n = 1 that is 1, unless these cases,
# or k = 1 alone, are set apart; hence several ways to make it, and to make the mistakes below.
layers_needed.patches("""
rounded down: math.ceil((n - 1) / (kernel - 1)) -> (n - 1) // (kernel - 1)
    Then the field is a little too small unless it fits exactly. A part of a layer takes a whole layer.
rounded to the nearest: math.ceil -> round
    A part of a layer, however small, takes a whole layer: round up.
one layer too many where it just fits: (n - 1) / -> n / &&? if n == 1 -> if kernel == 1
  | if n == 1 -> if kernel == 1 && return 0 -> return 1 && (n - 1) / -> n /
    The first position is seen before the first layer, so n - 1 are left to win; and a field of exactly n is enough.
every layer adds k: / (kernel - 1) -> / kernel
n divided by k: (n - 1) / (kernel - 1) -> n / kernel &&? return 0 -> return 1
  | if n == 1 -> if kernel == 1 && (n - 1) / (kernel - 1) -> n / kernel
    A layer adds k - 1 positions, and one is there from the start. See "Stacked filters see more".
at least one layer: return 0 -> return 1 || return 1 if kernel > 1 else 0
    With n = 1 the output has seen everything before the first layer: 0 layers are enough.
the first layer is not counted: (n - 1) / -> (n - kernel) /
    k words are seen through one layer, which counts, too: n - 1 are left to win before it.
k - 1 at either end: / (kernel - 1) -> / (2 * (kernel - 1))
from the first word to the last: (n - 1) / -> 2 * (n - 1) /
    That many let every output see every input. One output is enough here, and it may stand in the middle.
the logarithm: = next(layers for layers in range(99) if n == 1 or kernel**layers >= n)
    The field grows by addition, k - 1 for each layer, not by multiplication with k.
gaps that double: = next(layers for layers in range(99) if 1 + (kernel - 1) * (2**layers - 1) >= n)
    That many are enough with dilation, from "Leave gaps: dilation (deeper)". Here there are no gaps.
the receptive field itself: = 1 + n * (kernel - 1)
    Given is the number of positions, and wanted the number of layers.
""")
