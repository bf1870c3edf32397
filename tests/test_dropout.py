"""Dropout keeps its share of the entries, keeps the mean, and draws its coins from the seeded generator."""

import pytest
import torch
from torch.testing import assert_close

from utils.dropout import Dropout, hide_tokens, keep_mask


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_of_zeros_is_p_and_the_mean_stays(p):
    torch.manual_seed(0)
    mask = keep_mask(torch.Size([401, 1003]), p)  # an odd number of entries
    n = mask.numel()
    assert abs((mask == 0).float().mean() - p) < 5 * (p * (1 - p) / n) ** 0.5, "five standard errors"
    assert_close(mask[mask > 0], torch.full((int((mask > 0).sum()),), 1 / (1 - p)), rtol=1e-3, atol=0.0)
    assert mask[mask > 0].unique().numel() == 1


def test_neighbors_are_independent():
    """Four entries come from one random number: each pair of them is kept together as often as chance says."""
    torch.manual_seed(0)
    kept = (keep_mask(torch.Size([200_000, 4]), 0.3) > 0).double()
    together = kept.T @ kept / len(kept)
    chance = torch.full((4, 4), 0.7**2).double().fill_diagonal_(0.7)
    assert_close(together, chance, rtol=0.0, atol=5 * (0.25 / len(kept)) ** 0.5)


def test_the_same_seed_draws_the_same_mask_and_the_next_draw_another():
    draws = []
    for _ in range(2):
        torch.manual_seed(7)
        draws.append([keep_mask(torch.Size([64]), 0.5) for _ in range(2)])
    assert_close(draws[0], draws[1])
    assert not torch.equal(*draws[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_is_kept_is_stretched_and_the_gradient_goes_the_same_way(dtype):
    torch.manual_seed(0)
    x = torch.randn(50, 7, dtype=dtype, requires_grad=True)
    y = Dropout(0.25)(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert y.dtype == dtype and 0.5 < (grad > 0).double().mean() < 0.95
    assert_close(y, x * grad)


def test_evaluation_and_p_0_change_nothing_and_p_1_drops_all():
    x = torch.randn(5, 5)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()


def test_a_share_of_the_tokens_is_hidden_and_no_special_one():
    torch.manual_seed(0)
    ids = torch.randint(0, 40, (200, 300))
    seen = hide_tokens(ids, 0.1, unk_id=3)
    assert torch.equal(seen[ids <= 3], ids[ids <= 3])
    changed = seen != ids
    assert (seen[changed] == 3).all()
    n = int((ids > 3).sum())
    assert abs(changed.sum() / n - 0.1) < 5 * (0.09 / n) ** 0.5, "five standard errors"
    assert torch.equal(hide_tokens(ids, 0.0, unk_id=3), ids)
