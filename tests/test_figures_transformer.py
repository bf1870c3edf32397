"""Lesson 07's figures: every box with the number of its section, every word where it is read and said."""

import re

import pytest
import torch
from helpers.drawn import assert_words_stand_apart, lines_on, words_on
from matplotlib.patches import FancyBboxPatch, Rectangle

from utils import figures
from utils.config import ROOT

pytestmark = pytest.mark.usefixtures("drawing_style")

TWIN = (ROOT / "notebooks/text/07_transformer.md").read_text(encoding="utf-8")
PARTS = [
    "Embedding", "Positions", "Multi-Head Attention", "Norm", "Add & Norm", "Feed-Forward", "Encoder",
    "Masked Multi-Head Attention", "Cross-Attention", "Decoder", "Linear", "Softmax", "Transformer",
]  # fmt: skip


def test_the_overview_reads_the_source_and_feeds_back_what_it_says():
    fig = figures.seq2seq_overview([*"机器学习", "<eos>"], ["▁machine", "▁learning"])
    words = words_on(fig)
    assert all(words.count(token) == 1 for token in "机器学习") and words.count("<bos>") == 1
    assert words.count("▁machine") == words.count("▁learning") == words.count("<eos>") == 2
    heard = {t.get_text(): t.get_position()[0] for t in fig.axes[0].texts if t.get_position()[1] < 1}
    said = {t.get_text(): t.get_position()[0] for t in fig.axes[0].texts if t.get_position()[1] > 2}
    assert said["▁machine"] == pytest.approx(heard["<bos>"]) and said["▁learning"] == pytest.approx(heard["▁machine"])
    back = [line.get_xdata() for line in fig.axes[0].lines]
    assert [(x[0], x[-1]) for x in back] == [(said[w], pytest.approx(heard[w])) for w in ("▁machine", "▁learning")]
    assert_words_stand_apart(fig)


def test_the_architecture_gives_every_box_the_number_of_its_section():
    fig = figures.architecture({part: 20 + i for i, part in enumerate(PARTS)})
    numbers = re.findall(r"§(\d+)", " ".join(words_on(fig)))
    count = {part: numbers.count(str(20 + i)) for i, part in enumerate(PARTS)}
    assert count.pop("Add & Norm") == 5, "two in the encoder, three in the decoder"
    assert [count.pop(part) for part in ("Embedding", "Positions", "Feed-Forward")] == [2, 2, 2], "one on each side"
    assert set(count.values()) == {1}
    assert_words_stand_apart(fig)


def test_each_number_stands_beside_its_box():
    sections = {part: 20 + i for i, part in enumerate(PARTS)}
    texts = figures.architecture(sections).axes[0].texts
    for t in texts:
        name = t.get_text().replace("\n", " ")
        if name in sections:
            beside = [o for o in texts if o.get_position()[1] == t.get_position()[1] and o.get_text().startswith("§")]
            nearest = min(beside, key=lambda o: abs(o.get_position()[0] - t.get_position()[0]))
            assert nearest.get_text() == f"§{sections[name]}"


def test_only_what_is_built_has_a_color():
    sections = dict.fromkeys(PARTS, 1) | {"Cross-Attention": 8, "Softmax": 10}
    for built, white in ((None, 0), (8, 1), (7, 2)):
        boxes = [p for p in figures.architecture(sections, built).axes[0].patches if isinstance(p, FancyBboxPatch)]
        assert len(boxes) == 3 * 16 and sum(p.get_alpha() == 0 for p in boxes) == white


def test_the_memory_reaches_the_decoder():
    fig = figures.architecture(dict.fromkeys(PARTS, 1))
    (line,) = lines_on(fig, figures.GREEN)
    (start, end) = line._posA_posB
    cross = next(t for t in fig.axes[0].texts if t.get_text() == "Cross-Attention").get_position()
    assert start[0] < end[0] < cross[0] and end[1] == pytest.approx(cross[1])


def test_the_lesson_has_the_sections_that_its_picture_names():
    named = re.search(r"^sections = \{(.*?)\}", TWIN, re.MULTILINE | re.DOTALL).group(1)
    numbers = {int(n) for n in re.findall(r": (\d+)", named)}
    headings = [int(n) for n in re.findall(r"^## (\d+)\. ", TWIN, re.MULTILINE)]
    assert headings == sorted(numbers) == list(range(1, 12))
    assert set(re.findall(r'"([^"]+)":', named)) == set(PARTS)


def test_norm_axes_frames_one_row_and_one_column():
    tables = torch.randn(2, 5, 4)
    fig = figures.norm_axes(*tables, list("abcde"), row=2, column=1)
    layer, batch = ([p for p in ax.patches if isinstance(p, Rectangle)] for ax in fig.axes)
    assert layer[0].get_bbox().bounds == (-0.5, 1.5, 4, 1) and batch[0].get_bbox().bounds == (0.5, -0.5, 1, 5)
    for ax, table in zip(fig.axes, tables, strict=True):
        assert torch.equal(torch.tensor(ax.images[0].get_array().data, dtype=torch.float32), table)
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == list("abcde")
