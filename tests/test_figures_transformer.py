"""Lesson 07's figures: every word where it is read and said, every norm's axis, every share and bar of a step."""

import re

import pytest
import torch
from helpers.drawn import assert_words_stand_apart, lines_on, words_on
from matplotlib.patches import Rectangle

from utils import figures
from utils.config import ROOT

pytestmark = pytest.mark.usefixtures("drawing_style")

TWIN = (ROOT / "notebooks/text/07_transformer.md").read_text(encoding="utf-8")


def test_the_overview_reads_the_source_and_feeds_back_what_it_says():
    fig = figures.seq2seq_overview([*"机器学习", "<eos>"], ["▁machine", "▁learning"])
    words = words_on(fig)
    assert all(words.count(token) == 1 for token in "机器学习") and words.count("begin") == 1
    assert words.count("machine") == words.count("learning") == words.count("end") == 2
    heard = {t.get_text(): t.get_position()[0] for t in fig.axes[0].texts if t.get_position()[1] < 1}
    said = {t.get_text(): t.get_position()[0] for t in fig.axes[0].texts if t.get_position()[1] > 2}
    assert said["machine"] == pytest.approx(heard["begin"]) and said["learning"] == pytest.approx(heard["machine"])
    back = [line.get_xdata() for line in fig.axes[0].lines]
    assert [(x[0], x[-1]) for x in back] == [(said[w], pytest.approx(heard[w])) for w in ("machine", "learning")]
    assert_words_stand_apart(fig)


def test_the_lesson_has_the_sections_that_its_picture_names():
    named = re.search(r"^sections = \{(.*?)\}", TWIN, re.MULTILINE | re.DOTALL).group(1)
    numbers = {int(n) for n in re.findall(r": (\d+)", named)}
    headings = [int(n) for n in re.findall(r"^## (\d+)\. ", TWIN, re.MULTILINE)]
    assert headings == list(range(1, 12)) and numbers == {1, 2, 3, 5, 7, 8, 10}
    assert set(headings) - numbers == {4, 6, 9, 11}, "the plus and whole layers: the text below the picture names them"
    fig = figures.pre_and_post_norm(lit=["norm"], labels={"norm": "§3"})
    norms = sum("§3" in word for word in words_on(fig))
    assert norms == 2 * 5 + 2, "around each sublayer one, and one more on top of each pre-norm stack"


def test_norm_axes_frames_one_row_and_one_column():
    tables = torch.randn(2, 5, 4)
    fig = figures.norm_axes(*tables, list("abcde"), first=3, row=4, column=1)
    layer, batch = ([p for p in ax.patches if isinstance(p, Rectangle)] for ax in fig.axes[:2])
    assert layer[0].get_bbox().bounds == (-0.5, 4.5, 4, 1), "below the gap between the sentences"
    assert batch[0].get_bbox().bounds == (0.5, -0.5, 1, 6), "over both sentences"
    for ax, table in zip(fig.axes[:2], tables, strict=True):
        drawn = torch.tensor(ax.images[0].get_array().data, dtype=torch.float32)
        assert drawn[3].isnan().all() and torch.equal(drawn[[0, 1, 2, 4, 5]], table)
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == list("abcde")
    assert len(fig.axes) == 3, "and the bar that says what a color means"


def test_a_step_shows_what_was_heard_where_it_looked_and_what_comes_next():
    chances, shares = torch.tensor([0.6, 0.2, 0.1, 0.05, 0.01]), torch.tensor([0.7, 0.2, 0.06, 0.03, 0.01])
    best = ["▁machine", "▁machines", "▁to", "▁a", "▁mechanical"]
    fig = figures.decoder_step(["<bos>", "▁the"], best, chances, [*"机器学习", "<eos>"], shares)
    words = words_on(fig)
    assert "begin  the" in " ".join(words) and "machine" in words and "end" in words
    assert [words.count(f"{p}%") for p in (70, 60, 6, 3)] == [1, 1, 1, 1]
    bars = [p.get_width() for p in fig.axes[0].patches if type(p) is Rectangle]
    assert len(bars) == 5 and bars[0] / bars[1] == pytest.approx(3)
    assert len(lines_on(fig, figures.WEIGHT)) == 2, "small shares stay pale"
    assert_words_stand_apart(fig)


def test_a_step_after_many_words_and_with_a_long_source_fits():
    heard, shares = ["<bos>", *["▁something"] * 30], torch.full((16,), 1 / 16)
    fig = figures.decoder_step(heard, ["▁extraordinarily"] * 5, torch.full((5,), 0.99), ["电"] * 16, shares)
    assert any(word.startswith("…") for word in words_on(fig))
    assert_words_stand_apart(fig)
