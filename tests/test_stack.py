"""BERT and GPT: one stack, equal to PyTorch's encoder with copied weights; what each may see; how each is trained."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.tiny import few, random_ids, tiny_checkpoint, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from utils import training
from utils.attention import causal_mask, merge_heads
from utils.batching import EpochBatches
from utils.checkpoint import MODELS, CheckpointError, load_model
from utils.config import KINDS, TrainConfig
from utils.decoder_only import prefix_mask
from utils.decoding import beam, greedy
from utils.encoder_only import (
    CLS,
    MASK,
    SEP,
    TextBatches,
    class_loss,
    hidden_word_loss,
    hidden_words_found,
    hide,
    masked_lm_loss,
    n_asked,
    one_text,
    probability_of_one,
    segments,
    two_texts,
)
from utils.export.__main__ import ExportError, export
from utils.loss import batch_loss
from utils.sampling import sample, top_k_filter, top_p_filter
from utils.tokenizer import BOS, EOS, PAD
from utils.trainer import Trainer, dev_nll
from utils.translate import load_translator

CPU = torch.device("cpu")
NOTHING = torch.zeros(3, 0, dtype=torch.long)  # the source of a language model, three times
V = 11  # tokens of a tiny model


# --------------------------------------------------------------------------------------- parity with PyTorch


def pytorchs(stack) -> nn.TransformerEncoder:
    """nn.TransformerEncoder that holds the very parameters of ours."""
    c = stack.config
    options = {"dropout": 0.0, "batch_first": True, "norm_first": c.norm_first, "activation": c.activation}
    layer = nn.TransformerEncoderLayer(c.d_model, c.n_heads, c.d_ff, **options)
    theirs = nn.TransformerEncoder(layer, c.n_layers, stack.norm if c.norm_first else None).double().train()
    for mine, layer in zip(stack.layers, theirs.layers, strict=True):
        layer.self_attn.in_proj_weight = mine.self_attention.in_proj.weight
        layer.self_attn.in_proj_bias = mine.self_attention.in_proj.bias
        layer.self_attn.out_proj = mine.self_attention.out_proj
        layer.linear1, layer.linear2 = mine.feed_forward.inner, mine.feed_forward.outer
        layer.norm1, layer.norm2 = mine.attention_norm, mine.ffn_norm
    return theirs


both_norms = pytest.mark.parametrize("norm_first", [True, False])
each_activation = pytest.mark.parametrize("activation", ["relu", "gelu"])
unnested = pytest.mark.filterwarnings("ignore:enable_nested_tensor")


@unnested
@both_norms
@each_activation
def test_bert_is_pytorchs_encoder(norm_first, activation):
    model = tiny_model("encoder-only", norm_first=norm_first, activation=activation)
    with torch.no_grad():
        model.segment_embedding.weight.normal_()
    ids = torch.tensor([two_texts([5, 6], [7, 8]), [*one_text([9, 4, 5]), PAD, PAD]])
    in_second = torch.tensor([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1, 1]])
    x = (model.tgt_embedding.weight[ids] + model.segment_embedding.weight[in_second]) * math.sqrt(8)
    hidden = pytorchs(model.stack)(x + model.stack.positions[:7], src_key_padding_mask=ids == PAD)
    real = ids != PAD  # at padding nobody looks
    out, want = model(ids)[real], (hidden @ model.tgt_embedding.weight.T)[real]
    assert_close(out, want)
    head = model.classifier.weight @ torch.tanh(model.pooler.weight @ hidden[0, 0] + model.pooler.bias)
    assert_close(model.classify(ids)[0], head + model.classifier.bias)
    used = [p for name, p in model.named_parameters() if not name.startswith(("pooler", "classifier"))]
    direction = torch.randn_like(out)
    grads, wanted = (torch.autograd.grad((o * direction).sum(), used) for o in (out, want))
    assert_close(grads, wanted)
    assert all(grad.abs().sum() > 0 for grad in grads)


@unnested
@both_norms
@each_activation
def test_gpt_is_pytorchs_encoder_with_a_mask(norm_first, activation):
    model, tgt = tiny_model("decoder-only", norm_first=norm_first, activation=activation), random_ids([6, 4, 2], V)
    x = model.tgt_embedding.weight[tgt] * math.sqrt(8) + model.stack.positions[:6]
    hidden = pytorchs(model.stack)(x, mask=torch.ones(6, 6, dtype=torch.bool).triu(1))
    assert_close(model(NOTHING, tgt), hidden @ model.tgt_embedding.weight.T)


@unnested
@pytest.mark.parametrize("prefix", [False, True])
def test_a_decoder_that_translates_reads_one_sequence(prefix):
    """Source, <eos>, <bos>, target without padding between them, as PyTorch's encoder would get them."""
    model = tiny_model("decoder-only", prefix=prefix)
    src = torch.tensor([[5, 6, 7, EOS, PAD, PAD], [8, 9, 10, 11, 12, EOS]])
    tgt = torch.tensor([[BOS, 4, 5, 6], [BOS, 7, 8, 9]])
    out = model(src, tgt)
    for row, n in ((0, 4), (1, 6)):
        x = torch.cat([model.src_embedding.weight[src[row, :n]], model.tgt_embedding.weight[tgt[row]]]) * math.sqrt(8)
        may = causal_mask(n + 4)
        may[:n, :n] |= prefix
        hidden = pytorchs(model.stack)((x + model.stack.positions[: n + 4])[None], mask=~may)
        assert_close(out[row], hidden[0, n:] @ model.tgt_embedding.weight.T)


# ------------------------------------------------------------------------------------------- BERT: hidden words


def test_segments_and_marks():
    assert two_texts([5, 6], [7]) == [CLS, 5, 6, SEP, 7, SEP] and one_text([5]) == [CLS, 5, SEP]
    ids = torch.tensor([two_texts([5, 6], [7]), two_texts([], [7, 8, 9])])
    assert segments(ids).tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1]]


@pytest.mark.parametrize("kind", ["encoder-only", "decoder-only"])
def test_who_hears_whom(kind):
    """A word that is replaced moves all vectors of BERT, and of GPT those from its own on."""
    model, ids = tiny_model(kind), torch.tensor([[1, 5, 6, 7, 8]])
    other = ids.clone()
    other[0, 2] = 9
    a, b = (
        (model(ids), model(other)) if kind == "encoder-only" else (model(NOTHING[:1], ids), model(NOTHING[:1], other))
    )
    moved = (a - b).abs().amax(-1)[0] > 1e-9
    assert moved.tolist() == ([True] * 5 if kind == "encoder-only" else [False, False, True, True, True])


def test_bert_alone_and_with_longer_texts_says_the_same():
    model, texts = tiny_model("encoder-only"), [one_text([5, 6]), two_texts([7], [8, 9, 10]), one_text([4])]
    together = probability_of_one(model, texts)
    assert_close(together, torch.cat([probability_of_one(model, [text]) for text in texts]))
    assert_close(probability_of_one(model, texts, at_a_time=2), together)


def test_fifteen_percent_are_asked_for_and_of_these_ten_in_a_hundred_stay():
    ids = torch.randint(4, 1000, (200, 42))
    ids[:, 0], ids[:, -1], ids[:, 20] = CLS, SEP, SEP
    hidden, labels = hide(ids, 1000)
    asked = labels >= 0
    assert (asked.sum(1) == 6).all(), "39 words, 15 % of them rounded"
    assert torch.equal(labels[asked], ids[asked]) and (labels[~asked] == -1).all()
    assert torch.equal(hidden[~asked], ids[~asked]) and not asked[ids < 4].any()
    masked, same = (hidden == MASK) & asked, (hidden == ids) & asked
    shares = [x.sum().item() / asked.sum().item() for x in (masked, same, asked & ~masked & ~same)]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.03)
    assert hidden[asked & ~masked & ~same].min() >= 4, "a random word is a word"
    places = asked.double().mean(0)[1:20]
    assert places.min() > 0.08 and places.max() < 0.24, "everywhere alike"


def test_how_many_are_asked_for():
    counts = torch.tensor([1, 2, 3, 9, 10, 13, 14, 100])
    assert n_asked(counts).tolist() == [1, 1, 1, 1, 2, 2, 2, 15] == n_asked(counts.numpy()).tolist()
    _, labels = hide(torch.tensor([[CLS, 5, SEP, PAD], [CLS, SEP, PAD, PAD], [CLS, 5, 6, SEP]]), V)
    assert (labels >= 0).sum(1).tolist() == [1, 0, 1]


def test_masked_lm_loss_is_pytorchs():
    logits, labels = torch.randn(3, 5, V, dtype=torch.float64), torch.randint(-1, V, (3, 5))
    labels[0, 0] = -1
    assert_close(
        masked_lm_loss(logits, labels), F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1)
    )
    assert masked_lm_loss(logits, torch.full((3, 5), -1)) == 0


def test_the_fast_loss_is_the_plain_one():
    model = tiny_model("encoder-only")
    batch = TextBatches([one_text([5, 6, 7]), two_texts([8, 9], [10, 4])], None, 100).batch([0, 1])
    torch.manual_seed(3)
    loss, nll = hidden_word_loss(model, batch)
    torch.manual_seed(3)
    ids, labels = hide(batch.ids, V)
    assert_close(loss / batch.n_targets, masked_lm_loss(model(ids), labels))
    assert_close(loss, nll)


# -------------------------------------------------------------------------------------- both in the Trainer

TEXTS = [two_texts([4 + i % 5, 5 + i % 3], [6 + i % 4] * (1 + i % 3)) for i in range(24)]
LABELS = [i % 2 for i in range(24)]


def trainer(name: str, **options) -> Trainer:
    torch.manual_seed(0)
    config = TrainConfig(**{"steps": 8, "batch_tokens": 60, "lr": 1e-2, "warmup": 0, "label_smoothing": 0.0} | options)
    if name == "language model":
        model, loss = tiny_model("decoder-only", src_vocab=4), batch_loss
        data = EpochBatches([[]] * 24, [text[1:-1] for text in TEXTS], 60)
    else:
        model, loss = tiny_model("encoder-only"), class_loss if name == "classes" else hidden_word_loss
        data = TextBatches(TEXTS, LABELS if name == "classes" else None, 60)
    return Trainer(model.float(), config, data, CPU, loss)


each_loss = pytest.mark.parametrize("name", ["language model", "hidden words", "classes"])


@pytest.mark.slow
@each_loss
@pytest.mark.usefixtures("shapes_unchecked")
def test_the_trainer_trains_what_it_does_not_know(name):
    told = trainer(name, steps=80, eval_minutes=0.0)
    told.fit(lambda _: {}, bar=False)
    curve = [row["train_nll"] for row in told.progress.history]
    assert sum(curve[-10:]) < 0.7 * sum(curve[:10])


@each_loss
@pytest.mark.usefixtures("shapes_unchecked")
def test_resumed_equals_uninterrupted(name):
    whole = trainer(name).fit(bar=False)
    first = trainer(name)
    first.train_step, step = None, first.train_step

    def stopping_after_three(batches, n_tokens):
        first.stopping = first.progress.step == 2
        return step(batches, n_tokens)

    first.train_step = stopping_after_three
    first.fit(bar=False)
    second = trainer(name)
    second.load_state(first.state())
    second.fit(bar=False)
    assert first.progress.step == 3 and second.progress.step == whole.progress.step == 8
    assert_close(dict(second.model.named_parameters()), dict(whole.model.named_parameters()), rtol=0, atol=0)


@each_loss
@pytest.mark.parametrize("setting", ["token_dropout", "r_drop"])
@pytest.mark.usefixtures("shapes_unchecked")
def test_settings_for_pairs_are_refused_for_texts(name, setting):
    if name == "language model":  # its texts are the targets of pairs whose source is empty
        assert trainer(name, **{setting: 0.1}).fit(bar=False).progress.step == 8
    else:
        with pytest.raises(ValueError, match="token_dropout and r_drop are for pairs"):
            trainer(name, **{setting: 0.1})


@pytest.mark.parametrize("labels", [LABELS, None])
def test_what_a_batch_asks_for_is_known_before_it_is_made(labels):
    data = TextBatches(TEXTS, labels, 60)
    for indices in data.indices(0):
        shares = [data.batch(indices, rank, 3) for rank in range(3)]
        asked = [
            (hide(share.ids, V)[1] >= 0).sum() if labels is None else (share.labels >= 0).sum() for share in shares
        ]
        assert data.n_targets(indices) == data.batch(indices).n_targets == sum(asked)
    assert sorted(i for indices in data.indices(1) for i in indices) == list(range(24))
    assert data.fingerprint() != TextBatches(TEXTS, labels and [1 - x for x in labels] or LABELS, 60).fingerprint()


def test_a_share_without_texts_is_no_loss():
    data, model = TextBatches(TEXTS[:1], [1], 60), tiny_model("encoder-only")
    empty = data.batch([0], rank=1, world_size=2)
    assert empty.n_targets == 0 and class_loss(model, empty)[0] == 0
    assert hidden_word_loss(model, TextBatches(TEXTS[:1], None, 60).batch([0], 1, 2))[0] == 0


def test_words_found_are_the_same_for_every_model():
    model, blind = tiny_model("encoder-only"), tiny_model("encoder-only")
    before = torch.get_rng_state()
    once, twice = hidden_words_found(model, TEXTS), hidden_words_found(model, TEXTS)
    assert once == twice and torch.equal(before, torch.get_rng_state())
    with torch.no_grad():
        blind.tgt_embedding.weight.zero_()
    assert hidden_words_found(blind, TEXTS)["nll"] == pytest.approx(math.log(V))


def test_a_language_model_of_equal_logits_has_the_perplexity_of_its_vocabulary():
    model = tiny_model("decoder-only", src_vocab=4)
    with torch.no_grad():
        model.tgt_embedding.weight.zero_()
    assert math.exp(dev_nll(model, [[], []], [[5, 6], [7]], CPU)) == pytest.approx(V)


# ------------------------------------------------------------------------------------------- GPT: sampling

rows = st.lists(st.floats(-5, 5), min_size=2, max_size=9).map(torch.tensor)


@few
@given(rows, st.integers(1, 12))
def test_top_k_by_sorting(logits, k):
    kept = top_k_filter(logits, k)
    assert kept.isfinite().sum() == min(k, len(logits))
    assert_close(kept[kept.isfinite()].sort().values, logits.sort().values[-k:])
    assert torch.equal(kept[kept.isfinite()], logits[kept.isfinite()])


@few
@given(rows, st.floats(0.01, 1))
def test_top_p_by_adding_up(logits, p):
    kept = top_p_filter(logits[None], p)[0].isfinite()
    probability, total, want = logits.softmax(0), 0.0, 0
    for x in probability.sort(descending=True).values.tolist():
        if total >= p - 1e-6:
            break
        total, want = total + x, want + 1
    assert abs(int(kept.sum()) - want) <= (1 if abs(total - p) < 1e-5 else 0)
    assert probability[kept].min() >= (probability[~kept].max() if (~kept).any() else 0)


def test_filters_of_many_rows_and_settings_that_are_refused():
    logits = torch.randn(2, 3, 7)
    assert (top_k_filter(logits, 2).isfinite().sum(-1) == 2).all()
    assert top_p_filter(logits, 1e-9).isfinite().sum(-1).eq(1).all() and torch.equal(top_p_filter(logits, 1.0), logits)
    for call in (lambda: top_k_filter(logits, 0), lambda: top_p_filter(logits, 0.0), lambda: top_p_filter(logits, 1.1)):
        with pytest.raises(ValueError):
            call()
    model = tiny_model("decoder-only")
    for wrong in ({"temperature": 0.0}, {"temperature": math.nan}, {"top_k": 0}, {"top_p": 2.0}):
        with pytest.raises(ValueError):
            sample(model, NOTHING, 3, **wrong)


def test_sampling_draws_with_the_models_probabilities():
    model = tiny_model("decoder-only")
    never = torch.zeros(V).index_fill(0, torch.tensor([PAD, BOS]), -torch.inf)
    logits = model(NOTHING[:1], torch.tensor([[BOS]]))[0, 0].detach().float() + never
    for options, want in (
        ({}, logits.softmax(0)),
        ({"temperature": 2.0}, (logits / 2).softmax(0)),
        ({"top_k": 3}, top_k_filter(logits, 3).softmax(0)),
        ({"top_p": 0.5, "temperature": 0.5}, top_p_filter(logits / 0.5, 0.5).softmax(0)),
    ):
        drawn = sample(model, torch.zeros(4000, 0, dtype=torch.long), 1, **options)
        counts = torch.bincount(torch.tensor([ids[0] if ids else EOS for ids in drawn]), minlength=V) / 4000
        assert (counts - want).abs().max() < 0.03


def test_sampling_from_one_token_is_greedy_and_prompts_come_first():
    model, src = tiny_model("decoder-only"), random_ids([4, 2, 3], 13)
    assert sample(model, src, 9, top_k=1) == greedy(model, src, 9) == beam(model, src, 9, beam_size=1)
    prompts = [[5, 6, 7], [], [8]]
    found = sample(model, NOTHING, 12, prompts=prompts, generator=torch.Generator().manual_seed(1))
    assert [ids[: len(p)] for ids, p in zip(found, prompts, strict=True)] == prompts
    assert found == sample(model, NOTHING, 12, prompts=prompts, generator=torch.Generator().manual_seed(1))
    # What follows a prompt is what the model says after it: uncached, all positions at once.
    (ids,) = sample(model, NOTHING[:1], 12, top_k=1, prompts=prompts[:1])
    for t in range(3, len(ids)):
        logits = model(NOTHING[:1], torch.tensor([[BOS, *ids[:t]]]))[0, -1]
        assert logits[2:].argmax() + 2 == ids[t]


# ------------------------------------------------------------------------------------------- where it looked


def test_prefix_mask_is_between_the_causal_one_and_none():
    assert torch.equal(prefix_mask(5, 0), causal_mask(5)) and prefix_mask(5, 5).all()
    assert prefix_mask(3, 2).tolist() == [[True, True, False], [True, True, False], [True, True, True]]


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
@pytest.mark.parametrize("key_heads", [2, 1])
def test_weights_shown_are_the_weights_used(positions, key_heads):
    """Joined with the values, each layer's weights give what its attention gave."""
    options = {"positions": positions, "key_heads": key_heads}
    for model, inputs in (
        (
            tiny_model("encoder-only", **options),
            (torch.tensor([two_texts([5, 6], [7]), [*one_text([8, 9]), PAD, PAD]]),),
        ),
        (tiny_model("decoder-only", **options), (random_ids([3, 2], 13), random_ids([4, 4], V))),
    ):
        found, hooks = [], []
        for layer in model.stack.layers:
            module = layer.self_attention
            hooks.append(
                module.register_forward_hook(lambda m, args, out, found=found: found.append((m, args[0], out)))
            )
        weights = model.attention_weights(*inputs)
        assert len(found) == 2 and not any(layer.self_attention._forward_pre_hooks for layer in model.stack.layers)
        for i, (module, x, out) in enumerate(found):
            v = module.keys_values(x)[1].repeat_interleave(2 // key_heads, dim=1)
            assert_close(module.out_proj(merge_heads(weights[:, i] @ v)), out)
        for hook in hooks:
            hook.remove()
    shown = model.cross_attention_weights(*inputs)
    assert torch.equal(shown, weights[..., 3:, :3]) and (weights.triu(1) == 0).all()


# ------------------------------------------------------------------------------------------- as commands


def test_every_kind_can_be_built_and_the_wrong_one_is_told_so(tmp_path):
    assert set(MODELS) == set(KINDS)
    folder = tiny_checkpoint(tmp_path / "bert", "encoder-only")
    assert load_model(folder)[0].config.kind == "encoder-only"
    with pytest.raises(CheckpointError, match="reads and does not write"):
        load_translator(folder, "cpu")
    with pytest.raises(ExportError, match="no Transformer"):
        export("onnx", tmp_path / "out", tiny_checkpoint(tmp_path / "gpt", "decoder-only"))
    with pytest.raises(ExportError, match="trained with --norm, which is not exported"):
        export("onnx", tmp_path / "out", tiny_checkpoint(tmp_path / "rms", norm="rms"))


@pytest.mark.usefixtures("shapes_unchecked")
def test_the_command_trains_a_decoder_and_no_encoder(command, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--model", "decoder-only", "--positions", "rotary", "--key-heads", "1", "--no-bias", "--prefix"]
    assert training.main([*command, *options, "--steps", "3", "--out", str(out)]) == 0
    translator = load_translator(out, "cpu")
    assert translator.model.config.prefix and not translator.model.config.bias
    assert isinstance(translator.translate("我喜欢音乐。"), str)
    found = translator.attend("我喜欢音乐。")
    assert found.weights.shape == (1, 2, len(found.tgt_tokens), len(found.src_tokens))
    assert training.main([*command, "--model", "encoder-only", "--steps", "3", "--out", str(tmp_path / "no")]) == 1
    assert "--model encoder-only does not write" in capsys.readouterr().err and not (tmp_path / "no").exists()
