"""The RNN with attention: its attention is the paper's formula, and padding does not exist for its encoder."""

import torch
from helpers.tiny import few, random_ids, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from utils.attention import padding_mask
from utils.recurrent import AdditiveAttention
from utils.runtime import autocast

MODEL = tiny_model("rnn")


@few
@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 10**6))
def test_additive_attention_is_the_formula(B, S, seed):
    torch.manual_seed(seed)
    layer = AdditiveAttention(4, 6, 3).double()
    s, memory = torch.randn(B, 4, dtype=torch.float64), torch.randn(B, S, 6, dtype=torch.float64)
    mask = torch.rand(B, S) < 0.6
    context, weights = layer(s, layer.U(memory), memory, mask)
    W, b, U, v = layer.W.weight, layer.W.bias, layer.U.weight, layer.v.weight[0]
    for row in range(B):
        scores = [v @ torch.tanh(W @ s[row] + b + U @ memory[row, i]) for i in range(S)]
        exp = [score.exp() * may for score, may in zip(scores, mask[row], strict=True)]
        want = torch.stack(exp) / sum(exp) if mask[row].any() else torch.zeros(S).double()  # nothing to look at: zeros
        assert_close(weights[row], want)
        assert_close(context[row], sum(w * h for w, h in zip(want, memory[row], strict=True)))


def test_nothing_to_look_at_gives_no_nan_in_gradients():
    layer = AdditiveAttention(4, 6, 3)
    s, memory = torch.randn(2, 4, requires_grad=True), torch.randn(2, 3, 6, requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    layer(s, layer.U(memory), memory, mask)[0].square().sum().backward()
    assert s.grad.isfinite().all() and memory.grad.isfinite().all() and (s.grad[1] == 0).all() and s.grad[0].any()


@few
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(0, 3))
def test_the_encoder_does_not_see_padding(lengths, extra):
    """Also not in the backward direction, which would meet it first."""
    src = random_ids(lengths, 13)
    wide = nn.functional.pad(src, (0, extra))
    together = MODEL.encode(wide, padding_mask(wide))
    for row, n in enumerate(lengths):
        alone = MODEL.encode(src[row : row + 1, :n], padding_mask(src[row : row + 1, :n]))
        assert_close(together.memory[row, :n], alone.memory[0])
        assert_close(together.hidden[row], alone.hidden[0])
        assert (together.memory[row, n:] == 0).all()


def test_the_recurrence_keeps_its_precision():
    """In every precision: cuDNN would compute in float16, in which the gradients of a large batch are zeros."""
    model, src = tiny_model("rnn").float(), random_ids([5, 3], 13)
    with torch.no_grad():
        plain = model.encode(src, padding_mask(src))
        with autocast(torch.device("cpu"), "bfloat16"):
            mixed = model.encode(src, padding_mask(src))
    assert torch.equal(mixed.memory, plain.memory) and mixed.keys.dtype == torch.bfloat16


def test_the_encoder_reads_both_ways():
    """Changing the last word changes the memory of the first, and the other way round."""
    src = random_ids([5], 13)
    memory = MODEL.encode(src, padding_mask(src)).memory[0]
    for changed, watched in ((4, 0), (0, 4)):
        other = src.clone()
        other[0, changed] = (other[0, changed] - 3) % 9 + 4
        assert (MODEL.encode(other, padding_mask(other)).memory[0, watched] - memory[watched]).abs().max() > 1e-6
