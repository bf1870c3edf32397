"""Lesson 06's figures say what its tensors say, and its animation needs no host."""

import base64
import io

import pytest
import torch
from helpers.drawn import assert_words_stand_apart, lines_on, widths, words_on
from PIL import Image

from utils import figures

pytestmark = pytest.mark.usefixtures("drawing_style")

SOURCE, READ, WRITTEN = "机器学习", ["<bos>", "machine", "learning"], ["machine", "learning", "<eos>"]


def numbers(*tensors) -> list[str]:
    return [figures.number(x) for tensor in tensors for x in tensor.flatten().tolist()]


@pytest.fixture
def states() -> dict:
    torch.manual_seed(0)
    h, s, c = (torch.rand(n, 3) + 1 for n in (4, 3, 3))
    return dict(h=h, s=s, c=c, weights=torch.rand(3, 4).softmax(-1))


@pytest.fixture
def stack() -> dict:
    """A Transformer of two layers, three source tokens, two target tokens; every weight is at least 0.1."""
    torch.manual_seed(0)
    spread = lambda *shape: 0.1 + (1 - 0.1 * shape[-1]) * torch.rand(*shape).softmax(-1)  # noqa: E731
    decoder = torch.tensor([[[1.0, 0.0], [0.3, 0.7]], [[1.0, 0.0], [0.6, 0.4]]])
    return dict(source=["我", "学", "<eos>"], target=["▁Hi", "<eos>"], encoder=spread(2, 3, 3), decoder=decoder,
                cross=spread(2, 2, 3))  # fmt: skip


def test_one_vector_has_one_way_from_the_encoder_to_the_decoder(states):
    fig = figures.encoder_decoder(SOURCE, states["h"], READ, states["s"], WRITTEN)
    words = words_on(fig)
    assert [w for w in words if w in numbers(states["h"], states["s"])] == numbers(states["h"], states["s"])
    assert "$c = h^4$" in words and all(word in words for word in [*SOURCE, *READ, *WRITTEN])
    assert len(lines_on(fig, figures.BLUE)) == 3 + 1 and not lines_on(fig, figures.PURPLE)
    assert_words_stand_apart(fig)


def test_with_attention_every_state_has_a_way_to_every_word_as_thick_as_its_weight(states):
    fig = figures.encoder_decoder(SOURCE, states["h"], READ, states["s"], WRITTEN, states["c"], states["weights"])
    drawn = torch.tensor(widths(fig, figures.PURPLE)).view(3, 5)  # per word: one arrow to its output, four from the h
    torch.testing.assert_close((drawn[:, 1:] - 0.5) / 5, states["weights"])
    assert set(numbers(states["c"])) <= set(words_on(fig)) and "$c^3$" in words_on(fig)
    assert_words_stand_apart(fig)


def test_the_encoder_shows_all_positions_of_a_layer_at_once(stack):
    fig = figures.attention_stages(**stack, stages=[(2, 0)])
    torch.testing.assert_close((torch.tensor(widths(fig, figures.BLUE)) - 0.5) / 5, stack["encoder"][1].flatten())
    torch.testing.assert_close((torch.tensor(widths(fig, figures.PALE)) - 0.5) / 5, stack["encoder"][0].flatten())
    assert "encoder: layer 2 of 2, all positions at once" in words_on(fig) and "Hi" not in words_on(fig)


def test_the_decoder_looks_at_what_is_written_and_at_the_source(stack):
    fig = figures.attention_stages(**stack, stages=[(2, 2)])
    torch.testing.assert_close((torch.tensor(widths(fig, figures.BLUE)) - 0.5) / 5, stack["decoder"][:, 1].flatten())
    torch.testing.assert_close((torch.tensor(widths(fig, figures.ORANGE)) - 0.5) / 5, stack["cross"][:, 1].flatten())
    assert words_on(fig)[:2] == ["encoder: finished", "decoder: word 2"]
    assert words_on(fig)[2:] == ["我", "学", "end", "begin", "Hi", "Hi", "end"]
    assert_words_stand_apart(fig)


def test_a_weight_that_hardly_counts_is_left_out_and_the_future_is_not_drawn(stack):
    stack["cross"][:, 0] = torch.tensor([0.97, 0.02, 0.01])
    fig = figures.attention_stages(**stack, stages=[(2, 1)])
    assert len(lines_on(fig, figures.ORANGE)) == 2 and len(lines_on(fig, figures.BLUE)) == 2


def test_stages_stand_one_below_the_other_two_without_words_side_by_side(stack):
    fig = figures.attention_stages(**stack, stages=[(0, 0), (1, 0), (2, 0), (2, 1), (2, 2)])
    titles = [t for t in fig.axes[0].texts if t.get_text().startswith(("the sentence", "encoder:"))]
    assert [t.get_text()[-8:] for t in titles] == ["sentence", " at once", " at once", "finished", "finished"]
    (x, y) = zip(*(t.get_position() for t in titles), strict=True)
    assert y[0] == y[1] > y[2] > y[3] > y[4] and x[1] > x[0] == x[2] == x[3] == x[4]
    right = [line for line in lines_on(fig, figures.BLUE) if line.get_path().vertices[:, 0].min() > x[1]]
    assert right, "the second panel's lines stand below its title"
    assert_words_stand_apart(fig)


def test_gif_plays_every_frame_for_ever_and_closes_the_figures(stack):
    import matplotlib.pyplot as plt

    stages = [(0, 0), (1, 0), (2, 1)]
    html = figures.gif([figures.attention_stages(**stack, stages=[stage]) for stage in stages], "two layers", 0.5)
    head, data = html.removesuffix('">').split("base64,")
    assert head == '<img alt="two layers" src="data:image/gif;' and not plt.get_fignums()
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.n_frames == 3 and picture.info["loop"] == 0 and picture.width == 680
    durations = []
    for frame in range(3):
        picture.seek(frame)
        durations.append(picture.info["duration"])
    assert durations == [500, 500, 1500]
