"""The Transformer is nn.Transformer; and what all models that translate promise to everyone else."""

import copy
import dataclasses
import math

import pytest
import torch
from helpers.tiny import few, random_ids, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from utils.attention import merge_heads, padding_mask
from utils.checkpoint import build
from utils.transformer import Transformer

# Everything that changed since 2017, at once.
MODERN = {"norm": "rms", "activation": "swiglu", "positions": "rotary", "key_heads": 1, "bias": False, "qk_norm": True}
MODELS = {
    "transformer": tiny_model("transformer"),
    "rnn": tiny_model("rnn"),
    "decoder-only": tiny_model("decoder-only"),
    "modern transformer": tiny_model("transformer", **MODERN),
    "modern decoder-only": tiny_model("decoder-only", **MODERN, prefix=True),
}
all_models = pytest.mark.parametrize("kind", MODELS)


# --------------------------------------------------------------------------------------- parity with PyTorch


def copy_attention(ours, theirs):
    theirs.in_proj_weight, theirs.in_proj_bias = ours.in_proj.weight, ours.in_proj.bias
    theirs.out_proj.weight, theirs.out_proj.bias = ours.out_proj.weight, ours.out_proj.bias


def pytorchs(ours: Transformer) -> nn.Transformer:
    """nn.Transformer that holds the very parameters of ours (so that gradients can be asked of both)."""
    c = ours.config
    theirs = nn.Transformer(
        c.d_model, c.n_heads, c.n_layers, c.n_layers, c.d_ff, dropout=0.0, batch_first=True, norm_first=c.norm_first
    ).double()
    for stack, own in ((theirs.encoder, ours.encoder), (theirs.decoder, ours.decoder)):
        for layer, mine in zip(stack.layers, own, strict=True):
            copy_attention(mine.self_attention, layer.self_attn)
            if hasattr(mine, "cross_attention"):
                copy_attention(mine.cross_attention, layer.multihead_attn)
            layer.linear1, layer.linear2 = mine.feed_forward.inner, mine.feed_forward.outer
            norms = [mine.attention_norm, mine.ffn_norm]
            if hasattr(mine, "cross_attention"):
                norms.insert(1, mine.cross_attention_norm)
            for i, norm in enumerate(norms, start=1):
                setattr(layer, f"norm{i}", norm)
    # Pre-norm ends in one more norm. Post-norm needs none and the paper has none, but PyTorch adds it there too.
    theirs.encoder.norm = ours.encoder_norm if c.norm_first else None
    theirs.decoder.norm = ours.decoder_norm if c.norm_first else None
    return theirs


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("norm_first", [True, False])
def test_transformer_is_pytorchs(norm_first):
    ours = tiny_model(norm_first=norm_first).train()  # dropout is 0; nn.Transformer takes a short cut in eval()
    theirs = pytorchs(ours).train()
    src, tgt = random_ids([5, 3, 1], 13), random_ids([4, 6, 2], 11)

    def embedded(embedding, ids):
        return embedding(ids) * math.sqrt(8) + ours.positions[: ids.shape[1]]

    # PyTorch's masks mean the opposite of ours: True = may NOT attend.
    hidden = theirs(
        embedded(ours.src_embedding, src),
        embedded(ours.tgt_embedding, tgt),
        tgt_mask=torch.ones(6, 6, dtype=torch.bool).triu(1),
        src_key_padding_mask=src == 0,
        memory_key_padding_mask=src == 0,
    )
    want = hidden @ ours.tgt_embedding.weight.T
    out = ours(src, tgt)
    assert_close(out, want)

    real = (tgt != 0)[..., None]  # at padded targets nobody looks
    direction = torch.randn(out.shape, dtype=torch.float64) * real
    parameters = dict(ours.named_parameters())
    grads, wanted = (torch.autograd.grad((o * direction).sum(), list(parameters.values())) for o in (out, want))
    assert_close(dict(zip(parameters, grads, strict=True)), dict(zip(parameters, wanted, strict=True)))
    assert all(grad.abs().sum() > 0 for grad in grads)


# ----------------------------------------------------------------------------------- what both models promise


@pytest.mark.slow
@all_models
@few
@given(data=st.data())
def test_future_tokens_change_nothing_before_them(kind, data):
    T = data.draw(st.integers(2, 7))
    changed = data.draw(st.integers(1, T - 1))
    src, tgt = random_ids([5, 2], 13), random_ids([T, T], 11)
    other = tgt.clone()
    other[:, changed:] = (other[:, changed:] - 4 + 3) % 7 + 4
    before, after = MODELS[kind](src, tgt), MODELS[kind](src, other)
    assert_close(before[:, :changed], after[:, :changed], rtol=0, atol=1e-12)
    assert (before[:, changed:] - after[:, changed:]).abs().amax(-1).min() > 1e-6


@all_models
@few
@given(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 6)), min_size=1, max_size=4), st.integers(0, 3))
def test_batched_and_padded_is_one_by_one(kind, sizes, extra):
    """A sentence gets the same logits alone, in a batch with longer ones, and with still more padding."""
    src, tgt = random_ids([s for s, _ in sizes], 13), random_ids([t for _, t in sizes], 11, seed=1)
    wide = nn.functional.pad(src, (0, extra)), nn.functional.pad(tgt, (0, extra))
    together = MODELS[kind](*wide)
    for row, (s, t) in enumerate(sizes):
        alone = MODELS[kind](src[row : row + 1, :s], tgt[row : row + 1, :t])
        assert_close(together[row, :t], alone[0])


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
@pytest.mark.parametrize("kind", ["transformer", "decoder-only"])
def test_step_by_step_is_all_at_once_with_every_number_of_key_heads(kind, norm_first, key_heads, positions):
    model = tiny_model(kind, norm_first=norm_first, n_heads=4, key_heads=key_heads, positions=positions)
    step_by_step(model)


@all_models
def test_step_by_step_is_all_at_once(kind):
    step_by_step(MODELS[kind])


def step_by_step(model):
    src, tgt = random_ids([5, 3, 6], 13), random_ids([7, 7, 7], 11)
    state, steps = model.encode(src, padding_mask(src)), []
    for tokens in tgt.unbind(dim=1):
        logits, state = model.step(tokens, state)
        steps.append(logits)
    assert_close(torch.stack(steps, dim=1), model(src, tgt))


@pytest.mark.slow
@all_models
@few
@given(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(0, 4))
def test_reordered_rows_take_everything_along(kind, index, when):
    """Rows permuted, repeated or dropped after `when` tokens go on as if they had always been in this order."""
    model, index = MODELS[kind], torch.tensor(index)
    src, tgt = random_ids([5, 3, 6], 13), random_ids([6, 6, 6], 11)
    state = model.encode(src, padding_mask(src))
    for tokens in tgt[:, :when].unbind(dim=1):
        _, state = model.step(tokens, state)
    state.reorder(index, index)
    want = model(src[index], tgt[index])
    for t in range(when, 6):
        logits, state = model.step(tgt[index, t], state)
        assert_close(logits, want[:, t])


def test_hypotheses_of_a_sentence_share_its_memory():
    """A beam of three copies nothing, whoever overtakes whom; when a sentence leaves, its memory does."""
    model = MODELS["transformer"]
    state = model.encode(random_ids([5, 3], 13), padding_mask(random_ids([5, 3], 13)))
    memory = state.memory_kv[0][0]
    state.reorder(torch.tensor([0, 0, 0, 1, 1, 1]))
    assert torch.equal(state.memory_kv[0][0], memory)
    shared = state.memory_kv[0][0]
    state.reorder(torch.tensor([2, 0, 0, 4, 5, 3]))
    assert state.memory_kv[0][0] is shared
    state.reorder(torch.tensor([5, 3, 3]), torch.tensor([1]))
    assert torch.equal(state.memory_kv[0][0], memory[1:])


@all_models
def test_cross_attention_weights_are_distributions_over_the_real_source(kind):
    src, tgt = random_ids([5, 3, 1], 13), random_ids([4, 6, 2], 11)
    weights = MODELS[kind].cross_attention_weights(src, tgt)
    assert weights.shape == ((3, 1, 1, 6, 5) if kind == "rnn" else (3, 2, 2, 6, 5))
    if "decoder-only" in kind:  # the rest went to the target
        assert (weights.sum(-1) < 1).all()
    else:
        assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    padding = (src == 0)[:, None, None, None, :].expand_as(weights)
    assert (weights[padding] == 0).all() and (weights[~padding] > 0).all()


@all_models
def test_dropout_acts_in_training_alone(kind):
    model = build(dataclasses.replace(MODELS[kind].config, dropout=0.5)).double().eval()
    src, tgt = random_ids([5, 3], 13), random_ids([4, 6], 11)
    assert torch.equal(model(src, tgt), model(src, tgt))
    model.train()
    assert not torch.equal(model(src, tgt), model(src, tgt))


@all_models
def test_bfloat16_stays_close(kind):
    model = copy.deepcopy(MODELS[kind]).float()
    src, tgt = random_ids([5, 3, 6], 13), random_ids([4, 6, 2], 11)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(src, tgt)
    want = model(src, tgt)
    assert (mixed.float() - want).norm() < 0.03 * want.norm()


# ------------------------------------------------------------------------------------------ the Transformer's


def test_weights_shown_are_the_weights_used():
    """Joined with the values, the weights give what the cross-attention inside `forward` gave."""
    model, src, tgt = MODELS["transformer"], random_ids([5, 3], 13), random_ids([4, 6], 11)
    outputs, hooks = [], []
    for layer in model.decoder:
        hooks.append(layer.cross_attention.register_forward_hook(lambda module, args, out: outputs.append((args, out))))
    model(src, tgt)
    for hook in hooks:
        hook.remove()
    weights = model.cross_attention_weights(src, tgt)
    for i, ((_, memory, *_), out) in enumerate(outputs):
        module = model.decoder[i].cross_attention
        heads = weights[:, i] @ module.keys_values(memory)[1]
        assert_close(module.out_proj(merge_heads(heads)), out)


def test_sentences_longer_than_the_table_of_positions():
    model = tiny_model()
    tgt = random_ids([600], 11)
    long = model(random_ids([700], 13), tgt)
    assert len(model.positions) >= 700 and "positions" not in model.state_dict()
    assert_close(model(random_ids([700], 13), tgt[:, :550]), long[:, :550])


def test_the_output_layer_is_the_target_embedding():
    model = tiny_model()
    y = torch.randn(3, 8, dtype=torch.float64)
    assert_close(model.project(y), y @ model.tgt_embedding.weight.T)
    shared = sum(p.shape == (11, 8) for p in model.parameters())
    assert shared == 1  # one matrix of the target vocabulary's size, not two


def test_a_source_of_padding_alone_gives_no_nan():
    for model in MODELS.values():
        src = torch.zeros(2, 3, dtype=torch.long)
        src[0, 0] = 5
        assert model(src, random_ids([4, 4], 11)).isfinite().all()
