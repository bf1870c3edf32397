"""The scan is the loop, with its gradients, however long and however fast it forgets."""

import pytest
import torch
from helpers.tiny import few
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from utils.scan import GatedRecurrence, by_loop, linear_recurrence


@few
@given(st.integers(2, 40), st.integers(1, 3), st.booleans(), st.integers(0, 10**6))
def test_the_scan_is_the_loop(n, d, changing, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, n, d) if changing else (d,)
    decay = torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_()
    a = torch.randn(2, n, d, generator=generator, dtype=torch.float64).requires_grad_()
    scan, loop = linear_recurrence(decay, a), by_loop(decay, a)
    assert_close(scan, loop, rtol=1e-12, atol=1e-12)
    direction = torch.randn(scan.shape, generator=generator, dtype=torch.float64)
    grads, wanted = (torch.autograd.grad((h * direction).sum(), [decay, a]) for h in (scan, loop))
    assert_close(grads, wanted, rtol=1e-10, atol=1e-10)


def test_in_numbers():
    a = torch.tensor([[1.0], [1.0], [1.0], [0.0]], dtype=torch.float64)
    assert linear_recurrence(torch.tensor([0.5], dtype=torch.float64), a)[:, 0].tolist() == [1, 1.5, 1.75, 0.875]
    assert linear_recurrence(torch.tensor([0.5]), torch.ones(1, 1)).tolist() == [[1.0]]


@pytest.mark.parametrize("decay", [1e-6, 0.3, 0.999, 1.0])
def test_long_sequences_stay_finite_and_exact(decay):
    a = torch.randn(2000, 4, dtype=torch.float64)
    decay = torch.full((4,), decay, dtype=torch.float64)
    assert_close(linear_recurrence(decay, a), by_loop(decay, a), rtol=1e-11, atol=1e-11)
    assert_close(linear_recurrence(decay.float(), a.float()).double(), by_loop(decay, a), rtol=1e-4, atol=1e-3)


def test_the_steps_that_wait_for_one_another_are_log_n(monkeypatch):
    rounds, cat = [], torch.cat
    monkeypatch.setattr(torch, "cat", lambda *args, **options: rounds.append(1) or cat(*args, **options))
    linear_recurrence(torch.tensor([0.5]), torch.randn(1000, 1))
    assert len(rounds) == 2 * 10, "two in each of ten rounds"


def test_a_layer_step_by_step_is_all_at_once_and_its_state_never_grows():
    layer = GatedRecurrence(6).double()
    x, h, outputs = torch.randn(3, 9, 6, dtype=torch.float64), torch.zeros(3, 6, dtype=torch.float64), []
    for t in range(9):
        out, h = layer.step(x[:, t], h)
        outputs.append(out)
        assert h.shape == (3, 6)
    assert_close(torch.stack(outputs, dim=1), layer(x))
    other = x.clone()
    other[:, 5] += 1
    moved = (layer(other) - layer(x)).abs().amax(-1)[0] > 1e-12
    assert moved.tolist() == [False] * 5 + [True] * 4, "the past alone is heard"
    assert sum(p.numel() for p in layer.parameters()) == 4 * 6 * 6 + 6
