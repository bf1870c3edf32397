"""The figures of lesson 04: numbers, thickness and colors are those of the tensors."""

import matplotlib
import numpy as np
import pytest
import torch
from helpers.drawn import assert_words_stand_apart, contrasts, lines_on, words_on

from utils import figures
from utils.attention import attention

pytestmark = pytest.mark.usefixtures("drawing_style")


@pytest.fixture(params=[0, 1])
def example(request):
    """Three words, two random heads, what the first word hears, and which head is drawn at work."""
    torch.manual_seed(0)
    a, roles = torch.randn(3, 4), torch.randn(3, 3, 2)
    heads = torch.randn(2, 3, 3, 2)
    heard = [attention(*head) for head in heads]
    outputs, weights = [[out[part][0] for out in heard] for part in (0, 1)]
    return dict(words=["大象", "eat", "nuts"], a=a, roles=roles, heads=heads, weights=weights, outputs=outputs,
                result=torch.randn(2), asking=0, lit=request.param)  # fmt: skip


def ends(line) -> tuple:
    """Where an arrow begins and where it ends."""
    return line._posA_posB


def test_multi_head_diagram_shows_every_number(example):
    words = words_on(figures.multi_head_diagram(**example))
    parts = [example["a"], example["roles"], example["heads"], *example["outputs"], example["result"]]
    expected = [figures.number(x) for part in parts for x in part.flatten().tolist()]
    plain = [w for w in words if w.lstrip("-").replace(".", "", 1).replace("e05", "").isdigit()]
    assert sorted(plain) == sorted(expected)
    shares = [w.split("\n")[1] for w in words if r"\alpha" in w]
    assert shares == [f"{x:.2f}" for x in example["weights"][example["lit"]].tolist()]


@pytest.mark.slow
def test_in_multi_head_diagram_keys_go_to_the_shares_and_values_through_products(example):
    """From the vectors with the index of the head at work: query and key to a share, value and share to a product."""
    fig, head = figures.multi_head_diagram(**example), example["lit"] + 1
    labels = {t.get_text(): t.get_position() for ax in fig.axes for t in ax.texts}
    shares = [position for words, position in labels.items() if r"\alpha" in words]
    for color, name, of in ((figures.QUERY, "q", (1, 1, 1)), (figures.KEY, "k", (1, 2, 3))):
        flows = [flow for flow in map(ends, lines_on(fig, color)) if flow[1][1] > 4]
        assert len(flows) == 3
        for flow, word, (x, y) in zip(flows, of, shares, strict=True):
            assert flow[0][0] == pytest.approx(labels[f"${name}^{{{word},{head}}}$"][0], abs=0.05)
            assert abs(flow[-1][0] - x) < 0.1 and flow[-1][1] < y
    values = [ends(line) for line in lines_on(fig, figures.VALUE)]
    into_products = [flow for flow in values if flow[0][1] < 3.7 and flow[-1][1] > 4]
    assert [flow[0][0] for flow in into_products] == pytest.approx(
        [labels[f"$v^{{{word},{head}}}$"][0] for word in (1, 2, 3)], abs=0.05
    )


def test_multi_head_diagram_is_as_thick_as_the_weights(example):
    fig, weights = figures.multi_head_diagram(**example), example["weights"][example["lit"]]
    purple = [line.get_linewidth() for line in lines_on(fig, figures.WEIGHT)]
    assert np.argsort(purple).tolist() == weights.argsort().tolist()


def test_multi_head_diagram_lets_only_one_word_ask_and_one_head_work(example):
    fig, other = figures.multi_head_diagram(**example), 2 - example["lit"]
    gray = matplotlib.colors.to_rgba(figures.GRAY)  # the words of what is pale
    silent = {t.get_text() for ax in fig.axes for t in ax.texts if matplotlib.colors.to_rgba(t.get_color()) == gray}
    not_asking = {f"$q^{name}$" for i in (2, 3) for name in (i, f"{{{i},1}}", f"{{{i},2}}")}
    assert silent == not_asking | {f"${role}^{{{i},{other}}}$" for role in "qkv" for i in (1, 2, 3)} | {
        f"$b^{{1,{other}}}$"
    }


def test_multi_head_diagram_keeps_words_apart_and_on_the_page(example):
    rounded = {name: value.round() if torch.is_tensor(value) else value for name, value in example.items()}
    fig = figures.multi_head_diagram(**rounded)
    assert_words_stand_apart(fig)
    assert fig.get_size_inches()[0] <= 7  # 700 px


# ---- the others --------------------------------------------------------------------------------------------

PAIRS = {
    "elephants eat nuts": {"elephants": (1, 1), "nuts": (-1, 0)},
    "mice eat melons": {"mice": (1, 0), "melons": (-1, 1)},
}


@pytest.mark.parametrize("share, same", [(0.5, True), (0.7, False)])
def test_two_averages_lie_where_the_shares_put_them(share: float, same: bool):
    fig = figures.two_averages(PAIRS, share, ("kind", "size"))
    (ax,) = fig.axes
    blends = [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o"][::2]  # the others: legend
    assert np.allclose(blends[0], [2 * share - 1, share]) and np.allclose(blends[1], [2 * share - 1, 1 - share])
    assert np.allclose(*blends) is same
    assert any("70%" in words for words in words_on(fig)) is not same


def test_splits_say_which_head_owns_what():
    names = [["a0", "a1"], ["b0", "b1"]]
    fig = figures.splits({"split": [[0, 1], [0, 1]]} | {"one reshape": [[0, 0], [1, 1]]},
                         dict.fromkeys(("split", "one reshape"), torch.eye(2)), names, ["a", "b"])  # fmt: skip
    words = words_on(fig)
    assert words[:4] == ["a0\nhead 1", "a1\nhead 2", "b0\nhead 1", "b1\nhead 2"]
    assert {"a0\nhead 1", "a1\nhead 1", "b0\nhead 2", "b1\nhead 2"} <= set(words[4:])


def test_subtraction_plane_adds_heads_up_and_shades_equal_signs():
    fig = figures.subtraction_plane([(1.0, 0.0), (0.0, -1.0)], ends={"1 head": [(1.0, 0.0), (0.0, -1.0)]})
    (ax,) = fig.axes
    flows = [ends(line) for line in lines_on(fig, figures.VALUE)]
    assert np.allclose(flows, [[(0, 0), (1, 0)], [(1, 0), (1, -1)]])
    sums = [line.get_xydata()[0] for line in ax.lines if line.get_label() == "where the heads lead"]
    assert np.allclose(sums, [(1, -1)])
    assert "income counts +1.0, costs count -1.0: error 0.00" in words_on(fig)
    assert "1 head" in [t.get_text() for t in ax.get_legend().get_texts()]


def test_intervals_are_drawn_row_by_row():
    fig = figures.intervals(["one", "other"], {"a": ([0.1, 0.2], [0.1, 0.1]), "b": ([0.3, 0.4], [0.1, 0.1])}, "damage")
    (ax,) = fig.axes
    points = [container.lines[0].get_xydata() for container in ax.containers]
    assert np.allclose([p[:, 0] for p in points], [(0.1, 0.2), (0.3, 0.4)])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "other"]


def test_what_is_written_can_be_read():
    drawn = [
        figures.two_averages(PAIRS, 0.5, ("kind", "size")),
        figures.subtraction_plane([(0.6, 0.4)], ends={"1 head": [(1.0, 0.0)]}),
        figures.intervals(["one"], {"a": ([0.1], [0.1])}, "damage"),
    ]
    for fig in drawn:
        assert all(ratio >= 4.5 for ratio in contrasts(fig).values()), contrasts(fig)
