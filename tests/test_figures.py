"""Figures say what the tensors say: numbers, thickness and order are read back from what was drawn."""

import os
import subprocess
import sys
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from helpers.drawn import assert_words_stand_apart, lines_on, widths, words_on

from utils import figures

pytestmark = pytest.mark.usefixtures("drawing_style")


@pytest.fixture
def example():
    """Four words with random roles, and the attention of the second word."""
    torch.manual_seed(0)
    a, q, k, v = torch.randn(4, 3), torch.randn(4, 2), torch.randn(4, 2), torch.randn(4, 2)
    scores = k @ q[1] / 2**0.5
    weights = scores.softmax(0)
    tensors = dict(words=["机器", "学习", "warm", "milk"], a=a, q=q, k=k, v=v)
    return tensors, dict(scores=scores, weights=weights, output=weights @ v, asking=1)


def test_import_is_cheap():
    """`import utils.figures` leaves matplotlib and seaborn for later."""
    code = "import sys, utils.figures; print(any(m in sys.modules for m in ('matplotlib', 'seaborn', 'zhplot')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("weight", ["normal", "bold"])
def test_chinese_is_drawn(weight, caplog):
    """Chinese glyphs come from a real font: no empty boxes, no warning on the way."""
    ax = figures.canvas(3, 1)
    figures.text(ax, 1.5, 0.5, "自注意力 attention", weight=weight)
    with warnings.catch_warnings(), caplog.at_level("WARNING"):
        warnings.simplefilter("error")  # matplotlib warns of every glyph that is missing
        ax.figure.canvas.draw()
    assert not caplog.records


def test_style_is_opaque_and_can_be_set_twice():
    figures.use_style()
    known = [font.name for font in matplotlib.font_manager.fontManager.ttflist]
    assert known.count("Noto Sans SC") == 2  # regular, and the same file as bold
    fig, ax = plt.subplots()
    fig.canvas.draw()
    assert (np.asarray(fig.canvas.buffer_rgba())[..., 3] == 255).all()


@pytest.mark.parametrize("x, expected", [(2.0, "2"), (-0.001, "0"), (0.125, "0.12"), (-1.5, "-1.5")])
def test_number(x, expected):
    assert figures.number(x) == expected


def test_heatmap_shows_its_numbers():
    matrix = torch.rand(2, 3, requires_grad=True)
    ax = figures.heatmap(matrix, ["x", "y"], ["a", "b", "c"], xlabel="key", ylabel="query")
    assert words_on(ax.figure) == [f"{x:.2f}" for x in matrix.flatten().tolist()]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "c"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x", "y"]


def test_heatmaps_stand_side_by_side():
    tables = {"one": torch.rand(2, 2), "other": torch.rand(2, 2)}
    fig = figures.heatmaps(tables, ["x", "y"], ["a", "b"], "is asked", "asks")
    assert [ax.get_title() for ax in fig.axes] == ["one", "other"]
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in fig.axes] == [("is asked", "asks"), ("is asked", "")]
    assert words_on(fig) == [f"{x:.2f}" for table in tables.values() for x in table.flatten().tolist()]


def test_softmax_rows_draws_every_distribution():
    rows = {d: (torch.rand(5).softmax(0), torch.rand(5).softmax(0)) for d in (4, 16, 64)}
    fig = figures.softmax_rows(rows, labels=("without", "with"))
    axes = np.array(fig.axes).reshape(2, 3)
    for column, d in enumerate(rows):
        for row in (0, 1):
            heights = [bar.get_height() for bar in axes[row, column].patches]
            np.testing.assert_allclose(heights, rows[d][row].numpy())
    with pytest.raises(ValueError):
        figures.softmax_rows(rows, labels=("only one label",))


def test_vector_is_a_column_with_the_first_entry_on_top():
    ax = figures.canvas(2, 2)
    shape = figures.vector(ax, 1.0, 1.0, torch.tensor([1.0, 2.0, 3.0]))
    heights = {t.get_text(): t.get_position()[1] for t in ax.texts}
    assert heights["1"] > heights["2"] > heights["3"]
    assert shape.top[1] - shape.bottom[1] == pytest.approx(shape.height)
    assert shape.right[0] - shape.left[0] == pytest.approx(shape.width)


@pytest.mark.parametrize("stages", [(), ("scores",), ("scores", "weights"), ("scores", "weights", "output")])
def test_attention_diagram_shows_the_tensors(example, stages):
    """Every number of every tensor stands in the diagram, and nothing of a stage that was not asked for."""
    tensors, attention = example
    fig = figures.attention_diagram(
        **tensors, **{stage: attention[stage] for stage in stages}, asking=attention["asking"]
    )
    words = words_on(fig)
    expected = [figures.number(x) for name in "aqkv" for x in tensors[name].flatten().tolist()]
    if "output" in stages:
        expected += [figures.number(x) for x in attention["output"].tolist()]
    plain = [w for w in words if w.lstrip("-").replace(".", "", 1).replace("e05", "").isdigit()]
    assert sorted(plain) == sorted(expected)
    for stage in ("scores", "weights"):
        name = {"scores": r"$\alpha_{2,", "weights": r"$\hat{\alpha}_{2,"}[stage]
        labels = [w.split("\n")[1] for w in words if w.startswith(name)]
        assert labels == ([f"{x:.2f}" for x in attention[stage].tolist()] if stage in stages else [])


def test_attention_diagram_is_as_thick_as_the_numbers(example):
    """The arrows from the query grow with the scores' size, the arrows into the output with the weights."""
    tensors, attention = example
    fig = figures.attention_diagram(**tensors, **attention)
    from_query = widths(fig, figures.QUERY)[-4:]  # the first one joins the embedding and the query
    assert np.argsort(from_query).tolist() == attention["scores"].abs().argsort().tolist()
    into_output = widths(fig, figures.VALUE)[-4:]
    assert np.argsort(into_output).tolist() == attention["weights"].argsort().tolist()


def test_attention_diagram_keeps_words_apart_and_on_the_page(example):
    tensors, attention = example
    fig = figures.attention_diagram(**tensors, **attention)
    assert_words_stand_apart(fig)


def test_attention_flow_follows_the_word():
    """Each layer's lines are as thick as the word's own row of weights, and the largest is named."""
    torch.manual_seed(0)
    words, layers = ["because", "it", "was", "tired"], [torch.randn(4, 4).softmax(1) for _ in range(2)]
    fig = figures.attention_flow({"up": (words, layers), "down": (words, layers[::-1])}, word="it")
    lines = np.array(widths(fig, figures.WEIGHT)).reshape(4, 4)
    for drawn, weights in zip(lines, (*layers, *layers[::-1]), strict=True):
        assert drawn.argsort().tolist() == weights[1].argsort().tolist()
    named = [w for w in words_on(fig) if w.endswith("%")]
    assert named == [f"{weights[1].max():.0%}" for weights in (*layers, *layers[::-1])]
    assert {"up", "down"} < set(words_on(fig)) and fig.get_size_inches()[0] <= 7  # 700 px


def test_picked_names_each_key_that_wins_somewhere():
    winners = np.zeros((9, 9))
    winners[:, 6:] = 2
    fig = figures.picked({"some": winners, "one": np.ones((9, 9))}, ["a", "b", "c"], {"?": (0.5, 0)}, reach=2.0)
    assert [[t.get_text() for t in ax.texts] for ax in fig.axes] == [["a", "c", "?"], ["b", "?"]]


# Lesson 08: groups of sentences, padding, beam search trees, alignments


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
        "begin", "step 1", "THE\n-0.70", "A\n-0.90", "2", "DOG\n-0.50", "<EOS>\n-0.70", "3", "<EOS>\n-0.35", "✓",
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
