"""Positions: each formula against loops, and what it is good for."""

import math

import pytest
import torch
from helpers.tiny import few
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from utils.positional import alibi, rotary, shift_matrix, sinusoidal


@few
@given(st.integers(1, 20), st.integers(1, 8))
def test_the_formula_by_loops(n, half):
    d = 2 * half
    want = torch.empty(n, d)
    for p in range(n):
        for i in range(half):
            angle = p / 10000 ** (2 * i / d)
            want[p, 2 * i], want[p, 2 * i + 1] = math.sin(angle), math.cos(angle)
    assert_close(sinusoidal(n, d), want)


def test_exact_also_far_out():
    """Rounded once, at the end: no entry is off by more than float32's last digit, at position 5000 neither."""
    row = sinusoidal(5001, 64)[-1].double()
    angle = [5000 / 10000 ** (2 * i / 64) for i in range(32)]
    assert_close(row[0::2], torch.tensor([math.sin(a) for a in angle]).double(), atol=1e-7, rtol=0)
    assert_close(row[1::2], torch.tensor([math.cos(a) for a in angle]).double(), atol=1e-7, rtol=0)


def test_the_products_of_two_positions_depend_on_their_distance_alone():
    e = sinusoidal(40, 16).double()
    products = e @ e.T
    for distance in range(40):
        diagonal = products.diagonal(distance)
        assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5, rtol=0)


def test_odd_width_is_refused():
    with pytest.raises(ValueError, match="d_model = 5 must be even"):
        sinusoidal(3, 5)


@few
@given(st.integers(-30, 30), st.integers(1, 8))
def test_one_matrix_moves_every_position(offset, half):
    e, M = sinusoidal(91, 2 * half), shift_matrix(2 * half, offset)
    p = torch.arange(30, 61)
    assert_close(e[p] @ M.T, e[p + offset], atol=1e-5, rtol=0)
    assert_close(M @ M.T, torch.eye(2 * half), atol=1e-6, rtol=0)


def test_shifts_add_up_and_odd_widths_are_refused():
    assert_close(shift_matrix(8, 5) @ shift_matrix(8, -7), shift_matrix(8, -2))
    assert_close(shift_matrix(8, 0), torch.eye(8))
    with pytest.raises(ValueError, match="d_model = 5 must be even"):
        shift_matrix(5, 1)


@few
@given(st.integers(1, 12), st.integers(1, 6))
def test_rotary_is_a_product_of_complex_numbers(n, half):
    x = torch.randn(2, 3, n, 2 * half, dtype=torch.float64)
    turn = torch.empty(n, half, dtype=torch.complex128)
    for p in range(n):
        for i in range(half):
            angle = p / 10000 ** (2 * i / (2 * half))
            turn[p, i] = complex(math.cos(angle), math.sin(angle))
    want = torch.view_as_complex(x.unflatten(-1, (half, 2)).contiguous()) * turn
    assert_close(rotary(x), torch.view_as_real(want).flatten(-2), atol=1e-6, rtol=0)


def test_rotary_scores_depend_on_contents_and_distance_alone():
    q, k = torch.randn(2, 8, dtype=torch.float64)
    scores = rotary(q.expand(20, 8)) @ rotary(k.expand(20, 8)).T
    for offset in range(-19, 20):
        diagonal = scores.diagonal(offset)
        assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5, rtol=0)
    assert (scores - scores.T).abs().max() > 1e-3  # the side matters


def test_rotary_turns_neighbors_counter_clockwise():
    x = torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0]])
    assert_close(rotary(x)[1], torch.tensor([math.cos(1), math.sin(1), 0, 0]))
    assert_close(rotary(x)[0], x[0])
    assert rotary(x.double()).dtype == torch.float64
    with pytest.raises(ValueError, match="must be even"):
        rotary(torch.zeros(2, 3))


@few
@given(st.integers(1, 9), st.integers(1, 4))
def test_alibi_by_loops(n, heads):
    left, right = torch.rand(2, heads)
    bias = alibi(n, left, right)
    for h in range(heads):
        for i in range(n):
            for j in range(n):
                assert_close(bias[h, i, j], -(left if j < i else right)[h] * abs(i - j))


def test_only_equal_slopes_survive_a_reversal():
    left, right = torch.tensor([0.5, 0.1]), torch.tensor([0.1, 0.5])
    assert_close(alibi(6, left, left).flip(1, 2), alibi(6, left, left))
    assert_close(alibi(6, left, right).flip(1, 2), alibi(6, right, left))
