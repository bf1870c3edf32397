"""What a figure puts onto the page, two outputs that are right wherever they are read; and the grammar of figures."""

import base64
import io
import itertools
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from helpers.drawn import assert_words_stand_apart, contrasts, lines_on, widths, words_on
from nbformat.v4 import new_output
from nbval.plugin import get_sanitize_patterns
from PIL import Image

from tools import weave
from utils import figures, language
from utils.attention import attention
from utils.config import ROOT
from utils.figures import model_map, page, style
from utils.figures.page import caption_html, svg

SANITIZER = Path(__file__).parent / "nbval_sanitize.cfg"
pytestmark = pytest.mark.usefixtures("drawing_style")

WORDS = {"number": "2.3", "caption": "Warm < hot & cold.", "alt": "Two bars, the second is the taller one."}
TOKENS = "the animal was too tired".split()


@pytest.fixture
def outputs(monkeypatch):
    """What a cell would show: (data, metadata) per output."""
    found = []

    def display(thing, raw=False, metadata=None):
        found.append((thing, metadata) if raw else ({"text/html": thing.data}, None))

    monkeypatch.setattr("IPython.display.display", display)
    return found


def bars(height=0.5):
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.bar([1, 2], [0.2, height])
    ax.set_title(f"{height:g}")
    return ax


def diagram(height=0.5):
    ax = figures.canvas(3, 2)
    figures.box(ax, 1.5, height, "b")
    return ax.figure


def stored(output) -> dict:
    return json.loads(re.search(r'class="frames">(.*?)</script>', output["text/html"], re.DOTALL)[1])


# ---- show --------------------------------------------------------------------------------------------------


def test_show_gives_a_picture_and_a_caption(outputs):
    figures.show(bars(), **WORDS)
    (picture, metadata), (caption, _) = outputs
    assert metadata["image/png"]["alt"] == WORDS["alt"] and 250 < metadata["image/png"]["width"] <= 320  # for 3 inches
    assert "<b>Figure 2.3.</b> Warm &lt; hot &amp; cold." in caption["text/html"]
    assert f"</summary>{WORDS['alt']}</details>" in caption["text/html"]
    assert not plt.get_fignums()  # or the notebook would show the figure once more


def test_a_picture_is_sharp_and_cut_to_a_palette(outputs):
    figures.show(bars(), **WORDS)
    data, metadata = outputs[0]
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.mode == "P" and picture.width // 2 == metadata["image/png"]["width"]
    assert len(outputs[0][0]["image/png"]) < 12_000


def test_a_label_beyond_the_edge_is_not_cut_off(outputs):
    ax = bars()
    ax.figure.text(1.1, 0.5, "far out")  # beyond the sheet, as a label that the layout did not foresee
    figures.show(ax, **WORDS)
    assert outputs[0][1]["image/png"]["width"] > 360


def test_a_diagram_is_a_drawing_too(outputs):
    """Where drawings are dropped, the PNG remains; a chart, which may hold a thousand marks, has the PNG alone."""
    figures.show(diagram(), **WORDS)
    figures.show(bars(), **WORDS)
    assert {"image/png", "image/svg+xml"} < set(outputs[0][0]) and "image/svg+xml" not in outputs[2][0]
    root = ET.fromstring(outputs[0][0]["image/svg+xml"])
    assert root.attrib["width"] == "300" and root.attrib["height"] == "200"


def test_a_map_has_no_number(outputs):
    figures.show(diagram(), caption="You are here.", alt=WORDS["alt"])
    assert "Figure" not in outputs[1][0]["text/html"]


def test_what_is_woven_is_what_a_figure_would_say(outputs, monkeypatch):
    chinese = {"caption": "暖 < 热，冷 & 热。", "alt": "两根柱子，第二根较高。"}
    found = {(kind, language.digest(WORDS[kind])): text for kind, text in chinese.items()}
    monkeypatch.setattr(language, "captions", lambda tongue: found)
    figures.show(bars(), **WORDS)
    woven = [new_output("display_data", data, metadata=about or {}) for data, about in outputs]
    for output in woven:
        for kind, text in chinese.items():
            weave.replace_in(output, WORDS[kind], text, "zh")
    outputs.clear()
    monkeypatch.setenv("TRANSFORMER_COURSE_LANGUAGE", "zh")
    figures.show(bars(), **WORDS)
    assert [(one.data, one.metadata or None) for one in woven] == outputs


def test_another_language_takes_its_own_words(monkeypatch):
    monkeypatch.setenv("TRANSFORMER_COURSE_LANGUAGE", "zh")
    assert "<b>图 2.3.</b> 结果" in caption_html("2.3", "结果", "两个条形")


def test_a_drawing_is_the_same_each_time_and_keeps_to_itself():
    first, again = (svg(diagram(), "figure-2.3-") for _ in range(2))
    assert first == again and first.startswith("<svg") and first.endswith("</svg>")
    assert "<style" not in first and "metadata" not in first  # a style would reach the whole page
    ids = re.findall(r'id="([^"]*)"', first)
    assert ids and all(name.startswith("figure-2.3-") for name in ids)
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', first)) <= set(ids)
    assert not re.search(r"\d\.\d{3}", re.sub(r"scale\([^)]*\)", "", first))


# ---- explore -----------------------------------------------------------------------------------------------


def test_explore_stores_every_state_and_a_still(outputs):
    choices = {"height": [0.25, 0.5, 1.0], "kind": ["bars", "box"]}

    def draw(height, kind):
        return {"bars": bars, "box": diagram}[kind](height)

    figures.explore(draw, choices, start=(0.5, "box"), say=lambda height, kind: f"{kind}: {height}", **WORDS)
    (still, _), (live, _) = outputs
    data = stored(live)
    for i, state in enumerate(itertools.product(*choices.values())):
        drawn = "".join(data["pieces"][piece] for piece in data["frames"][i])
        wanted = re.sub(r"<defs>.*?</defs>", "", svg(draw(*state).figure, "figure-2.3-")).replace('"', "'")
        assert drawn == re.sub(r" xmlns[^ ]*'", "", wanted)
        assert data["said"][i] == f"{state[1]}: {state[0]}"
    assert [(c["name"], c["start"], c["slider"]) for c in data["choices"]] == [("height", 1, False), ("kind", 1, False)]
    figures.show(diagram(0.5), **WORDS)
    assert still["image/png"] == outputs[2][0]["image/png"] and "image/svg+xml" not in still
    plt.close("all")


def test_explore_without_scripts_leaves_the_caption_alone(outputs):
    figures.explore(bars, {"height": [0.5, 1.0]}, **WORDS)
    html = re.sub(r"<script.*?</script>", "", outputs[1][0]["text/html"], flags=re.DOTALL)
    assert "<svg" not in html and "frames" not in html and "Warm &lt; hot" in html
    assert not plt.get_fignums()


def test_letters_are_stored_once_and_all_of_them(outputs):
    figures.explore(bars, {"height": [0.25, 0.5, 1.0]}, **WORDS)
    data = stored(outputs[1][0])
    ids = re.findall(r"id='([^']*)'", data["letters"])
    used = set(re.findall(r"(?:href='|url\()#([^')]*)", "".join(data["pieces"])))
    assert used <= set(ids) and len(ids) == len(set(ids))
    assert len(data["pieces"]) < sum(map(len, data["frames"]))


def test_two_live_figures_share_no_id(outputs):
    figures.explore(bars, {"height": [0.5, 1.0]}, **WORDS)
    figures.explore(bars, {"height": [0.5, 1.0]}, **WORDS | {"number": "2.4"})
    first, second = (set(re.findall(r"id='([^']*)'", stored(outputs[i][0])["letters"])) for i in (1, 3))
    assert first and not first & second


@pytest.mark.parametrize(
    "values, slider",
    [([1, 2, 3, 4, 5], False), (range(6), True), (list("abcdefgh"), False)],
    ids=["few", "many", "words"],
)
def test_many_numbers_become_a_slider(outputs, values, slider):
    figures.explore(lambda value: diagram(), {"value": values}, **WORDS)
    assert stored(outputs[1][0])["choices"][0]["slider"] is slider


def test_explore_names_a_start_that_is_no_value():
    with pytest.raises(ValueError, match="give one of the values"):
        figures.explore(bars, {"height": [0.5, 1.0]}, start=[0.7], **WORDS)


def test_a_spot_chooses_its_value():
    ax = figures.canvas(3, 2)
    figures.spot(ax, 1, 1, 0.5, 0.5, value=3, choice=1)
    assert 'data-pick="1:3"' in svg(ax.figure)


def test_nbval_compares_captions_and_no_pictures(outputs):
    """The sanitizer of tests/nbval_sanitize.cfg: a pixel or a coordinate may differ, a caption may not."""
    patterns = get_sanitize_patterns(SANITIZER.read_text())

    def compared(height, caption):
        figures.explore(bars, {"height": [height, 1.0]}, **WORDS | {"caption": caption})
        picture = f'<img src="data:image/png;base64,AAA{height}="> <svg width="9"><g>{height}</g></svg>'
        text = outputs[-1][0]["text/html"] + picture
        for regex, replace in patterns:
            text = re.sub(regex, replace, text)
        return text

    assert compared(2, "One.") == compared(3, "One.") != compared(2, "Two.")


# ---- the grammar -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["BLUE", "ORANGE", "GREEN", "PURPLE", "GRAY", "YELLOW", "SKY", "PALE"])
def test_words_in_every_color_can_be_read(name):
    color = getattr(style, name)
    assert style.contrast(style.WORDS.get(color, color), "white") >= 4.5


def test_contrast_is_wcags():
    assert style.contrast("black", "white") == pytest.approx(21)
    assert style.contrast("#767676", "white") == pytest.approx(4.54, abs=0.01)  # the lightest gray that passes
    assert min(style.contrast(style.ink([x] * 3), [x] * 3) for x in np.linspace(0, 1, 101)) >= 4.5


def test_looks_differ_in_more_than_color():
    assert (
        len({look["marker"] for look in figures.LOOKS}) == len({str(look["linestyle"]) for look in figures.LOOKS}) == 6
    )


def attention_figures():
    torch.manual_seed(0)
    a, q, k, v = (torch.randn(4, d) for d in (3, 2, 2, 2))
    scores = k @ q[0] / 2**0.5
    weights = torch.stack([scores.softmax(0)] * 4)
    yield figures.attention_diagram("cats drink warm milk".split(), a, q, k, v)
    yield figures.attention_diagram("cats drink warm milk".split(), a, q, k, v, scores, weights[0], weights[0] @ v)
    yield figures.attention_in_parallel("cats drink warm milk".split(), a, q, k, v, weights, weights, weights @ v)
    yield figures.one_score(k.T, q.T, "cats drink warm milk".split())
    yield figures.online_softmax(scores, v, "cats drink warm milk".split(), 3)
    yield figures.roofline({"loop": [(0.3, 2e7), (0.3, 1e7)], "matrices": [(8, 5e10)]}, {"here": (8e10, 1.6e10)})
    yield figures.heatmap(torch.rand(5, 5), range(5), range(5)).figure
    yield figures.heatmap(2 * torch.rand(5, 5) - 1, range(5), range(5), limits=(-1, 1)).figure
    yield figures.attention_of_one(torch.randn(5, 5).softmax(1), TOKENS)
    yield figures.query_in_the_plane(q[0], k, v, "cats drink warm milk".split())
    yield figures.you_are_here("06")
    yield figures.pre_and_post_norm(["norm"], {"norm": "§3"})
    yield figures.beam_tree([[(("a",), -0.7), (("the",), -0.9)], [(("a", "dog"), -1.0), (("a", "cat"), -1.4)]], str)


@pytest.mark.slow
def test_words_stand_out_from_what_is_behind_them():
    """Measured on pixels: no word below 4.5 : 1, on white, in boxes, on a heat map's cells."""
    faint = {
        words: round(ratio, 1) for fig in attention_figures() for words, ratio in contrasts(fig).items() if ratio < 4.5
    }
    assert not faint


def test_label_lines_names_each_line_at_its_end_and_apart():
    fig, ax = plt.subplots()
    for i in range(3):
        ax.plot([0, 1], [0, 1 + 0.01 * i], **figures.LOOKS[i], label=f"line {i}")
    figures.label_lines(ax)
    assert_words_stand_apart(fig)
    assert [t.get_color() for t in ax.texts] == [figures.LOOKS[i]["color"] for i in range(3)]


# ---- the map, and the figures to play with -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("lesson", model_map.LESSONS)
def test_the_map_stands_apart_and_lights_its_parts(lesson):
    fig = figures.you_are_here(lesson)
    assert_words_stand_apart(fig)
    lit = {t.get_text() for t in fig.axes[0].texts if t.get_text() and t.get_color() == "black"}
    names = {"norm": "add, norm", "positions": "+ positions"}
    subject, parts = model_map.LESSONS[lesson]
    assert lit == {names.get(part, part) for part in parts} | {lesson, subject}


def test_the_map_lists_the_lessons():
    assert list(model_map.LESSONS) == sorted(
        twin.name.partition("_")[0] for twin in (ROOT / "notebooks/text").glob("*.md")
    )


def test_pre_norm_and_post_norm_put_the_norm_where_they_say():
    """The decoder's column, upwards: a norm before each sublayer and one at the end, or one after each sum."""
    fig = figures.pre_and_post_norm(["norm"])
    assert_words_stand_apart(fig)
    placed = sorted((t.get_position()[::-1], t.get_text()) for t in fig.axes[0].texts if t.get_text())
    sublayers = "masked self-attention", "cross-attention", "feed-forward"
    orders = {"pre": ["norm", "", "+"], "post": ["", "+", "norm"]}
    for title, end in (("pre", ["norm"]), ("post", [])):
        (middle,) = {x for (_, x), name in placed if name == "cross-attention" and (x < 3.4) is (title == "pre")}
        column = [name for (_, x), name in placed if x == middle]
        inside = [name or sublayer for sublayer in sublayers for name in orders[title]]
        assert column == ["target words", "embedding", "+ positions", *inside, *end, "linear, softmax", "next word"]


def test_the_map_names_a_part_that_it_lacks():
    with pytest.raises(ValueError, match="no part"):
        figures.pre_and_post_norm(["nrom"])


def test_attention_of_one_draws_its_row():
    torch.manual_seed(0)
    weights = torch.randn(5, 5).softmax(1)
    weights[2] = torch.tensor([0.5, 0.3, 0.196, 0.004, 0.0])
    fig = figures.attention_of_one(weights, TOKENS, asking=2)
    assert [w for w in words_on(fig) if w.endswith("%")] == ["50%", "30%", "20%"]
    thick = widths(fig, figures.WEIGHT)
    assert len(thick) == 3 and thick == sorted(thick, reverse=True)
    assert {line._posA_posB[1] for line in lines_on(fig)} == {fig.axes[0].texts[5].get_position()[:1] + (2.03,)}


@pytest.mark.slow
def test_attention_explorer_has_a_state_for_each_layer_head_and_word(outputs):
    torch.manual_seed(0)
    weights = torch.randn(2, 3, 4, 5).softmax(-1)
    figures.attention_explorer(weights, TOKENS, ["▁it", "▁was", "▁it", "<eos>"], start=(2, 1, 3), **WORDS)
    data = stored(outputs[1][0])
    assert [choice["values"] for choice in data["choices"]] == [
        ["1", "2"],
        ["mean", "1", "2", "3"],
        ["it 1", "was", "it 3", "end"],
    ]
    assert [choice["start"] for choice in data["choices"]] == [1, 1, 2] and len(data["frames"]) == 2 * 4 * 4
    assert {pick for piece in data["pieces"] for pick in re.findall(r"data-pick='([^']*)'", piece)} == {
        f"2:{i}" for i in range(4)
    }


def test_query_in_the_plane_is_attention():
    torch.manual_seed(0)
    q, k, v = torch.randn(2), torch.randn(4, 2), torch.randn(4, 2)
    fig = figures.query_in_the_plane(q, k, v, "abcd")
    weights = (k @ q / 2**0.5).softmax(0)
    shares = [t.get_text().split("\n")[1] for t in fig.axes[1].texts if "%" in t.get_text()]
    assert shares == [f"{w:.0%}" for w in weights.tolist()]
    b = next(t for t in fig.axes[1].texts if t.get_text() == "b").xy
    np.testing.assert_allclose(b, (weights @ v).numpy(), rtol=1e-5)
    assert any(patch.contains_point(fig.axes[1].transData.transform(b)) for patch in fig.axes[1].patches)  # in the hull


@pytest.mark.parametrize("heard", [[True, False, True, True], [False] * 4])
def test_query_in_the_plane_hides_words(heard):
    torch.manual_seed(0)
    q, k, v = torch.randn(2), torch.randn(4, 2), torch.randn(4, 2)
    fig = figures.query_in_the_plane(q, k, v, "abcd", heard=heard)
    said = [t.get_text().split("\n")[1] for t in fig.axes[1].texts if "\n" in t.get_text()]
    may_attend = torch.tensor(heard)[None]
    (b,), (weights,) = attention(q[None], k, v, may_attend)
    assert said == [f"{w:.0%}" if may else "hidden" for w, may in zip(weights.tolist(), heard, strict=True)]
    np.testing.assert_allclose(next(t for t in fig.axes[1].texts if t.get_text() == "b").xy, b.numpy(), atol=1e-6)


def test_a_shorter_key_stays_visible_on_a_longer_one():
    fig = figures.query_in_the_plane([2.0, 1], [[0, 1], [0, 2], [0, 0]], [[1, 0], [0, 1], [2, 2]], "abc")
    tips = [arrow._posA_posB[1][1] for arrow in fig.axes[0].patches if arrow._posA_posB[1][0] == 0]
    assert tips == [2, 1], "the longest is drawn first"


def explored(draw, *args, **options) -> dict:
    """What a figure to play with has stored."""
    shown = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(page, "_display", lambda picture, caption, alt, drawing=None: shown.append(caption))
        draw(*args, **options, caption="A caption.", alt="What is seen.", number="2.1")
    return json.loads(re.search(r'class="frames">(.*?)</script>', shown[0], re.DOTALL)[1])


def test_turn_the_query_says_the_shares():
    keys = torch.tensor([[1.0, 0], [0, 1]])
    found = explored(figures.turn_the_query, keys, keys, "ab", degrees=[0, 45], lengths=[0, 2], start=[45, 2])
    share = torch.tensor([2 / 2**0.5, 0.0]).softmax(0)
    assert found["said"][0] == "Shares: a 50%, b 50%." == found["said"][3], "no length, or halfway between the keys"
    assert found["said"][1] == f"Shares: a {share[0]:.0%}, b {share[1]:.0%}."
    assert [choice["start"] for choice in found["choices"]] == [1, 1]


def test_hide_words_says_the_shares_of_those_who_are_heard():
    keys = torch.tensor([[1.0, 0], [1, 0]])
    found = explored(figures.hide_words, torch.ones(2), keys, keys, ["cats", "milk"], hidden=["milk"])
    assert found["said"][0] == "cats 50%, milk 50%." and found["said"][1] == "cats 100%."
    assert found["said"][3].startswith("Nobody is heard")
    assert [choice["start"] for choice in found["choices"]] == [0, 1], "milk is hidden at first"
