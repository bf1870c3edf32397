"""Other right answers to the exercises of lesson 05."""

import math

import numpy as np
import torch

# ---- sinusoidal --------------------------------------------------------------------------------------------


def table_by_stacking(n_positions, d_model):
    if d_model % 2 == 1:
        raise ValueError("d_model must be even")
    frequency = 10000.0 ** (-torch.arange(0, d_model, 2) / d_model)
    angle = torch.arange(n_positions)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def table_by_slices(n_positions, d_model):
    assert_even(d_model)
    e = torch.zeros(n_positions, d_model)
    p = torch.arange(n_positions).unsqueeze(1)
    divisor = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
    e[:, 0::2] = torch.sin(p * divisor)
    e[:, 1::2] = torch.cos(p * divisor)
    return e


def table_by_numpy_in_double(n_positions, d_model):
    assert_even(d_model)
    p, column = np.mgrid[0:n_positions, 0:d_model]
    angle = p / 10000 ** (2 * (column // 2) / d_model)
    return torch.from_numpy(np.where(column % 2, np.cos(angle), np.sin(angle)))  # float64: nothing else was asked for


def table_by_complex_numbers(n_positions, d_model):
    assert_even(d_model)
    hand = torch.exp(1j * 10000.0 ** (-2 * torch.arange(d_model // 2, dtype=torch.float64) / d_model))
    turned = hand ** torch.arange(n_positions)[:, None]
    return torch.view_as_real(turned).flip(-1).reshape(n_positions, d_model).float()


def assert_even(d):
    if d & 1:
        raise ValueError(f"{d} is odd")


# ---- split_projection --------------------------------------------------------------------------------------


def projection_by_slices(W, d_x):
    return W[:, :d_x], W[:, d_x:]


def projection_by_split(W, d_x):
    return W.split([d_x, W.shape[1] - d_x], dim=1)


def projection_by_one_hots(W, d_x):
    one_hots = torch.eye(W.shape[1], dtype=W.dtype, device=W.device)
    return W @ one_hots[:, :d_x], W @ one_hots[:, d_x:]


def projection_as_a_list(W, d_x):
    return list(torch.tensor_split(W, (d_x,), dim=-1))


# ---- shift_matrix ------------------------------------------------------------------------------------------


def shift_by_blocks(d_model, offset):
    turn = offset * 10000.0 ** (-torch.arange(0, d_model, 2) / d_model)
    return torch.block_diag(*[torch.tensor([[t.cos(), t.sin()], [-t.sin(), t.cos()]]) for t in turn])


def shift_by_exponential(d_model, offset):
    generator = torch.zeros(d_model, d_model, dtype=torch.float64)
    for i in range(0, d_model, 2):
        generator[i, i + 1] = 10000 ** (-i / d_model)
        generator[i + 1, i] = -(10000 ** (-i / d_model))
    return torch.matrix_exp(offset * generator)


def shift_by_least_squares(d_model, offset):
    e = table_by_numpy_in_double(5000, d_model).numpy()
    p = np.arange(100, 4900)
    return torch.from_numpy(np.linalg.lstsq(e[p], e[p + offset], rcond=None)[0].T.copy()).float()


def shift_by_steps(d_model, offset):
    step = shift_by_blocks(d_model, 1 if offset > 0 else -1)
    return torch.linalg.matrix_power(step, abs(offset))


# ---- rotary ------------------------------------------------------------------------------------------------


def rotary_by_pairs(x):
    e = table_by_stacking(*x.shape).to(x)
    sin, cos, first, second = e[:, 0::2], e[:, 1::2], x[:, 0::2], x[:, 1::2]
    return torch.stack([cos * first - sin * second, sin * first + cos * second], dim=-1).flatten(1)


def rotary_by_complex_numbers(x):
    T, d = x.shape
    omega = 10000.0 ** (-torch.arange(d // 2, dtype=x.dtype, device=x.device) * 2 / d)
    angle = torch.arange(T, dtype=x.dtype, device=x.device)[:, None] * omega
    turn = torch.polar(torch.ones_like(angle), angle)
    return torch.view_as_real(torch.view_as_complex(x.reshape(T, d // 2, 2).contiguous()) * turn).reshape(T, d)


def rotary_by_matrices(x):
    return torch.stack([shift_by_blocks(x.shape[1], -p).to(x) @ row for p, row in enumerate(x)])


def rotary_by_quarter_turns(x):
    quarter = torch.stack([-x[:, 1::2], x[:, 0::2]], dim=-1).flatten(1)
    angle = torch.arange(len(x))[:, None] * 10000.0 ** (-(torch.arange(x.shape[1]) // 2 * 2) / x.shape[1])
    return x * angle.cos().to(x) + quarter * angle.sin().to(x)


def rotary_in_place_on_a_copy(x):
    out, d = x.clone(), x.shape[1]
    for p in range(len(x)):
        for i in range(d // 2):
            angle = torch.tensor(p / 10000 ** (2 * i / d), dtype=torch.float64)
            out[p, 2 * i] = x[p, 2 * i] * angle.cos() - x[p, 2 * i + 1] * angle.sin()
            out[p, 2 * i + 1] = x[p, 2 * i] * angle.sin() + x[p, 2 * i + 1] * angle.cos()
    return out


# ---- alibi -------------------------------------------------------------------------------------------------


def alibi_by_outer(n, slopes):
    far = torch.arange(n, dtype=slopes.dtype, device=slopes.device)
    return -torch.einsum("h,ij->hij", slopes, torch.cdist(far[:, None], far[:, None], p=1))


def alibi_by_rows(n, slopes):
    rows = [-m * (torch.arange(n) - i).abs() for m in slopes for i in range(n)]
    return torch.stack(rows).view(len(slopes), n, n)


def alibi_by_triangles(n, slopes):
    step = torch.ones(n, n).tril(-1).cumsum(0).tril(-1).to(slopes)
    return (step + step.T) * -slopes.view(-1, 1, 1)


ANSWERS = {
    "sinusoidal": [table_by_stacking, table_by_slices, table_by_numpy_in_double, table_by_complex_numbers],
    "split_projection": [
        projection_by_slices,
        projection_by_split,
        projection_by_one_hots,
        projection_as_a_list,
    ],
    "shift_matrix": [shift_by_blocks, shift_by_exponential, shift_by_least_squares, shift_by_steps],
    "rotary": [
        rotary_by_pairs,
        rotary_by_complex_numbers,
        rotary_by_matrices,
        rotary_by_quarter_turns,
        rotary_in_place_on_a_copy,
    ],
    "alibi": [alibi_by_outer, alibi_by_rows, alibi_by_triangles],
}
