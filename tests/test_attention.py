"""Attention: the readable one, the fast one and PyTorch's are the same function, gradients included."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.tiny import few
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from utils.attention import (
    KVCache,
    MultiHeadAttention,
    attention,
    causal_mask,
    fast_attention,
    merge_heads,
    padding_mask,
    split_heads,
)


@pytest.fixture(autouse=True, scope="module", params=[0, 512], ids=["fused kernel", "plain products"])
def both_ways(request):
    """Every test with PyTorch's fused kernel, and as small cases are computed on a CPU, without it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("utils.attention.SMALL", request.param)
        yield


@st.composite
def cases(draw):
    """Random q, k, v (B, H, T, d) in float64, and a mask of some broadcastable shape, empty rows included."""
    B, H, Tq, Tk, d = (draw(st.integers(1, high)) for high in (3, 2, 4, 5, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))

    def leaf(length):
        return torch.randn(B, H, length, d, generator=generator, dtype=torch.float64, requires_grad=True)

    shape = draw(st.sampled_from([None, (B, 1, 1, Tk), (B, 1, Tq, Tk), (B, H, Tq, Tk), (Tq, Tk)]))
    mask = None if shape is None else torch.rand(shape, generator=generator) < draw(st.sampled_from([0.2, 0.5, 0.9]))
    return leaf(Tq), leaf(Tk), leaf(Tk), mask


def by_loops(q, k, v, mask):
    """The formula for one query and one key at a time."""
    full = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool) if mask is None else mask
    full = full.expand(*q.shape[:-1], k.shape[-2])
    out, weights = torch.zeros(*q.shape[:-1], v.shape[-1]).double(), torch.zeros(full.shape).double()
    for b, h, i in torch.cartesian_prod(*map(torch.arange, q.shape[:-1])).view(-1, 3).tolist():
        seen = [j for j in range(k.shape[-2]) if full[b, h, i, j]]
        exp = {j: math.exp(sum(q[b, h, i] * k[b, h, j]).item() / math.sqrt(q.shape[-1])) for j in seen}
        for j in seen:
            weights[b, h, i, j] = exp[j] / sum(exp.values())
            out[b, h, i] += weights[b, h, i, j] * v[b, h, j].detach()
    return out, weights


def gradients(output, leaves):
    """Gradients of a fixed random projection of the output: equal ones mean equal Jacobians, nearly surely."""
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
    return torch.autograd.grad((output * direction).sum(), leaves)


@few
@given(cases())
def test_attention_is_the_formula(case):
    assert_close(attention(*case), by_loops(*case))


@few
@given(cases())
def test_attention_is_fast_attention(case):
    q, k, v, mask = case
    out, fast = attention(q, k, v, mask)[0], fast_attention(q, k, v, mask)
    assert_close(out, fast)
    assert_close(gradients(out, (q, k, v)), gradients(fast, (q, k, v)))


@few
@given(cases())
def test_attention_is_pytorchs(case):
    q, k, v, mask = case
    # Kernels disagree about a query that may attend to nothing: let it see its first key here.
    if mask is not None:
        mask = mask | (~mask.any(-1, keepdim=True) & (torch.arange(k.shape[-2]) == 0))
    ours, theirs = attention(q, k, v, mask)[0], F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert_close(ours, theirs)
    assert_close(gradients(ours, (q, k, v)), gradients(theirs, (q, k, v)))


def test_a_mask_and_the_causal_one_together():
    """Padding on the left, say: what both allow, and zeros where that is nothing."""
    q, k, v = (torch.randn(2, 2, 6, 4, dtype=torch.float64) for _ in range(3))
    mask = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    mask[0, :, :, :2] = False
    assert_close(fast_attention(q, k, v, mask, causal=True), attention(q, k, v, mask & causal_mask(6))[0])
    assert not fast_attention(q, k, v, mask, causal=True)[0, :, :2].any()


@few
@given(cases())
def test_rows_sum_to_one_and_nothing_goes_where_it_may_not(case):
    q, k, v, mask = case
    _, weights = attention(q, k, v, mask)
    mask = torch.ones_like(weights, dtype=torch.bool) if mask is None else mask.expand_as(weights)
    assert_close(weights.sum(-1), mask.any(-1).double())
    assert (weights[~mask] == 0).all()


@pytest.mark.parametrize("function", [lambda *args: attention(*args)[0], fast_attention])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_query_that_may_attend_to_nothing_gets_zeros_and_no_nan_in_gradients(function, dtype):
    q, k, v = (torch.randn(2, 2, 3, 4, dtype=dtype, requires_grad=True) for _ in range(3))
    mask = torch.ones(2, 1, 3, 3, dtype=torch.bool)
    mask[0, 0, 1] = False
    out = function(q, k, v, mask)
    assert (out[0, :, 1] == 0).all() and out[1].all()
    grads = gradients(out, (q, k, v))
    assert all(grad.isfinite().all() for grad in grads) and (grads[0][0, :, 1] == 0).all()


def test_any_leading_dimensions():
    q, k, v = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5, 2)
    many = attention(q.expand(2, 7, 3, 4), k.expand(2, 7, 5, 4), v.expand(2, 7, 5, 2))
    assert_close(many[0][1, 6], attention(q, k, v)[0])


def test_without_positions_attention_does_not_know_the_order():
    q, k, v, order = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5, 4), torch.randperm(5)
    assert_close(attention(q, k, v)[0], attention(q, k[order], v[order])[0])


def test_causal_mask_and_causal_kernel_agree():
    q, k, v = (torch.randn(2, 2, 5, 4) for _ in range(3))
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert_close(attention(q, k, v, causal_mask(5))[0], fast_attention(q, k, v, causal=True))


def test_padding_mask_is_true_at_real_tokens():
    mask = padding_mask(torch.tensor([[5, 7, 0], [6, 0, 0]]))
    assert mask.tolist() == [[[[True, True, False]]], [[[True, False, False]]]]


def test_heads_own_consecutive_columns():
    x = torch.arange(24.0).view(1, 2, 12)
    heads = split_heads(x, 3)
    assert heads.shape == (1, 3, 2, 4) and heads[0, 1].tolist() == x[0, :, 4:8].tolist()
    assert_close(merge_heads(heads), x)
    with pytest.raises(ValueError, match="12 columns cannot be split into 5"):
        split_heads(x, 5)
    with pytest.raises(ValueError, match="cannot be split into n_heads = 3"):
        MultiHeadAttention(8, 3)


# ------------------------------------------------------------------------------------- multi-head attention


def twins(d_model=8, n_heads=2):
    """Our layer and PyTorch's with the same weights, in float64. Both stack W^Q, W^K, W^V in this order."""
    ours = MultiHeadAttention(d_model, n_heads).double()
    nn.init.normal_(ours.in_proj.bias), nn.init.normal_(ours.out_proj.bias)
    theirs = nn.MultiheadAttention(d_model, n_heads, batch_first=True).double()
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.in_proj.weight,
            "in_proj_bias": ours.in_proj.bias,
            "out_proj.weight": ours.out_proj.weight,
            "out_proj.bias": ours.out_proj.bias,
        }
    )
    return ours, theirs


@few
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6), st.booleans())
def test_multi_head_attention_is_pytorchs(B, Tq, Tk, seed, to_itself):
    torch.manual_seed(seed)
    ours, theirs = twins()
    x = torch.randn(B, Tq, 8, dtype=torch.float64, requires_grad=True)
    memory = None if to_itself else torch.randn(B, Tk, 8, dtype=torch.float64, requires_grad=True)
    source = x if to_itself else memory
    real = torch.arange(source.shape[1]) < torch.randint(1, source.shape[1] + 1, (B, 1))  # (B, Tk)
    may = torch.rand(Tq, source.shape[1]) < 0.5
    may[:, 0] = True  # no empty row: there PyTorch's layer gives NaN

    out = ours(x, memory, mask=real[:, None, None, :] & may)
    # nn.MultiheadAttention means the opposite by its masks: True = may NOT attend.
    want, weights = theirs(
        x, source, source, key_padding_mask=~real, attn_mask=~may, need_weights=True, average_attn_weights=False
    )
    assert_close(out, want)
    assert_close(ours.weights(x, source, real[:, None, None, :] & may), weights)
    leaves = [x] if to_itself else [x, memory]
    grads = gradients(out, [*leaves, ours.in_proj.weight, ours.in_proj.bias, ours.out_proj.weight, ours.out_proj.bias])
    wanted = gradients(
        want, [*leaves, theirs.in_proj_weight, theirs.in_proj_bias, theirs.out_proj.weight, theirs.out_proj.bias]
    )
    assert_close(grads, wanted)


def test_multi_head_attention_token_by_token():
    """With a cache, one token at a time gives what all tokens at once give under the causal mask."""
    layer, x = twins()[0], torch.randn(3, 6, 8, dtype=torch.float64)
    cache, steps = KVCache(), []
    for t in range(6):
        steps.append(layer(x[:, t : t + 1], cache=cache))
    assert_close(torch.cat(steps, dim=1), layer(x, causal=True))
    assert_close(layer(x, mask=causal_mask(6)), layer(x, causal=True))


def test_cache_rows_move_together():
    cache = KVCache()
    cache.reorder(torch.tensor([0, 0]))  # nothing yet: nothing to move
    k, v = torch.randn(3, 2, 4, 5), torch.randn(3, 2, 4, 5)
    cache.append(k, v)
    cache.reorder(torch.tensor([2, 2, 0, 1]))
    assert_close((cache.k, cache.v), (k[[2, 2, 0, 1]], v[[2, 2, 0, 1]]))


@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_stays_close_to_float32(masked):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 6, 8) for _ in range(3))
    mask = torch.rand(2, 1, 6, 6) < 0.5 if masked else None
    half = fast_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask)
    assert half.dtype == torch.bfloat16
    assert_close(half.float(), fast_attention(q, k, v, mask), atol=0.03, rtol=0.03)
    layer, x = MultiHeadAttention(8, 2), torch.randn(2, 6, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(x, mask=mask)
    assert mixed.dtype == torch.bfloat16
    assert_close(mixed.float(), layer(x, mask=mask), atol=0.03, rtol=0.03)
    assert_close(gradients(mixed.float(), x)[0], gradients(layer(x, mask=mask), x)[0], atol=0.06, rtol=0.06)
