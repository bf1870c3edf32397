"""Lesson 06's figures say what its tensors say."""

import pytest
import torch
from helpers.drawn import assert_words_stand_apart, lines_on, widths, words_on

from utils import figures

pytestmark = pytest.mark.usefixtures("drawing_style")

SOURCE, READ, WRITTEN = "机器学习", ["<bos>", "machine", "learning"], ["machine", "learning", "<eos>"]
SAID = ["begin", "machine", "learning", "end"]


def numbers(*tensors) -> list[str]:
    return [figures.number(x) for tensor in tensors for x in tensor.flatten().tolist()]


def shares(lines: list[float]) -> torch.Tensor:
    """The weights that lines of such widths stand for."""
    return (torch.tensor(lines) - 0.5) / 5


@pytest.fixture
def states() -> dict:
    torch.manual_seed(0)
    h, s, c = (torch.rand(n, 3) + 1 for n in (4, 3, 3))
    return dict(h=h, s=s, c=c, weights=torch.rand(3, 4).softmax(-1))


def test_one_vector_has_one_way_from_the_encoder_to_the_decoder(states):
    fig = figures.encoder_decoder(SOURCE, states["h"], READ, states["s"], WRITTEN)
    words = words_on(fig)
    assert [w for w in words if w in numbers(states["h"], states["s"])] == numbers(states["h"], states["s"])
    assert {"$c = h^4$", "reads", "writes", *SOURCE, *SAID} <= set(words)
    assert len(lines_on(fig, figures.KEY)) == 3 + 1 and not lines_on(fig, figures.WEIGHT)
    assert_words_stand_apart(fig)


def test_with_attention_every_state_has_a_way_to_every_word_as_thick_as_its_weight(states):
    fig = figures.encoder_decoder(SOURCE, states["h"], READ, states["s"], WRITTEN, states["c"], states["weights"])
    torch.testing.assert_close(shares(widths(fig, figures.WEIGHT)).view(3, 4), states["weights"])
    assert set(numbers(states["c"])) <= set(words_on(fig)) and "$c^3$" in words_on(fig)
    assert_words_stand_apart(fig)


def test_one_word_is_lit_and_the_others_step_back(states):
    parts = (SOURCE, states["h"], READ, states["s"], WRITTEN, states["c"], states["weights"])
    fig = figures.encoder_decoder(*parts, lit=1)
    torch.testing.assert_close(shares(widths(fig, figures.WEIGHT)), states["weights"][1])
    assert [f"{share:.0%}" for share in states["weights"][1]] == [w for w in words_on(fig) if w.endswith("%")]
    spots = [patch.get_gid() for patch in fig.axes[0].patches if patch.get_gid()]
    spots += [artist.get_gid() for artist in fig.axes[0].artists if artist.get_gid()]
    assert sorted(set(spots)) == ["pick:0:0", "pick:0:1", "pick:0:2"]
    assert_words_stand_apart(fig)


@pytest.fixture
def decoder() -> dict:
    own = torch.tensor([[1.0, 0, 0], [0.3, 0.7, 0], [0.001, 0.6, 0.399]])
    cross = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0], [0.1, 0.2, 0.7]])
    return dict(source=["我", "学", "<eos>"], target=["▁Hi", "!", "<eos>"], own=own, cross=cross)


def test_the_decoder_looks_at_the_source_and_at_what_it_has_read(decoder):
    fig = figures.writing_step(**decoder, step=1)
    torch.testing.assert_close(shares(widths(fig, figures.WEIGHT)), torch.tensor([0.6, 0.4, 0.3, 0.7]))
    words = words_on(fig)
    assert [w for w in words if w.endswith("%")] == ["60%", "40%", "30%", "70%"]
    assert words.count("Hi") == 2 and words.count("!") == 1 and "·" in words, "the rest is not written yet"
    assert_words_stand_apart(fig)


def test_a_share_that_hardly_counts_is_left_out_and_the_future_is_not_drawn(decoder):
    assert len(lines_on(figures.writing_step(**decoder, step=0), figures.WEIGHT)) == 3 + 1
    assert len(lines_on(figures.writing_step(**decoder, step=2), figures.WEIGHT)) == 3 + 2


def test_the_plan_joins_both_sides_by_the_scores_and_the_last_state():
    fig = figures.seq2seq_parts()
    assert {"GRU encoder", "GRU decoder", "scores($S$, $H$)", "softmax: weights"} <= set(words_on(fig))
    assert len(lines_on(fig, figures.KEY)) == len(lines_on(fig, figures.QUERY)) == 2
    assert_words_stand_apart(fig)
