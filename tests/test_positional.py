"""Sinusoidal positions: the formula, and what the formula is good for."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import few
from torch.testing import assert_close

from utils.positional import sinusoidal


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
