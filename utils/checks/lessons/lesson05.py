"""Lesson 05: positions."""

import math

import torch

from utils.checks.engine import exercise


def _angles(n: int, d: int, power=lambda i, d: -2 * i / d) -> torch.Tensor:
    """Where hand i stands at place p: (n, d/2), in double precision."""
    hands = torch.arange(math.ceil(d / 2), dtype=torch.float64)
    return torch.arange(n, dtype=torch.float64)[:, None] * 10000.0 ** power(hands, d)


def _interleaved(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Two tables (n, d/2) -> (n, d): first in the even columns, second in the odd ones."""
    return torch.stack([first, second], dim=-1).flatten(-2)


# ---- sinusoidal --------------------------------------------------------------------------------------------


@exercise(stars=2)
def sinusoidal(n_positions, d_model):
    """Row p: sine, cosine of p / 10000^(2i/d) for i = 0, 1, ..., places from 0: (n_positions, d_model)."""
    if d_model % 2:
        raise ValueError(f"d_model = {d_model} is odd, and every sine needs its cosine")
    rows = []
    for p in range(n_positions):
        angles = [p / 10000 ** (2 * i / d_model) for i in range(d_model // 2)]
        rows.append([number for angle in angles for number in (math.sin(angle), math.cos(angle))])
    return torch.tensor(rows)


@sinusoidal.cases
def _(draw):
    return [(3, 4), (5, 6), (draw.integer(6, 9), 10), (draw.integer(20, 30), 8), (3, 5)]


@sinusoidal.mistake(
    "all sines, then all cosines",
    "The numbers are right, in the layout of halves. Asked for is the paper's: sine and cosine of one hand side by "
    'side, in columns 2i and 2i + 1. See "Two layouts, one code".',
)
def _(n_positions, d_model):
    angle = _angles(n_positions, d_model)
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


@sinusoidal.mistake(
    "sine and cosine exchanged", "The sine comes first, in the even columns: at place 0 a row is 0, 1, 0, 1, ..."
)
def _(n_positions, d_model):
    angle = _angles(n_positions, d_model)
    return _interleaved(angle.cos(), angle.sin()).float()


@sinusoidal.mistake(
    "places counted from 1",
    "Row 0 is place 0: all hands point up, 0, 1, 0, 1, ... Count p from 0, as torch.arange does.",
)
def _(n_positions, d_model):
    angle = _angles(n_positions + 1, d_model)[1:]
    return _interleaved(angle.sin(), angle.cos()).float()


@sinusoidal.mistake(
    "every column has an angle of its own",
    "A sine and its cosine share one angle, that of hand i: the exponent is 2i/d in column 2i and in column 2i + 1.",
)
def _(n_positions, d_model):
    columns = torch.arange(d_model, dtype=torch.float64)
    angle = torch.arange(n_positions, dtype=torch.float64)[:, None] * 10000.0 ** (-columns / d_model)
    return torch.where(columns % 2 == 0, angle.sin(), angle.cos()).float()


@sinusoidal.mistake(
    "the column where the hand belongs",
    "In 10000^(2i/d), i counts hands, not columns: hand i has the columns 2i and 2i + 1. Column 2 belongs to hand 1.",
)
def _(n_positions, d_model):
    columns = torch.arange(d_model, dtype=torch.float64)
    angle = torch.arange(n_positions, dtype=torch.float64)[:, None] * 10000.0 ** (-2 * columns / d_model)
    return torch.where(columns % 2 == 0, angle.sin(), angle.cos()).float()


@sinusoidal.mistake(
    "the 2 in the exponent forgotten",
    "The hands slow down only half as fast as they should. The exponent is 2i/d, with i = 0, 1, ..., d/2 - 1.",
)
def _(n_positions, d_model):
    angle = _angles(n_positions, d_model, lambda i, d: -i / d)
    return _interleaved(angle.sin(), angle.cos()).float()


@sinusoidal.mistake(
    "the exponent doubled",
    "torch.arange(0, d_model, 2), or range, counts 0, 2, 4, ...: that is 2i already. Times 2, all hands but the first "
    "are too slow. The exponent is 2i/d.",
)
def _(n_positions, d_model):
    angle = _angles(n_positions, d_model, lambda i, d: -4 * i / d)
    return _interleaved(angle.sin(), angle.cos()).float()


@sinusoidal.mistake(
    "the hands get faster",
    "Each hand should be slower than the one before: divide p by 10000^(2i/d). The sign of the exponent is wrong here.",
)
def _(n_positions, d_model):
    angle = _angles(n_positions, d_model, lambda i, d: 2 * i / d)
    return _interleaved(angle.sin(), angle.cos()).float()


@sinusoidal.mistake(
    "an angle 2 pi times too large",
    "A hand needs 2 pi 10000^(2i/d) places for one turn, because a turn is 2 pi. The angle itself is p / 10000^(2i/d).",
)
def _(n_positions, d_model):
    angle = 2 * math.pi * _angles(n_positions, d_model)
    return _interleaved(angle.sin(), angle.cos()).float()


@sinusoidal.mistake(
    "i divided by d/2 - 1",
    "So does tensor2tensor, where every hand but the first is slower. Here, as in the paper, 2i is divided by d.",
)
def _(n_positions, d_model):
    angle = _angles(n_positions, d_model, lambda i, d: -i / (d // 2 - 1))
    return _interleaved(angle.sin(), angle.cos()).float()


@sinusoidal.mistake(
    "the table lies on its side",
    "That is the lecture's W^P, (d, n), a column for each place. Here a place is a row: (n, d).",
)
def _(n_positions, d_model):
    angle = _angles(n_positions, d_model)
    return _interleaved(angle.sin(), angle.cos()).T.float()


@sinusoidal.mistake(
    "an odd d is not refused",
    "With an odd d the last sine has no cosine, and a table with one column more fits no word. "
    "If d_model % 2 is 1, raise a ValueError.",
)
def _(n_positions, d_model):
    angle = _angles(n_positions, d_model)
    return _interleaved(angle.sin(), angle.cos()).float()


# ---- split_projection --------------------------------------------------------------------------------------


@exercise(stars=2)
def split_projection(W, d_x):
    """The columns that meet x and those that meet p: W (d, d_x + n) -> (W_I, W_P), (d, d_x) and (d, n)."""
    columns = list(W.T)
    return torch.stack(columns[:d_x]).T, torch.stack(columns[d_x:]).T


@split_projection.cases
def _(draw):
    # The first: row 1 has the columns 11 ... 14, row 2 has 21 ... 24.
    named = torch.tensor([[11.0, 12, 13, 14], [21, 22, 23, 24]])
    return [
        (named, 1),
        (draw.normal(3, 6), 4),
        (draw.normal(4, 7), 2),
        (draw.normal(6, 4), 3),
        (draw.normal(3, 8), draw.integer(5, 7)),
    ]


@split_projection.mistake(
    "cut in the middle", "x and p need not be equally long: d_x columns belong to x, whatever is left to p."
)
def _(W, d_x):
    return W[:, : W.shape[1] // 2], W[:, W.shape[1] // 2 :]


@split_projection.mistake(
    "rows taken instead of columns",
    "In W [x; p], entry j of the long vector meets column j of W: cut W by columns, W[:, ...]. "
    'See the picture in "Adding is appending".',
)
def _(W, d_x):
    return W[:d_x], W[d_x:]


@split_projection.mistake(
    "the parts in the wrong order", "The two parts are right. Return W_I, which meets x, first and W_P second."
)
def _(W, d_x):
    return W[:, d_x:], W[:, :d_x]


@split_projection.mistake(
    "the columns of p taken first", "x stands above p in [x; p], so the first d_x columns are those of x."
)
def _(W, d_x):
    return W[:, -d_x:], W[:, :-d_x]


@split_projection.mistake(
    "cut one column too late", "Columns count from 0: those of x are 0 ... d_x - 1, which W[:, :d_x] takes."
)
def _(W, d_x):
    return W[:, : d_x + 1], W[:, d_x + 1 :]


@split_projection.mistake(
    "cut one column too early", "The end of a slice is left out: W[:, :d_x] has d_x columns, W[:, :d_x - 1] one less."
)
def _(W, d_x):
    return W[:, : d_x - 1], W[:, d_x - 1 :]


@split_projection.mistake(
    "a column lost at the cut", "The second part begins where the first ends: with column d_x, not with d_x + 1."
)
def _(W, d_x):
    return W[:, :d_x], W[:, d_x + 1 :]


@split_projection.mistake(
    "a row for each place",
    "That is how nn.Embedding stores it. In the formula they are factors in front of a column, W_I x and W_P p: (d, "
    "d_x) and (d, n), no transpose.",
)
def _(W, d_x):
    return W[:, :d_x].T, W[:, d_x:].T


@split_projection.mistake(
    "zeros where a cut should be",
    "W_I meets x alone, which has d_x entries: leave the other columns out, do not fill them with zeros.",
)
def _(W, d_x):
    of_x = (torch.arange(W.shape[1]) < d_x).to(W)
    return W * of_x, W * (1 - of_x)


# ---- shift_matrix ------------------------------------------------------------------------------------------


@exercise(stars=2)
def shift_matrix(d_model, offset):
    """A 2 x 2 rotation for each hand along the diagonal, M e(p) = e(p + offset): (d_model, d_model)."""
    M = torch.zeros(d_model, d_model)
    for i in range(d_model // 2):
        turn = offset / 10000 ** (2 * i / d_model)
        M[2 * i, 2 * i] = math.cos(turn)
        M[2 * i, 2 * i + 1] = math.sin(turn)
        M[2 * i + 1, 2 * i] = -math.sin(turn)
        M[2 * i + 1, 2 * i + 1] = math.cos(turn)
    return M


@shift_matrix.cases
def _(draw):
    return [(2, 2), (4, 1), (4, -3), (6, 0), (8, draw.integer(5, 20)), (6, -draw.integer(4, 9))]


def _blocks(turns, block) -> torch.Tensor:
    """A 2 x 2 block for each turn along the diagonal."""
    return torch.block_diag(*[torch.tensor(block(math.cos(t), math.sin(t))) for t in turns])


def _turns(d_model: int, offset: int, power=lambda i, d: -2 * i / d) -> list[float]:
    return [offset * 10000 ** power(i, d_model) for i in range(d_model // 2)]


def _rotation(cos: float, sin: float) -> list[list[float]]:
    return [[cos, sin], [-sin, cos]]


@shift_matrix.mistake(
    "turned the wrong way",
    "This is the transpose: it moves to p - offset. M stands to the left of the column e(p), and the sine comes first "
    "in e(p), so the block is (cos, sin; -sin, cos).",
)
def _(d_model, offset):
    return _blocks(_turns(d_model, -offset), _rotation)


@shift_matrix.mistake(
    "made for the layout of halves",
    "It would move a table with all sines first. Here the sine and the cosine of a hand are neighbors, so its four "
    "numbers form a block on the diagonal, rows and columns 2i and 2i + 1.",
)
def _(d_model, offset):
    turns = torch.tensor(_turns(d_model, offset))
    cos, sin = torch.diag(turns.cos()), torch.diag(turns.sin())
    return torch.cat([torch.cat([cos, sin], dim=1), torch.cat([-sin, cos], dim=1)])


@shift_matrix.mistake(
    "all hands at one speed", "Hand i turns on by offset * 10000^(-2i/d): each block has an angle of its own."
)
def _(d_model, offset):
    return _blocks([float(offset)] * (d_model // 2), _rotation)


@shift_matrix.mistake(
    "the minus is missing",
    "The cosine of a sum is cos a cos b - sin a sin b: the entry below the diagonal is -sin. Without it the block is "
    "no rotation.",
)
def _(d_model, offset):
    return _blocks(_turns(d_model, offset), lambda cos, sin: [[cos, sin], [sin, cos]])


@shift_matrix.mistake(
    "a mirror, not a rotation",
    "The minus belongs to the sine below the diagonal. With -cos in the corner, the block reflects the hand.",
)
def _(d_model, offset):
    return _blocks(_turns(d_model, offset), lambda cos, sin: [[cos, sin], [sin, -cos]])


@shift_matrix.mistake(
    "sine and cosine exchanged",
    "With offset 0 nothing should move: the block must become (1, 0; 0, 1), so the cosines stand on the diagonal.",
)
def _(d_model, offset):
    return _blocks(_turns(d_model, offset), lambda cos, sin: [[sin, cos], [-cos, sin]])


@shift_matrix.mistake(
    "the 2 in the exponent forgotten", "Hand i turns by 10000^(-2i/d) at each step, with i = 0, 1, ..., d/2 - 1."
)
def _(d_model, offset):
    return _blocks(_turns(d_model, offset, lambda i, d: -i / d), _rotation)


@shift_matrix.mistake(
    "the exponent doubled",
    "range(0, d_model, 2) counts 0, 2, 4, ...: that is 2i already. Hand i turns by 10000^(-2i/d) at each step.",
)
def _(d_model, offset):
    return _blocks(_turns(d_model, offset, lambda i, d: -4 * i / d), _rotation)


@shift_matrix.mistake(
    "the hands get faster", "The exponent is -2i/d: each block turns by a smaller angle than the one before."
)
def _(d_model, offset):
    return _blocks(_turns(d_model, offset, lambda i, d: 2 * i / d), _rotation)


@shift_matrix.mistake(
    "negative offsets lose their sign",
    "Offset -3 turns every hand back: the sines change their sign, the cosines do not.",
)
def _(d_model, offset):
    return _blocks(_turns(d_model, abs(offset)), _rotation)


@shift_matrix.mistake("one step, whatever the offset", "Every angle is the offset times 10000^(-2i/d).")
def _(d_model, offset):
    return _blocks(_turns(d_model, 1), _rotation)


@shift_matrix.mistake(
    "the numbers moved, not the hands",
    "That moves the entries of e(p) to other columns. A place has no entry of its own: to go on, each hand is turned. "
    'See "One matrix moves every position".',
)
def _(d_model, offset):
    return torch.eye(d_model).roll(offset, dims=0)


# ---- rotary ------------------------------------------------------------------------------------------------


@exercise(stars=3)
def rotary(x):
    """Pair (2i, 2i+1) of row p turned counter-clockwise by p * 10000^(-2i/d), places from 0: x (T, d) -> (T, d)."""
    T, d = x.shape
    rows = []
    for p in range(T):
        numbers = []
        for i in range(d // 2):
            angle = p * 10000 ** (-2 * i / d)
            first, second = x[p, 2 * i], x[p, 2 * i + 1]
            numbers.append(math.cos(angle) * first - math.sin(angle) * second)
            numbers.append(math.sin(angle) * first + math.cos(angle) * second)
        rows.append(torch.stack(numbers))
    return torch.stack(rows)


@rotary.cases
def _(draw):
    one, two = draw.small(2, 2), draw.small(2, 4)
    one[:], two[1] = torch.tensor([[1.0, 2], [2, 1]]), torch.tensor([2.0, 1, 3, -1])
    return [(one,), (two,), (draw.normal(1, 4),), (draw.normal(3, 6),), (draw.normal(6, 8),), (draw.normal(7, 4),)]


def _pairs(x):
    """The two halves of all pairs, and their sines and cosines: (T, d/2) each."""
    angle = _angles(*x.shape)
    return x[:, 0::2], x[:, 1::2], angle.sin().to(x), angle.cos().to(x)


@rotary.mistake(
    "halves turned, not neighbors",
    "It pairs x_i with x_(i + d/2), as rotary's twin does. Here a pair are two neighbors, x[:, 0::2] and x[:, 1::2]. "
    'Both are in use: see the end of "Rotary: turn the queries and keys instead".',
)
def _(x):
    (first, second), (_, _, sin, cos) = x.chunk(2, dim=1), _pairs(x)
    return torch.cat([cos * first - sin * second, sin * first + cos * second], dim=1)


@rotary.mistake(
    "neighbors turned, the result in halves",
    "Each pair is turned as it should be, and then put down in the wrong columns. Back to 2i and 2i + 1: "
    "torch.stack([...], dim=-1), then .flatten(-2).",
)
def _(x):
    first, second, sin, cos = _pairs(x)
    return torch.cat([cos * first - sin * second, sin * first + cos * second], dim=1)


@rotary.mistake(
    "two layouts mixed",
    "The sines and cosines are those of neighbors, and the entries are paired by halves: choose one. Here pairs are "
    "neighbors, x[:, 0::2] and x[:, 1::2].",
)
def _(x):
    (first, second), (_, _, sin, cos) = x.chunk(2, dim=1), _pairs(x)
    return x * _interleaved(cos, cos) + torch.cat([-second, first], dim=1) * _interleaved(sin, sin)


@rotary.mistake(
    "turned clockwise",
    "Counter-clockwise takes (1, 0) towards (0, 1): the new first entry is cos * first - sin * second. Here the minus "
    "is in the other row.",
)
def _(x):
    first, second, sin, cos = _pairs(x)
    return _interleaved(cos * first + sin * second, cos * second - sin * first)


@rotary.mistake(
    "the minus is missing",
    "Without it the pair is not turned, and its length changes. The first entry is cos * first - sin * second.",
)
def _(x):
    first, second, sin, cos = _pairs(x)
    return _interleaved(cos * first + sin * second, sin * first + cos * second)


@rotary.mistake(
    "the second entry made from the new first one",
    "Both new entries are made from the old ones. Keep them until both are computed.",
)
def _(x):
    first, second, sin, cos = _pairs(x)
    first = cos * first - sin * second
    return _interleaved(first, sin * first + cos * second)


@rotary.mistake(
    "sine and cosine exchanged",
    "At place 0 nothing turns: cos 0 = 1 is the factor of the entry itself, sin 0 = 0 that of its neighbor.",
)
def _(x):
    first, second, sin, cos = _pairs(x)
    return _interleaved(sin * first - cos * second, cos * first + sin * second)


@rotary.mistake("places counted from 1", "Row 0 is place 0 and stays as it is. Count p from 0, as torch.arange does.")
def _(x):
    first, second, _, _ = _pairs(x)
    angle = _angles(len(x) + 1, x.shape[1])[1:]
    sin, cos = angle.sin().to(x), angle.cos().to(x)
    return _interleaved(cos * first - sin * second, sin * first + cos * second)


@rotary.mistake(
    "all pairs turned by the same angle", "Pair i of row p turns by p * 10000^(-2i/d): later pairs turn less."
)
def _(x):
    first, second, sin, cos = _pairs(x)
    sin, cos = sin[:, :1], cos[:, :1]
    return _interleaved(cos * first - sin * second, sin * first + cos * second)


@rotary.mistake(
    "the 2 in the exponent forgotten", "Pair i of row p turns by p * 10000^(-2i/d), with i = 0, 1, ..., d/2 - 1."
)
def _(x):
    first, second, _, _ = _pairs(x)
    angle = _angles(*x.shape, lambda i, d: -i / d)
    sin, cos = angle.sin().to(x), angle.cos().to(x)
    return _interleaved(cos * first - sin * second, sin * first + cos * second)


@rotary.mistake(
    "the exponent doubled",
    "range(0, d, 2) counts 0, 2, 4, ...: that is 2i already. Pair i of row p turns by p * 10000^(-2i/d).",
)
def _(x):
    first, second, _, _ = _pairs(x)
    angle = _angles(*x.shape, lambda i, d: -4 * i / d)
    sin, cos = angle.sin().to(x), angle.cos().to(x)
    return _interleaved(cos * first - sin * second, sin * first + cos * second)


@rotary.mistake(
    "added, not turned",
    "That is the sinusoidal encoding. Rotary adds nothing: it turns each pair, and no row gets longer.",
)
def _(x):
    _, _, sin, cos = _pairs(x)
    return x + _interleaved(sin, cos)


@rotary.mistake(
    "multiplied entry by entry",
    "A turn mixes the two entries of a pair: each new one is made from both, with a sine and a cosine.",
)
def _(x):
    _, _, sin, cos = _pairs(x)
    return x * _interleaved(sin, cos)
