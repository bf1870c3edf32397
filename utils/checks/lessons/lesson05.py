"""Lesson 05: positions."""

import math

import torch

from utils.checks.engine import exercise, say


@exercise(stars=2)
def sinusoidal(n_positions, d_model):
    """Row p: sine, cosine of p / 10000^(2i/d) for i = 0, 1, ..., places from 0: (n_positions, d_model)."""
    if d_model % 2:
        raise ValueError(say("d_model = {d_model} is odd, and every sine needs its cosine", d_model=d_model))
    rows = []
    for p in range(n_positions):
        angles = [p / 10000 ** (2 * i / d_model) for i in range(d_model // 2)]
        rows.append([number for angle in angles for number in (math.sin(angle), math.cos(angle))])
    return torch.tensor(rows)


sinusoidal.cases(lambda draw: [(3, 4), (5, 6), (draw.integer(6, 9), 10), (draw.integer(20, 30), 8), (3, 5)])


@sinusoidal.answer
def _(n_positions, d_model):
    if d_model % 2:
        raise ValueError("d_model is odd")
    i = torch.arange(d_model // 2, dtype=torch.float64)
    p = torch.arange(n_positions, dtype=torch.float64)[:, None]
    angle = p * 10000 ** (-2 * i / d_model)
    table = torch.stack([angle.sin(), angle.cos()], dim=-1)
    return table.flatten(1).float()


sinusoidal.patches("""
all sines, then all cosines: torch.stack -> torch.cat
    The numbers are right, in the layout of halves. Asked for is the paper's: sine and cosine of one hand side by side,
    in columns 2i and 2i + 1. See lesson 05, "Two layouts, one code (deeper)".
sine and cosine exchanged: angle.sin(), angle.cos() -> angle.cos(), angle.sin()
    The sine comes first, in the even columns: at place 0 a row is 0, 1, 0, 1, ...
places counted from 1: torch.arange(n_positions, -> torch.arange(1, n_positions + 1,
    Row 0 is place 0: all hands point up, 0, 1, 0, 1, ... Count p from 0, as torch.arange does.
every column has an angle of its own: torch.arange(d_model // 2 -> torch.arange(d_model && -2 * i -> -i
  && torch.stack([angle.sin(), angle.cos()], dim=-1) -> torch.where(i % 2 == 0, angle.sin(), angle.cos())
    A sine and its cosine share one angle, that of hand i: the exponent is 2i/d in column 2i and in column 2i + 1.
the column where the hand belongs: torch.arange(d_model // 2 -> torch.arange(d_model
  && torch.stack([angle.sin(), angle.cos()], dim=-1) -> torch.where(i % 2 == 0, angle.sin(), angle.cos())
    In 10000^(2i/d), i counts hands, not columns: hand i has the columns 2i and 2i + 1. Column 2 belongs to hand 1.
the 2 in the exponent forgotten: -2 * i -> -i
    The hands slow down only half as fast as they should. The exponent is 2i/d, with i = 0, 1, ..., d/2 - 1.
the exponent doubled: -2 * i -> -4 * i
    torch.arange(0, d_model, 2), or range, counts 0, 2, 4, ...: that is 2i already. Times 2, all hands but the first are
    too slow. The exponent is 2i/d.
the hands get faster: * 10000 -> / 10000
    Each hand should be slower than the one before: divide p by 10000^(2i/d). The sign of the exponent is wrong here.
the exponent rounded down: -2 * i / d_model -> -(2 * i // d_model)
    // divides and rounds down: 2i // d is 0 for every hand. The exponent is the fraction 2i/d.
degrees instead of radians: angle = p -> angle = math.pi / 180 * p
    The angle p / 10000^(2i/d) is in radians already, as torch.sin and math.sin want it.
an angle 2 pi times too large: angle = p -> angle = 2 * math.pi * p
    A hand needs 2 pi 10000^(2i/d) places for one turn, because a turn is 2 pi. The angle itself is p / 10000^(2i/d).
i divided by d/2 - 1: -2 * i / d_model -> -i / (d_model // 2 - 1)
    So does tensor2tensor, where every hand but the first is slower. Here, as in the paper, 2i is divided by d.
laid out in the wrong order: , dim=-1 -> && table.flatten(1) -> table.reshape(n_positions, d_model)
    A reshape keeps the order in memory. torch.stack without dim=-1 puts all sines before all cosines; with dim=-1 the
    two numbers of a hand lie side by side, and .flatten(1) makes a row of them.
the pairs are not joined: table.flatten(1) -> table
    That is (n, d/2, 2), a pair for each hand: .flatten(1) makes a row of d numbers of them.
the table lies on its side: .flatten(1) -> .flatten(1).T
    That is the lecture's W^P, (d, n), a column for each place. Here a place is a row: (n, d).
an odd d is not refused: d_model // 2 -> math.ceil(d_model / 2) && raise ValueError("d_model is odd") -> pass
    With an odd d the last sine has no cosine, and a table with one column more fits no word. If d_model % 2 is 1, raise
    a ValueError.
""")


@exercise(stars=1)
def split_projection(W, d_x):
    """The columns that meet x and those that meet p: W (d, d_x + n) -> (W_I, W_P), (d, d_x) and (d, n)."""
    W_I = W[:, :d_x]
    W_P = W[:, d_x:]
    return W_I, W_P


@split_projection.cases
def _(draw):
    # The first: row 1 has the columns 11 ... 14, row 2 has 21 ... 24.
    named = torch.tensor([[11.0, 12, 13, 14], [21, 22, 23, 24]])
    sizes = (3, 6, 4), (4, 7, 2), (6, 4, 3), (3, 8, draw.integer(5, 7))
    return [(named, 1), *[(draw.normal(*shape), d_x) for *shape, d_x in sizes]]


split_projection.patches("""
cut in the middle: W_I = -> d_x = W.shape[1] // 2; W_I =
  | = W.chunk(2, 1)
    x and p need not be equally long: d_x columns belong to x, whatever is left to p.
rows taken instead of columns: W[:, :d_x] -> W[:d_x] && W[:, d_x:] -> W[d_x:]
    In W [x; p], entry j of the long vector meets column j of W: cut W by columns, W[:, ...]. See the picture in "Adding
    is appending".
the parts in the wrong order: return W_I, W_P -> return W_P, W_I
    The two parts are right. Return W_I, which meets x, first and W_P second.
the columns of p taken first: W[:, :d_x] -> W[:, -d_x:] && W[:, d_x:] -> W[:, :-d_x]
    x stands above p in [x; p], so the first d_x columns are those of x.
d_x taken for the width of W^P: W_I = -> d_x = W.shape[1] - d_x; W_I =
    d_x is the length of x, which stands above p: W^I has d_x columns, and W^P the others.
the last d_x columns taken for p: W[:, d_x:] -> W[:, -d_x:]
    W^P gets all columns that are left, W[:, d_x:]; -d_x takes d_x of them, counted from the end.
cut one column too late: W_I = -> d_x += 1; W_I =
    Columns count from 0: those of x are 0 ... d_x - 1, which W[:, :d_x] takes.
cut one column too early: W_I = -> d_x -= 1; W_I =
    The end of a slice is left out: W[:, :d_x] has d_x columns, W[:, :d_x - 1] one less.
a column lost at the cut: W[:, d_x:] -> W[:, d_x + 1 :]
    The second part begins where the first ends: with column d_x, not with d_x + 1.
a row for each place: return W_I, W_P -> return W_I.T, W_P.T
    That is how nn.Embedding stores it. In the formula they are factors in front of a column, W_I x and W_P p: (d, d_x)
    and (d, n), no transpose.
zeros where a cut should be: = W * (torch.arange(W.shape[1]) < d_x), W * (torch.arange(W.shape[1]) >= d_x)
    W_I meets x alone, which has d_x entries: leave the other columns out, do not fill them with zeros.
""")


@exercise(stars=2)
def shift_matrix(d_model, offset):
    """A 2 x 2 rotation for each hand along the diagonal, M e(p) = e(p + offset): (d_model, d_model)."""
    turns = [offset * 10000 ** (-2 * i / d_model) for i in range(d_model // 2)]
    hands = [(math.cos(t), math.sin(t)) for t in turns]
    blocks = [torch.tensor([[cos, sin], [-sin, cos]]) for cos, sin in hands]
    return torch.block_diag(*blocks)


shift_matrix.cases(lambda draw: [(2, 2), (4, 1), (4, -3), (6, 0), (8, draw.integer(5, 20)), (6, -draw.integer(4, 9))])
shift_matrix.patches("""
turned the wrong way: [[cos, sin], [-sin, cos]] -> [[cos, -sin], [sin, cos]]
    This is the transpose: it moves to p - offset. M stands to the left of the column e(p), and the sine comes first in
    e(p), so the block is (cos, sin; -sin, cos).
made for the layout of halves: return -> order = [*range(0, d_model, 2), *range(1, d_model, 2)]; return
  && torch.block_diag(*blocks) -> torch.block_diag(*blocks)[order][:, order]
    It would move a table with all sines first. Here the sine and the cosine of a hand are neighbors, so its four
    numbers form a block on the diagonal, rows and columns 2i and 2i + 1.
all hands at one speed: offset * 10000 ** (-2 * i / d_model) -> float(offset)
    Hand i turns on by offset * 10000^(-2i/d): each block has an angle of its own.
the minus is missing: -sin -> sin
    The cosine of a sum is cos a cos b - sin a sin b: the entry below the diagonal is -sin. Without it the block is no
    rotation.
both sines negative: [cos, sin] -> [cos, -sin]
    sin(a + b) is sin a cos b + cos a sin b: the sine in the first row is positive, only the one below is not.
a mirror, not a rotation: [-sin, cos] -> [sin, -cos]
    The minus belongs to the sine below the diagonal. With -cos in the corner, the block reflects the hand.
sine and cosine exchanged: [[cos, sin], [-sin, cos]] -> [[sin, cos], [-cos, sin]]
    With offset 0 nothing should move: the block must become (1, 0; 0, 1), so the cosines stand on the diagonal.
the 2 in the exponent forgotten: -2 * i -> -i
    Hand i turns by 10000^(-2i/d) at each step, with i = 0, 1, ..., d/2 - 1.
the exponent doubled: -2 * i -> -4 * i
    range(0, d, 2) counts 0, 2, 4, ...: that is 2i already. Hand i turns by 10000^(-2i/d) at each step.
the hands get faster: -2 * i -> 2 * i
    The exponent is -2i/d: each block turns by a smaller angle than the one before.
negative offsets lose their sign: offset * -> abs(offset) *
    Offset -3 turns every hand back: the sines change their sign, the cosines do not.
sine and cosine of each block in one column: [[cos, sin], [-sin, cos]] -> [[sin, cos], [cos, -sin]]
    With offset 0 nothing should move: the block must become (1, 0; 0, 1). It is (cos, sin; -sin, cos).
blocks that overlap: return -> M = torch.zeros(d_model, d_model); return
  && torch.block_diag(*blocks) -> [M[i : i + 2, i : i + 2].copy_(block) for i, block in enumerate(blocks)] and M
    Hand i has the rows and columns 2i and 2i + 1: M[i, i + 1] belongs to two hands.
one step, whatever the offset: offset * ->
    Every angle is the offset times 10000^(-2i/d).
the numbers moved, not the hands: = torch.eye(d_model).roll(offset, dims=0)
    That moves the entries of e(p) to other columns. A place has no entry of its own: to go on, each hand is turned. See
    "One matrix moves every position".
""")


@exercise(stars=3)
def rotary(x):
    """Pair (2i, 2i+1) of row p turned counter-clockwise by p * 10000^(-2i/d), places from 0: x (T, d) -> (T, d)."""
    # A shift turns hands clockwise, and so, by a negative offset, the other way.
    turns = [shift_matrix.oracle(x.shape[1], -p).to(x) for p in range(len(x))]
    return torch.stack([turn @ row for turn, row in zip(turns, x, strict=True)])


@rotary.cases
def _(draw):
    one, two = draw.small(2, 2), draw.small(2, 4)
    one[:], two[1] = torch.tensor([[1.0, 2], [2, 1]]), torch.tensor([2.0, 1, 3, -1])
    return [(one,), (two,), (draw.normal(1, 4),), (draw.normal(3, 6),), (draw.normal(6, 8),), (draw.normal(7, 4),)]


@rotary.answer
def _(x):
    T, d = x.shape
    i = torch.arange(d // 2, dtype=torch.float64)
    p = torch.arange(T, dtype=torch.float64)[:, None]
    angle = p * 10000 ** (-2 * i / d)
    sin, cos = angle.sin().to(x), angle.cos().to(x)
    first, second = x[:, 0::2], x[:, 1::2]
    turned = [cos * first - sin * second, sin * first + cos * second]
    return torch.stack(turned, dim=-1).flatten(-2)


rotary.patches("""
halves turned, not neighbors: x[:, 0::2], x[:, 1::2] -> x.chunk(2, dim=1)
  && torch.stack(turned, dim=-1).flatten(-2) -> torch.cat(turned, dim=1)
    It pairs x_i with x_(i + d/2), as rotary's twin does. Here a pair are two neighbors, x[:, 0::2] and x[:, 1::2]. Both
    are in use: see the end of "Rotary: turn the queries and keys instead".
neighbors turned, the result in halves: torch.stack(turned, dim=-1).flatten(-2) -> torch.cat(turned, dim=1)
    Each pair is turned as it should be, and then put down in the wrong columns. Back to 2i and 2i + 1:
    torch.stack([...], dim=-1), then .flatten(-2).
two layouts mixed: x[:, 0::2], x[:, 1::2] -> x.chunk(2, dim=1)
  && return -> sin, cos = sin.repeat_interleave(2, 1), cos.repeat_interleave(2, 1); return
  && torch.stack(turned, dim=-1).flatten(-2) -> x * cos + torch.cat([-second, first], dim=1) * sin
    The sines and cosines are those of neighbors, and the entries are paired by halves: choose one. Here pairs are
    neighbors, x[:, 0::2] and x[:, 1::2].
turned clockwise: first - sin * second, sin * first + cos * second -> first + sin * second, cos * second - sin * first
    Counter-clockwise takes (1, 0) towards (0, 1): the new first entry is cos * first - sin * second. Here the minus is
    in the other row.
sine and cosine exchanged in the turn: cos * first - sin * second -> sin * first - cos * second
    At place 0 nothing turns: cos 0 = 1 belongs to the entry itself, cos * first - sin * second.
place and hand exchanged: p * 10000 ** (-2 * i / d) -> i * 10000 ** (-2 * p / d)
    The place p multiplies, and the hand i stands in the exponent: p * 10000^(-2i/d).
the minus is missing: first - sin -> first + sin
    Without it the pair is not turned, and its length changes. The first entry is cos * first - sin * second.
the second entry made from the new first one:
  | turned = [cos * first - sin * second, -> first = cos * first - sin * second; turned = [first,
    Both new entries are made from the old ones. Keep them until both are computed.
sine and cosine exchanged: angle.sin().to(x), angle.cos().to(x) -> angle.cos().to(x), angle.sin().to(x)
    At place 0 nothing turns: cos 0 = 1 is the factor of the entry itself, sin 0 = 0 that of its neighbor.
places counted from 1: torch.arange(T, -> torch.arange(1, T + 1,
    Row 0 is place 0 and stays as it is. Count p from 0, as torch.arange does.
all pairs turned by the same angle: -2 * i -> 0 * i
    Pair i of row p turns by p * 10000^(-2i/d): later pairs turn less.
the 2 in the exponent forgotten: -2 * i -> -i
the exponent doubled: -2 * i -> -4 * i
every column has an angle of its own: torch.arange(d // 2 -> torch.arange(d && -2 * i -> -i
  && cos * first - sin * second -> cos[:, ::2] * first - sin[:, ::2] * second
  && sin * first + cos * second -> sin[:, 1::2] * first + cos[:, 1::2] * second
    The two entries of a pair turn by one angle: p * 10000^(-2i/d) in column 2i and in column 2i + 1.
degrees instead of radians: angle = p -> angle = math.pi / 180 * p
put together in the wrong order: torch.stack(turned, dim=-1).flatten(-2) -> torch.stack(turned).reshape(T, d)
    A reshape keeps the order in memory. torch.stack with dim=-1 puts the two entries of a pair side by side.
the pairs are not joined: .flatten(-2) ->
    That is (n, d/2, 2), a pair of entries each: .flatten(-2) makes rows of d numbers of them.
added, not turned: torch.stack(turned -> x + torch.stack([sin, cos]
    That is the sinusoidal encoding. Rotary adds nothing: it turns each pair, and no row gets longer.
multiplied entry by entry: torch.stack(turned -> x * torch.stack([sin, cos]
    A turn mixes the two entries of a pair: each new one is made from both, with a sine and a cosine.
""")


@exercise(stars=2)
def alibi(n, slopes):
    """Entry (h, i, j) is -slopes[h] times |i - j|: n, slopes (H,) -> (H, n, n)."""
    i = torch.arange(n)[:, None]
    j = torch.arange(n)
    far = (i - j).abs()
    return -slopes[:, None, None] * far


@alibi.cases
def _(draw):
    two = torch.tensor([1.0, 0.5])
    return [(3, two), (1, draw.normal(3).abs()), (4, draw.normal(1)), (2, draw.normal(4)), (5, draw.normal(2))]


alibi.patches("""
a bonus, not a handicap: -slopes -> slopes
    Distance should lower the score: minus slope times distance.
negative on one side only: (i - j).abs() -> (i - j)
    Before and after count alike here: |i - j|, with .abs().
only keys before the query: (i - j).abs() -> (i - j).clamp(min=0) || (j - i).clamp(min=0)
    That is the bias for one side. Here both sides count: |i - j|.
the distance squared: (i - j).abs() -> (i - j) ** 2
    The bias is linear: slope times |i - j|.
divided by the distance: slopes[:, None, None] * far -> slopes[:, None, None] / (1 + far)
    The bias grows with the distance: slope times |i - j|.
places from 1, not distances: (i - j).abs() -> j + 1 + 0 * i
    The bias belongs to the distance |i - j| of query and key, not to the place of the key.
a negative slope made positive: -slopes -> -slopes.abs()
    A slope counts as it is given: minus slope times distance, which is positive where the slope is negative.
slopes of your own: -slopes -> -(2.0 ** -torch.arange(1, len(slopes) + 1).to(slopes))
    The slopes are given: head h has slopes[h].
neighbors left free: (i - j).abs() -> ((i - j).abs() - 1).clamp(min=0)
    Neighbors have the distance 1, and it counts: slope times |i - j|.
the distance alone: slopes[:, None, None] * far -> torch.ones_like(slopes)[:, None, None] * far
    Each head multiplies the distance with its own slope.
one slope for all heads: slopes[:, None, None] -> slopes[:1, None, None].expand(len(slopes), 1, 1)
    Head h has slopes[h]: the first axis of the result counts heads.
the heads added up: return -slopes[:, None, None] * far -> return (-slopes[:, None, None] * far).sum(0)
    Every head keeps its own bias: (H, n, n).
heads on the last axis: return -slopes[:, None, None] * far -> return -far[..., None] * slopes
    The first axis counts heads: (H, n, n), slopes[:, None, None] * distance.
powers of 2 made of the slopes: -slopes -> -(2.0**-slopes)
    The slopes are given as they are to be used: no power of 2 is needed.
already a softmax: return -slopes[:, None, None] * far -> return (-slopes[:, None, None] * far).softmax(-1)
    The bias is added to scores, before the softmax: it is not a share.
""")
