"""What a layer may be made of: every option alone and all together equal a few lines that know no module."""

import math

import pytest
import torch
from helpers.tiny import tiny_model
from torch.testing import assert_close

from utils.attention import KVCache, MultiHeadAttention, causal_mask
from utils.config import ModelConfig
from utils.positional import rotary, sinusoidal, turned
from utils.transformer import DecoderLayer, EncoderLayer, FeedForward

D, H, FF = 16, 4, 12
ALL = {"norm": "rms", "activation": "swiglu", "key_heads": 2, "bias": False, "qk_norm": True}
OPTIONS = [
    {},
    {"norm": "rms"},
    {"activation": "gelu"},
    {"activation": "swiglu"},
    {"key_heads": 2},
    {"key_heads": 1},
    {"bias": False},
    {"qk_norm": True},
    ALL,
    ALL | {"norm_first": False},
]
each_option = pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(map(str, options.items())))


def drawn(layer):
    """The layer in float64 with random weights everywhere, also where it begins with zeros and ones."""
    layer = layer.double().eval()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return layer


# ------------------------------------------------------------------------------------------- the few lines


def norm(x, module):
    eps, centered = 1e-5, x - x.mean(-1, keepdim=True)
    if isinstance(module, torch.nn.RMSNorm):
        return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * module.weight
    y = centered / (centered.pow(2).mean(-1, keepdim=True) + eps).sqrt() * module.weight
    return y if module.bias is None else y + module.bias


def linear(x, module):
    return x @ module.weight.T + (0 if module.bias is None else module.bias)


def attention(x, memory, module, mask, places=None):
    """Head by head, position by position; heads 0 .. H/G - 1 ask the first key head, and so on."""
    d, G = D // H, module.key_heads
    stacked = linear(torch.cat([x, memory], dim=1), module.in_proj)
    q, k, v = (
        stacked[:, : x.shape[1], :D],
        stacked[:, x.shape[1] :, D : D + G * d],
        stacked[:, x.shape[1] :, D + G * d :],
    )
    heads = []
    for h in range(H):
        g = h // (H // G)
        q_h, k_h, v_h = q[..., h * d : (h + 1) * d], k[..., g * d : (g + 1) * d], v[..., g * d : (g + 1) * d]
        if isinstance(module.q_norm, torch.nn.RMSNorm):
            q_h, k_h = norm(q_h, module.q_norm), norm(k_h, module.k_norm)
        if places is not None:
            q_h, k_h = by_complex_numbers(q_h, places), by_complex_numbers(k_h, places)
        scores = (q_h @ k_h.mT / math.sqrt(d)).masked_fill(~mask, -math.inf)
        heads.append(scores.softmax(-1) @ v_h)
    return linear(torch.cat(heads, dim=-1), module.out_proj)


def by_complex_numbers(x, places):
    d = x.shape[-1]
    angle = places[..., None].double() * 10000.0 ** (-torch.arange(0, d, 2).double() / d)
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.polar(torch.ones_like(angle), angle)
    return torch.view_as_real(pairs).flatten(-2)


def feed_forward(x, module):
    x = linear(x, module.inner)
    if module.activation == "swiglu":
        gate, up = x[..., :FF], x[..., FF:]
        x = gate / (1 + (-gate).exp()) * up
    elif module.activation == "gelu":
        x = x * (1 + torch.erf(x / math.sqrt(2))) / 2
    else:
        x = x.clamp(min=0)
    return linear(x, module.outer)


def layer_by_hand(layer, x, sublayers):
    for name, sublayer in sublayers:
        normed = getattr(layer, name)
        x = x + sublayer(norm(x, normed)) if layer.norm_first else norm(x + sublayer(x), normed)
    return x


# ------------------------------------------------------------------------------------------------- equal to


@each_option
def test_the_encoder_layer(options):
    layer, x = drawn(EncoderLayer(D, H, FF, **options)), torch.randn(2, 5, D, dtype=torch.float64)
    mask = torch.ones(2, 1, 1, 5, dtype=torch.bool)
    mask[1, ..., 3:] = False
    want = layer_by_hand(
        layer,
        x,
        [
            ("attention_norm", lambda y: attention(y, y, layer.self_attention, mask[:, 0])),
            ("ffn_norm", lambda y: feed_forward(y, layer.feed_forward)),
        ],
    )
    assert_close(layer(x, mask), want)


@each_option
def test_the_decoder_layer(options):
    layer, y = drawn(DecoderLayer(D, H, FF, **options)), torch.randn(2, 4, D, dtype=torch.float64)
    memory, src_mask = torch.randn(2, 5, D, dtype=torch.float64), torch.ones(2, 1, 1, 5, dtype=torch.bool)
    src_mask[0, ..., 2:] = False
    want = layer_by_hand(
        layer,
        y,
        [
            ("attention_norm", lambda z: attention(z, z, layer.self_attention, causal_mask(4))),
            ("cross_attention_norm", lambda z: attention(z, memory, layer.cross_attention, src_mask[:, 0])),
            ("ffn_norm", lambda z: feed_forward(z, layer.feed_forward)),
        ],
    )
    assert_close(layer(y, memory, src_mask), want)


@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("places", [[0, 1, 2, 3, 4], [7, 8, 9, 12, 40]])
def test_rotary_positions_at_any_place(key_heads, places):
    layer, x = drawn(EncoderLayer(D, H, FF, key_heads=key_heads)), torch.randn(2, 5, D, dtype=torch.float64)
    mask, places = causal_mask(5), torch.tensor(places)
    want = layer_by_hand(
        layer,
        x,
        [
            ("attention_norm", lambda y: attention(y, y, layer.self_attention, mask, places)),
            ("ffn_norm", lambda y: feed_forward(y, layer.feed_forward)),
        ],
    )
    assert_close(layer(x, mask, hands=sinusoidal(41, D // H).double()[places]), want, atol=1e-6, rtol=1e-6)


def test_turned_at_places_0_1_2_is_rotary():
    x = torch.randn(2, 3, 5, 8)
    assert_close(turned(x, sinusoidal(5, 8)), rotary(x))
    assert_close(turned(x[..., 3:, :], sinusoidal(5, 8)[3:]), rotary(x)[..., 3:, :])


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_grouped_queries_with_copied_keys_are_all_heads(key_heads):
    """A layer of G key heads is a layer of H key heads whose rows repeat."""
    few, many = drawn(MultiHeadAttention(D, H, key_heads)), MultiHeadAttention(D, H).double()
    with torch.no_grad():
        for name in ("weight", "bias"):
            q, k, v = getattr(few.in_proj, name).split(few.widths)
            k, v = (x.unflatten(0, (key_heads, -1)).repeat_interleave(H // key_heads, 0).flatten(0, 1) for x in (k, v))
            getattr(many.in_proj, name).copy_(torch.cat([q, k, v]))
        many.out_proj.load_state_dict(few.out_proj.state_dict())
    x, memory = torch.randn(2, 5, D, dtype=torch.float64), torch.randn(2, 3, D, dtype=torch.float64)
    padding = torch.tensor([[True, True, False], [True, False, False]])[:, None, None]
    for arguments in [(x,), (x, memory), (x, memory, padding), (x, None, causal_mask(5)), (x, None, None, True)]:
        assert_close(few(*arguments), many(*arguments))
    assert_close(few.weights(x, memory, padding), many.weights(x, memory, padding))


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_the_cache_is_as_small_as_the_key_heads_are_few(key_heads):
    layer, x, cache = drawn(MultiHeadAttention(D, H, key_heads)), torch.randn(3, 6, D, dtype=torch.float64), KVCache()
    steps = [layer(x[:, t : t + 1], cache=cache) for t in range(6)]
    assert_close(torch.cat(steps, dim=1), layer(x, causal=True))
    assert cache.k.shape == cache.v.shape == (3, key_heads, 6, D // H)


def test_with_qk_norm_the_scores_do_not_grow_with_the_input():
    layer = MultiHeadAttention(D, H, qk_norm=True)
    x = torch.randn(1, 5, D)
    assert_close(layer.weights(x), layer.weights(100 * x), atol=1e-3, rtol=0)
    assert (MultiHeadAttention(D, H).weights(100 * x) - layer.weights(100 * x)).abs().max() > 0.1


@each_option
def test_no_bias_means_none_anywhere_and_every_parameter_learns(options):
    layer = drawn(DecoderLayer(D, H, FF, **options))
    names = [name for name, _ in layer.named_parameters()]
    assert any(name.endswith("bias") for name in names) == options.get("bias", True)
    y, memory = torch.randn(2, 4, D, dtype=torch.float64), torch.randn(2, 3, D, dtype=torch.float64)
    layer(y, memory, torch.ones(2, 1, 1, 3, dtype=torch.bool)).pow(3).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())


def test_parameters_counted():
    def count(module):
        return sum(p.numel() for p in module.parameters())

    assert count(FeedForward(D, FF)) == 2 * D * FF + D + FF
    assert count(FeedForward(D, FF, "swiglu", bias=False)) == 3 * D * FF
    assert count(MultiHeadAttention(D, H, key_heads=1, bias=False)) == 2 * D * D + 2 * D * D // H


# ------------------------------------------------------------------------------------------- in the config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "batch"}, "norm is 'batch'; it must be 'layer' or 'rms'"),
        ({"key_heads": 3}, "n_heads = 4 cannot share key_heads = 3 equally"),
        ({"key_heads": 8}, "n_heads = 4 cannot share key_heads = 8 equally"),
        ({"positions": "rotary", "d_model": 12}, "an even d_model / n_heads"),
        ({"prefix": True}, "prefix is for a decoder-only model"),
        ({"kind": "rnn", "norm": "rms", "bias": False}, "--norm, --no-bias: not for an RNN"),
        ({"kind": "decoder-only", "d_model": 10}, "d_model = 10 cannot be split"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(13, 11, **changes)
    with pytest.raises(ValueError, match="n_heads = 4 cannot share key_heads = 3"):
        MultiHeadAttention(D, H, 3)


def test_positions_none_hear_a_set():
    """Without a mask that tells the order, words that change places change places in the output, too."""
    model, order = tiny_model("encoder-only", positions="none"), torch.tensor([0, 3, 1, 2, 4])
    ids = torch.tensor([[1, 5, 6, 7, 2]])
    assert_close(model(ids)[:, order], model(ids[:, order]))
    model = tiny_model("encoder-only")
    assert (model(ids)[:, order] - model(ids[:, order])).abs().max() > 1e-3
