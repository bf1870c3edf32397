"""The loss is cross-entropy against smoothed targets, summed over real tokens, however it is computed."""

import pytest
import torch
import torch.nn.functional as F
from helpers.tiny import SRC, TGT, few, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from utils import loss as loss_module
from utils.batching import make_batch
from utils.loss import batch_loss, projected_loss, r_drop_loss, smoothed_loss
from utils.tokenizer import PAD
from utils.training import dev_nll


def smoothed_targets(target, V, eps, pad_id=PAD):
    """1 - eps on the target, eps / (V - 2) on every other class but padding."""
    share = torch.full((len(target), V), eps / (V - 2), dtype=torch.float64)
    share[:, pad_id] = 0.0
    return share.scatter(1, target[:, None], 1 - eps)


@few
@given(st.integers(1, 6), st.integers(4, 9), st.sampled_from([0.0, 0.1, 0.7]), st.integers(0, 10**6))
def test_smoothed_loss_is_cross_entropy_against_smoothed_targets(N, V, eps, seed):
    torch.manual_seed(seed)
    logits = torch.randn(N, V, dtype=torch.float64, requires_grad=True)
    target = torch.randint(1, V, (N,))
    share = smoothed_targets(target, V, eps)
    assert_close(share.sum(1), torch.ones(N).double())
    loss, nll = smoothed_loss(logits, target, eps)
    want = F.cross_entropy(logits, share, reduction="sum")
    assert_close(loss, want)
    assert_close(nll, F.cross_entropy(logits, target, reduction="sum"), check_dtype=True)
    grad, wanted = (torch.autograd.grad(3 * value, logits)[0] for value in (loss, want))
    assert_close(grad, wanted)
    assert_close(grad[:, PAD], 3 * logits.softmax(1)[:, PAD].detach())  # padding has no mass: it is only pushed down
    assert torch.autograd.gradcheck(lambda x: smoothed_loss(x, target, eps)[0], logits)


def test_without_smoothing_the_loss_is_plain_cross_entropy():
    logits, target = torch.randn(5, 7), torch.randint(1, 7, (5,))
    loss, nll = smoothed_loss(logits, target, 0.0)
    assert_close(loss, F.cross_entropy(logits, target, reduction="sum"))
    assert_close(loss, nll)


def test_the_loss_of_bfloat16_logits_is_computed_in_float32():
    logits, target = torch.randn(5, 7).bfloat16().requires_grad_(), torch.randint(1, 7, (5,))
    loss, _ = smoothed_loss(logits, target, 0.1)
    want = F.cross_entropy(logits.float(), smoothed_targets(target, 7, 0.1).float(), reduction="sum")
    assert loss.dtype == torch.float32 and torch.autograd.grad(loss, logits)[0].dtype == torch.bfloat16
    assert_close(loss, want)


@pytest.mark.parametrize("slice_size", [1, 40, 2**20], ids=["a token at a time", "ragged slices", "all at once"])
@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_the_fast_loss_is_the_plain_one(monkeypatch, slice_size, eps):
    monkeypatch.setitem(loss_module.SLICE, "cpu", slice_size)
    torch.manual_seed(0)
    hidden, weight = torch.randn(11, 5).double().requires_grad_(), torch.randn(9, 5).double().requires_grad_()
    target = torch.randint(1, 9, (11,))
    fast = projected_loss(hidden, weight, target, eps)
    plain = smoothed_loss(hidden @ weight.T, target, eps)
    assert_close(fast, plain)
    wanted = torch.autograd.grad(3 * plain[0], (hidden, weight))
    assert_close(torch.autograd.grad(3 * fast[0], (hidden, weight)), wanted)
    assert not fast[1].requires_grad
    with torch.inference_mode():
        assert_close(projected_loss(hidden, weight, target, eps), (plain[0].detach(), plain[1]))


def test_the_fast_loss_of_no_token_is_zero_and_so_is_its_gradient():
    hidden, weight = torch.randn(0, 5, requires_grad=True), torch.randn(9, 5, requires_grad=True)
    loss, nll = projected_loss(hidden, weight, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0 and nll == 0 and not weight.grad.any()


def test_the_fast_loss_multiplies_in_bfloat16_under_autocast_and_sums_in_float32():
    torch.manual_seed(0)
    hidden, weight = torch.randn(300, 16, requires_grad=True), torch.randn(50, 16, requires_grad=True)
    target = torch.randint(1, 50, (300,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fast, _ = projected_loss(hidden, weight, target)
        plain, _ = smoothed_loss(hidden @ weight.T, target)
    assert fast.dtype == torch.float32
    assert_close(fast, plain)
    for got, want in zip(*(torch.autograd.grad(x, (hidden, weight)) for x in (fast, plain)), strict=True):
        assert got.dtype == torch.float32
        assert_close(got, want, rtol=0.02, atol=0.02 * want.abs().max().item())


@pytest.mark.parametrize("kind", ["transformer", "rnn"])
def test_the_loss_of_a_batch_is_the_loss_of_its_logits(kind):
    model, batch = tiny_model(kind), make_batch(SRC, TGT)
    real = batch.tgt_out != PAD
    plain = smoothed_loss(model(batch.src, batch.tgt_in)[real], batch.tgt_out[real], 0.1)
    assert_close(batch_loss(model, batch, 0.1), plain)


@pytest.mark.parametrize("kind", ["transformer", "rnn"])
def test_padding_has_no_loss(kind):
    """A batch costs what its sentences cost one by one; a batch without any padding is fine too."""
    model = tiny_model(kind)
    together = batch_loss(model, make_batch(SRC, TGT), 0.1)
    alone = [batch_loss(model, make_batch([s], [t]), 0.1) for s, t in zip(SRC, TGT, strict=True)]
    assert_close(together[0], sum(loss for loss, _ in alone))
    assert_close(together[1], sum(nll for _, nll in alone))
    mean = dev_nll(model, SRC, TGT, torch.device("cpu"))
    assert mean == pytest.approx(together[1].item() / sum(len(t) + 1 for t in TGT))


@pytest.mark.parametrize("kind", ["transformer", "rnn"])
def test_without_dropout_two_passes_are_one(kind):
    """They do not differ, whatever the weight of a difference; nor do their gradients."""
    model, batch = tiny_model(kind).train(), make_batch(SRC, TGT)
    once, twice = batch_loss(model, batch, 0.1), batch_loss(model, batch, 0.1, r_drop=3.0)
    assert_close(twice, once)
    parameters = list(model.parameters())
    wanted, found = (torch.autograd.grad(loss[0], parameters) for loss in (once, twice))
    assert_close(found, wanted)


def test_two_passes_cost_their_mean_and_their_difference():
    """The difference is PyTorch's kl_div, both ways round; dropout's coins are drawn alike by the same seed."""
    model, batch, weight = tiny_model(dropout=0.3).train(), make_batch(SRC, TGT), 1.7
    real = batch.tgt_out != PAD
    torch.manual_seed(3)
    found = r_drop_loss(model, batch, 0.1, weight)
    torch.manual_seed(3)
    logits = model(torch.cat([batch.src] * 2), torch.cat([batch.tgt_in] * 2)).unflatten(0, (2, -1))[:, real]
    losses = [smoothed_loss(one, batch.tgt_out[real], 0.1) for one in logits]
    p, q = logits.log_softmax(-1)
    kl = [F.kl_div(b, a, log_target=True, reduction="sum") for a, b in ((p, q), (q, p))]
    assert min(kl) > 0.01
    assert_close(found[0], (losses[0][0] + losses[1][0]) / 2 + weight * (kl[0] + kl[1]) / 2)
    assert_close(found[1], (losses[0][1] + losses[1][1]) / 2)
