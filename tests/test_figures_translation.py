"""The figures of lesson 08: groups of sentences, padding, beam search trees, alignments."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.patches import FancyArrowPatch

from utils import figures

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the choice of a backend without a screen)


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        figures.use_style()
        yield
    plt.close("all")


def words_on(figure) -> list[str]:
    return [t.get_text() for ax in figure.axes for t in ax.texts if t.get_text()]


def lines_on(figure, color: str | None = None) -> list[FancyArrowPatch]:
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    return [line for line in found if color is None or line.get_edgecolor() == to_rgba(color)]


def test_shared_sides_has_a_box_per_sentence_and_a_line_per_pair():
    pairs = [("早上好!", "Good morning!"), ("早上好!", "Morning!"), ("早!", "Good morning!")]
    fig = figures.shared_sides(pairs)
    assert sorted(words_on(fig)) == sorted({sentence for pair in pairs for sentence in pair})
    assert len(lines_on(fig)) == len(pairs)
    assert fig.get_size_inches()[0] <= 7


def test_padding_fills_every_row_up_to_the_longest():
    fig = figures.padding({"one": [4, 2, 2], "two": torch.tensor([3, 3])})
    tokens, filled = fig.axes[0].containers
    assert [bar.get_width() for bar in tokens] == [4, 2, 2]
    assert [bar.get_x() + bar.get_width() for bar in filled] == [4, 4, 4]
    assert [ax.get_title() for ax in fig.axes] == ["one\n33% padding", "two\n0% padding"]


STEPS = [
    [(("the",), -0.7), (("a",), -0.9)],
    [(("a", "dog"), -1.0), (("a", "<eos>"), -1.4)],
    [(("a", "dog", "<eos>"), -1.05), (("a", "<eos>"), -1.4)],
]


def test_beam_tree_shows_every_hypothesis_with_its_score_per_token():
    words = words_on(figures.beam_tree(STEPS, str.upper))
    assert words == [
        "<bos>", "THE\n-0.70", "A\n-0.90", "DOG\n-0.50", "<EOS>\n-0.70", "<EOS>\n-0.35", "✓",
    ]  # fmt: skip


def test_beam_tree_paints_the_winners_path_and_what_died():
    fig = figures.beam_tree(STEPS, str)
    assert len(lines_on(fig, figures.BLUE)) == 3  # a, dog, <eos>: one line into each
    assert len(lines_on(fig, figures.PALE)) == 1  # the
    assert len(lines_on(fig)) == 6
    into = {line._posA_posB[0] for line in lines_on(fig, figures.BLUE)}
    assert len(into) == 3  # the path goes on where it arrived


def test_alignments_keep_rows_and_columns_apart():
    source, target, weights = ["我", "学", "<eos>"], ["▁I", "<eos>"], torch.rand(2, 3)
    fig = figures.alignments([(source, target, weights), (source[1:], target, weights[:, 1:])])
    panel = fig.axes[0]
    np.testing.assert_allclose(panel.images[0].get_array(), weights.numpy())
    assert [t.get_text() for t in panel.get_xticklabels()] == ["我", "学", "end"]
    assert [t.get_text() for t in panel.get_yticklabels()] == ["I", "end"]
    fig.canvas.draw()
    renderer = fig.canvas.get_renderer()
    boxes = [t.get_window_extent(renderer) for t in panel.get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in zip(boxes, boxes[1:], strict=False))
