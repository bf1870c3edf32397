"""The figure of lesson 04: numbers, thickness and colors are those of the tensors."""

import matplotlib
import numpy as np
import pytest
import torch
from helpers.drawn import assert_words_stand_apart, lines_on, words_on

from utils import figures
from utils.attention import attention
from utils.figures.heads import HEADS

pytestmark = pytest.mark.usefixtures("drawing_style")


@pytest.fixture
def example():
    """Three words, two random heads, and what the first word hears."""
    torch.manual_seed(0)
    a, roles = torch.randn(3, 4), torch.randn(3, 3, 2)
    heads = torch.randn(2, 3, 3, 2)
    heard = [attention(*head) for head in heads]
    outputs, weights = [[out[part][0] for out in heard] for part in (0, 1)]
    return dict(words=["大象", "eat", "nuts"], a=a, roles=roles, heads=heads, weights=weights, outputs=outputs,
                result=torch.randn(2), asking=0)  # fmt: skip


def test_multi_head_diagram_shows_every_number(example):
    words = words_on(figures.multi_head_diagram(**example))
    parts = [example["a"], example["roles"], example["heads"], *example["outputs"], example["result"]]
    expected = [figures.number(x) for part in parts for x in part.flatten().tolist()]
    plain = [w for w in words if w.lstrip("-").replace(".", "", 1).replace("e05", "").isdigit()]
    assert sorted(plain) == sorted(expected)
    shares = [w.split("\n")[1] for w in words if r"\alpha" in w]
    assert shares == [f"{x:.2f}" for head in example["weights"] for x in head.tolist()]


def test_multi_head_diagram_is_as_thick_as_the_weights(example):
    """Of each head's lines, those that run into its output grow with its own weights."""
    fig = figures.multi_head_diagram(**example)
    for color, weights in zip(HEADS, example["weights"], strict=True):
        lines = lines_on(fig, color)[1:]  # the first one leads on to W^O
        assert len(lines) == 3 * 4  # from each word: query, key and value into the weight, and the weight's own
        thick = [line.get_linewidth() for line in lines[3::4]]
        assert np.argsort(thick).tolist() == weights.argsort().tolist()


def test_multi_head_diagram_keeps_the_heads_apart(example):
    """A line of a head starts at a vector of this head: under the label with its index."""
    fig = figures.multi_head_diagram(**example)
    labels = {t.get_text(): t.get_position()[0] for ax in fig.axes for t in ax.texts}
    for h, color in enumerate(HEADS, start=1):
        starts = [line.get_path().vertices[0][0] for line in lines_on(fig, color)[1:]]
        for i in range(3):
            expected = [labels[f"$q^{{1,{h}}}$"], labels[f"$k^{{{i + 1},{h}}}$"], labels[f"$v^{{{i + 1},{h}}}$"]]
            assert starts[4 * i : 4 * i + 3] == pytest.approx(expected, abs=0.05)


def test_multi_head_diagram_lets_only_one_word_ask(example):
    fig = figures.multi_head_diagram(**example)
    gray = matplotlib.colors.to_rgba(figures.GRAY)  # the words of what is pale
    silent = [t.get_text() for ax in fig.axes for t in ax.texts if matplotlib.colors.to_rgba(t.get_color()) == gray]
    assert silent == [f"$q^{name}$" for i in (2, 3) for name in (i, f"{{{i},1}}", f"{{{i},2}}")]


def test_multi_head_diagram_keeps_words_apart_and_on_the_page(example):
    rounded = {name: value.round() if torch.is_tensor(value) else value for name, value in example.items()}
    fig = figures.multi_head_diagram(**rounded)
    assert_words_stand_apart(fig)
    assert fig.get_size_inches()[0] <= 7  # 700 px
