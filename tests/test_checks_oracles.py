"""The checks' oracles, many of them loops, are compared here with PyTorch's own, one function for each lesson."""

import torch
import torch.nn.functional as F
from sacrebleu.metrics import BLEU
from test_decoding import at_random, by_brute_force
from torch import nn
from torch.testing import assert_close

from utils import batching, decoding, encoder_only, sampling, scan
from utils.checks import (
    lesson01,
    lesson02,
    lesson03,
    lesson04,
    lesson05,
    lesson06,
    lesson07,
    lesson08,
    lesson09,
    lesson10,
)
from utils.checks.engine import Draw
from utils.positional import alibi
from utils.tokenizer import BOS, EOS, PAD


def test_lesson01_is_pytorchs_cell_and_convolution():
    draw = Draw(0)
    x, h, W, U, b = draw.normal(5), draw.normal(4), draw.normal(4, 5), draw.normal(4, 4), draw.normal(4)
    assert_close(lesson01.rnn_step.oracle(x, h, W, U, b), torch.rnn_tanh_cell(x[None], h[None], W, U, b, 0 * b)[0])
    X, filter = draw.normal(9, 4), draw.normal(3, 4)
    assert_close(lesson01.conv_layer.oracle(X, filter), F.conv1d(X.T[None], filter.T[None])[0, 0])
    for kernel in range(1, 6):
        layers = [nn.Conv1d(1, 1, kernel) for _ in range(4)]
        for L in range(5):  # as many inputs as one output needs: the layers leave exactly one
            field = lesson01.receptive_field.oracle(L, kernel)
            assert nn.Sequential(*layers[:L])(torch.zeros(1, 1, field)).shape[-1] == 1
            if kernel > 1:
                assert lesson01.layers_needed.oracle(field, kernel) == L
                assert lesson01.layers_needed.oracle(field + 1, kernel) == L + 1
            gaps = [3, 1, 2, 4][:L]
            dilated = [nn.Conv1d(1, 1, kernel, dilation=gap) for gap in gaps]
            field = lesson01.dilated_field.oracle(kernel, gaps)
            assert nn.Sequential(*dilated)(torch.zeros(1, 1, field)).shape[-1] == 1


def test_lesson02_is_pytorchs_softmax():
    z = Draw(0).normal(6)
    assert_close(lesson02.softmax.oracle(z), z.softmax(0))


def test_lesson03_is_pytorchs_attention():
    draw, sdpa = Draw(0), F.scaled_dot_product_attention
    X, *W = draw.normal(3, 6, 5), *(draw.normal(5, 4) for _ in range(3))
    Q, K, V = (X @ w for w in W)
    assert_close(lesson03.batched_self_attention.oracle(X, *W), sdpa(Q, K, V))
    assert_close(lesson03.self_attention.oracle(X[0], *W), sdpa(Q[0], K[0], V[0]))
    mask = torch.rand(6, 6, generator=draw.generator) < 0.5
    mask[:, 0], mask[2] = True, False
    wanted = sdpa(Q[0], K[1], V[2], attn_mask=mask | ~mask.any(1, keepdim=True)).masked_fill(~mask.any(1)[:, None], 0)
    assert_close(lesson03.masked_attention.oracle(Q[0], K[1], V[2], mask), wanted)
    for block in (1, 4, 6, 10):
        assert_close(lesson03.online_attention.oracle(Q[0, 0], K[0], V[1], block), sdpa(Q[0, :1], K[0], V[1])[0])


def test_lesson04_is_pytorchs_multi_head_attention():
    X, Wq, Wk, Wv, Wo, H = *Draw(0).normal(5, 12, 12)[:, None].div(2).unbind(), 3  # (1, 12, 12) each
    Wq, Wk, Wv, Wo = (W[0] for W in (Wq, Wk, Wv, Wo))
    theirs = nn.MultiheadAttention(12, H, bias=False, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([Wq.T, Wk.T, Wv.T]))
        theirs.out_proj.weight.copy_(Wo.T)
        full = theirs(X, X, X)[0]
        assert_close(lesson04.multi_head_attention.oracle(X, Wq, Wk, Wv, Wo, H), full)
        moved = []
        for h in range(H):
            theirs.out_proj.weight.copy_(Wo.T).unflatten(1, (H, -1))[:, h] = 0
            moved.append(torch.linalg.norm(full - theirs(X, X, X)[0]))
    assert_close(lesson04.head_importance.oracle(X, Wq, Wk, Wv, Wo, H), torch.stack(moved))
    heads = X.unflatten(-1, (H, -1)).transpose(1, 2)
    assert torch.equal(lesson04.split_heads.oracle(X, H), heads)
    assert torch.equal(lesson04.merge_heads.oracle(heads), X)


def test_lesson05_is_complex_multiplication_and_a_matrix_exponential():
    e, omega = lesson05.sinusoidal.oracle(30, 8).double(), 10000.0 ** (-torch.arange(4).double() / 4)
    hands = torch.polar(torch.ones(30, 4).double(), torch.arange(30)[:, None] * omega)  # cos + i sin
    assert_close(e, torch.view_as_real(hands).flip(-1).flatten(1), atol=1e-6, rtol=0)

    generator = torch.block_diag(*[torch.tensor([[0, w], [-w, 0]]) for w in omega])
    for offset in (5, -5):
        M = lesson05.shift_matrix.oracle(8, offset).double()
        assert_close(M, torch.matrix_exp(offset * generator), atol=1e-6, rtol=0)
        assert_close(e[10:20] @ M.T, e[10 + offset : 20 + offset], atol=1e-5, rtol=0)

    x = Draw(0).normal(30, 8).double()
    turned = torch.view_as_complex(x.reshape(30, 4, 2)) * hands
    assert_close(lesson05.rotary.oracle(x), torch.view_as_real(turned).flatten(1))

    W, words = Draw(1).normal(4, 7), torch.tensor([2, 0])
    W_I, W_P = lesson05.split_projection.oracle(W, 3)
    long = torch.cat([F.one_hot(words, 3), F.one_hot(torch.arange(2), 4)], dim=1).float()  # [x; p] of two words
    assert_close(F.linear(long, W), F.embedding(words, W_I.T) + F.embedding(torch.arange(2), W_P.T))

    slopes = Draw(2).normal(3)
    assert_close(lesson05.alibi.oracle(5, slopes), alibi(5, slopes, slopes))


def test_lesson08_is_the_packages_search_and_sacrebleus_precision():
    for seed in range(20):
        model, src = at_random(seed), torch.tensor([[7, EOS]])

        def step_fn(prefix, model=model):
            logits = torch.tensor(model.script((7, EOS), tuple(prefix.tolist())))
            logits[[PAD, BOS]] = -torch.inf
            return logits.log_softmax(0)

        marks = step_fn, BOS, EOS
        assert (
            lesson08.greedy.oracle(*marks, 5) == decoding.greedy(model, src, 5)[0] == lesson08.beam.oracle(*marks, 5, 1)
        )
        assert lesson08.beam.oracle(*marks, 4, 3) == decoding.beam(model, src, 4, 3, length_penalty=0.0)[0]
        best = by_brute_force(lambda w, model=model: model.script((7, EOS), (BOS, *w)), 6, 3, 0.0)
        assert lesson08.beam.oracle(*marks, 3, 100) == best

        draw, bleu = Draw(seed), BLEU(tokenize="none", smooth_method="none")
        lengths = draw.integers(1, 30, 20)
        assert lesson08.token_batches.oracle(lengths, 60) == batching.token_batches(lengths, 60)
        ours, theirs = (["abcd"[i] for i in draw.integers(0, 3, 12)] for _ in range(2))
        for n, theirs_is in enumerate(bleu.corpus_score([" ".join(ours)], [[" ".join(theirs)]]).precisions, start=1):
            assert abs(100 * lesson08.ngram_precision.oracle(ours, theirs, n) - theirs_is) < 1e-6


def test_cached_steps_are_causal_attention_row_by_row():
    draw = Draw(0)
    X, matrices = draw.normal(6, 4), [draw.normal(4, 3) for _ in range(3)]
    q, k, v = (X @ W for W in matrices)
    rows, cache = [], None
    for x in X:
        row, cache = lesson08.cached_step.oracle(x, *matrices, cache)
        rows.append(row)
    wanted = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
    assert_close(torch.stack(rows), wanted)
    assert_close(cache, (k, v))


def test_lesson06_is_two_linear_layers_with_a_tanh_between():
    s, H, W, U, v = (Draw(0).normal(*shape) for shape in ((3,), (6, 4), (5, 3), (5, 4), (5,)))
    first, second = nn.Linear(7, 5, bias=False), nn.Linear(5, 1, bias=False)
    first.load_state_dict({"weight": torch.cat([W, U], dim=1)})
    second.load_state_dict({"weight": v[None]})
    scores = nn.Sequential(first, nn.Tanh(), second)(torch.cat([s.expand(6, 3), H], dim=1)).squeeze(-1).detach()
    assert_close(lesson06.additive_scores.oracle(s, H, W, U, v), scores)
    one_value_per_state = F.scaled_dot_product_attention(scores[None, None], torch.eye(6)[None], H[None], scale=1.0)
    assert_close(lesson06.context_vector.oracle(s, H, W, U, v), one_value_per_state[0, 0])

    target = torch.tensor([7, 5, 9])
    read, labels = lesson06.teacher_forcing_pair.oracle(target, 1, 2)
    assert torch.equal(read, F.pad(target, (1, 0), value=1)) and torch.equal(labels, F.pad(target, (0, 1), value=2))


def test_lesson07_is_pytorchs_layer_norm_mask_attention_and_decoder_layer():
    (x, out), gamma, beta = Draw(0).normal(2, 2, 3, 5), Draw(1).normal(5), Draw(2).normal(5)
    for scale in (1.0, 1e-3):  # the second is small beside eps
        assert_close(lesson07.layer_norm.oracle(scale * x, gamma, beta), F.layer_norm(scale * x, (5,), gamma, beta))
    assert_close(lesson07.add_and_norm.oracle(x, out, gamma, beta), F.layer_norm(x + out, (5,), gamma, beta))
    added = nn.Transformer.generate_square_subsequent_mask(6)
    assert torch.equal(lesson07.causal_mask.oracle(6), added == 0)

    rate = torch.optim.SGD([nn.Parameter(x)], lr=(512 * 20) ** -0.5)
    rising = torch.optim.lr_scheduler.LinearLR(rate, start_factor=1 / 20, total_iters=19)
    for step in range(1, 21):
        assert_close(lesson07.noam_lr.oracle(step, 512, 20), rising.get_last_lr()[0])
        rate.step()
        rising.step()
    assert_close(lesson07.noam_lr.oracle(80, 512, 20), lesson07.noam_lr.oracle(20, 512, 20) / 2)

    y, memory, W, real = (
        x[0],
        torch.cat([x[1], x[1] + 1]),
        torch.randn(3, 5, 4),
        torch.tensor([1, 1, 0, 1, 0, 0]).bool(),
    )
    theirs = F.scaled_dot_product_attention(y @ W[0], memory @ W[1], memory @ W[2], real.expand(3, 6))
    assert_close(lesson07.cross_attention.oracle(y, memory, *W, real), theirs)
    assert not lesson07.cross_attention.oracle(y, memory, *W, real & ~real).any()

    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(4, 2, 6, 0.0, batch_first=True, norm_first=True).eval()
    y, memory = torch.randn(3, 4), torch.randn(5, 4)
    hidden = torch.ones(3, 3).triu(1).bool()
    parts = (
        lambda z: layer.self_attn(z, z, z, attn_mask=hidden)[0],
        lambda z, memory: layer.multihead_attn(z, memory, memory)[0],
        lambda z: layer.linear2(layer.linear1(z).relu()),
    )
    ours = lesson07.decoder_layer.oracle(y, memory, (layer.norm1, layer.norm2, layer.norm3), *parts)
    assert_close(ours, layer(y[None], memory[None], hidden)[0])


def test_lesson09_is_cross_entropy_and_the_packages_filter_and_marks():
    draw = Draw(0)
    logits, labels = draw.normal(3, 4, 6), torch.tensor([[1, -1, 0, 5], [-1] * 4, [2, 3, -1, -1]])
    wanted = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1)
    assert_close(lesson09.masked_lm_loss.oracle(logits, labels), wanted)
    assert_close(encoder_only.masked_lm_loss(logits, labels), wanted)
    ids, marked = lesson09.pair_input.oracle([7, 8], [9], BOS, EOS)
    assert ids == encoder_only.two_texts([7, 8], [9])
    assert marked == encoder_only.segments(torch.tensor([ids]))[0].tolist()
    distinct = torch.randperm(72, generator=draw.generator).reshape(3, 4, 6).float()
    for k in (1, 3, 6, 9):
        assert torch.equal(lesson09.top_k_filter.oracle(distinct, k), sampling.top_k_filter(distinct, k))
    logp = logits[0].log_softmax(-1).gather(-1, labels[:1].T.clamp(min=0))[:, 0]
    nll = F.nll_loss(logits[0].log_softmax(-1), labels[0].clamp(min=0))
    assert abs(lesson09.perplexity.oracle(logp) - nll.exp()) < 1e-5


def test_lesson10_is_pytorchs_norm_silu_and_attention_and_the_packages_scan():
    draw = Draw(0)
    x, gamma = draw.normal(2, 3, 6), draw.normal(6)
    assert_close(lesson10.rms_norm.oracle(x, gamma, 0.1), F.rms_norm(x, (6,), gamma, 0.1))
    gate, up, down = draw.normal(6, 4), draw.normal(6, 4), draw.normal(4, 6)
    assert_close(lesson10.swiglu.oracle(x, gate, up, down), (F.silu(x @ gate) * (x @ up)) @ down)
    q, k, v = draw.normal(6, 3, 4), draw.normal(2, 5, 4), draw.normal(2, 5, 4)
    theirs = F.scaled_dot_product_attention(q[None], k[None], v[None], enable_gqa=True)[0]
    assert_close(lesson10.grouped_query_attention.oracle(q, k, v), theirs)
    decay, a = draw.normal(4).sigmoid(), draw.normal(50, 4)
    assert_close(lesson10.linear_recurrence.oracle(decay, a), scan.by_loop(decay, a))
