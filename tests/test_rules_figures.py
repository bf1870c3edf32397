"""Every lesson keeps the rules of tools/rules_figures.py, and every rule can fail."""

import base64
import functools
import io
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from tools import rules, rules_figures
from tools.rules_figures import NOW_YOU, PREDICT
from tools.run_lessons import NOTEBOOKS
from utils import figures


@pytest.mark.parametrize("rule", rules_figures.OF_A_LESSON, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_lesson(path: Path, rule: Callable):
    assert not rule(nbformat.read(path, as_version=4)), rule.__doc__


# ---- each rule can fail ------------------------------------------------------------------------------------

CAPTION = "The second bar is the taller one."
ALT = "Two bars, of which the second is twice as tall."


def call(function="show(bars()", number="2.1", caption=CAPTION, alt=ALT) -> str:
    """The source of a figure cell."""
    return f'figures.{function},\n    number="{number}",\n    caption="{caption}",\n    alt="{alt}",\n)'


@functools.cache
def outputs(live: bool = False) -> tuple:
    """What `figures.show` or `figures.explore` gives for two bars."""

    def bars(height=2):
        fig, ax = plt.subplots(figsize=(2, 1))
        ax.bar([1, 2], [1, height])
        return fig

    with mock.patch("IPython.display.display") as display:
        if live:
            figures.explore(bars, {"height": [1, 2]}, number="2.2", caption=CAPTION, alt=ALT)
        else:
            figures.show(bars(), number="2.1", caption=CAPTION, alt=ALT)
    (picture, about), (caption, _) = display.call_args_list
    return (
        new_output("display_data", data=picture[0], metadata=about["metadata"]),
        new_output("display_data", data={"text/html": caption[0].data}),
    )


def figure(text=None, shown=None):
    return new_code_cell(text or call(), outputs=list(outputs() if shown is None else shown))


def book(*cells):
    copies = [cell | {"id": f"cell-{i}"} for i, cell in enumerate(cells)]
    return nbformat.from_dict({"cells": copies, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


TITLE = new_markdown_cell("# 02 · A lesson\n\n**Time:** about 5 minutes, 20 for the exercises. **Lecture:** all.")
MAP = figure(call(number="", caption="You are here: self-attention.").replace('number="",\n', ""))
LIVE = figure(call("explore(bars,\n    {'height': [1, 2]}", number="2.2"), outputs(live=True))
PREDICTION = new_markdown_cell(
    f"{PREDICT}\n\n**Predict first.** Which?\n\n<details><summary>Answer</summary>\n\nThis.\n\n</details>\n</div>"
)
YOURS = new_markdown_cell(f"{NOW_YOU}\n\n**Now you.** Write it.\n\n</div>")
QUIZ = [new_markdown_cell("## Quiz\n\nChoose.")] + [
    new_markdown_cell(
        f"**{i}. Which?**\n\n<details><summary>this</summary>\n\n**✗ No.** Why.\n\n</details>\n"
        "<details><summary><i>that</i></summary>\n\n**✓ Right.** Why.\n\n</details>"
    )
    for i in (1, 2)
]
PROSE = new_markdown_cell("prose " * 20)
EXERCISES = [
    new_markdown_cell("## Exercises\n\n### Exercise 1: easy ★ (5 minutes)"),
    new_markdown_cell("### Exercise 2: less so ★★ (15 minutes)"),
    new_code_cell("def less_so(x):\n    ..."),
    new_markdown_cell("## Summary"),
]
GOOD = book(TITLE, MAP, PREDICTION, figure(), *[PROSE] * 15, LIVE, YOURS, *QUIZ, *EXERCISES, *[PROSE] * 20)
LONG = new_markdown_cell(" ".join(["word"] * 180 * 20))  # 20 minutes
DEEPER = new_markdown_cell("## A proof (deeper)\n\n### Step 1")


def image(width: int, height: int = 10, mode="P"):
    from PIL import Image

    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    data = {"image/png": base64.b64encode(file.getvalue()).decode()}
    return new_output("display_data", data=data, metadata={"image/png": {"width": 200, "alt": ALT}})


BAD = {
    "a picture without a caption": (rules_figures.shown_by_the_helper, book(figure("plot()"))),
    "the old way": (rules_figures.shown_by_the_helper, book(figure(call() + "\nplt.show()"))),
    "alt text in the metadata": (
        rules_figures.shown_by_the_helper,
        book(new_code_cell(call(), metadata={"mystnb": {"image": {"alt": ALT}}})),
    ),
    "a caption that is computed": (
        rules_figures.plain_captions,
        book(figure(call().replace('caption="', 'caption=f"'))),
    ),
    "a number that is computed": (rules_figures.plain_captions, book(figure(call().replace('"2.1"', "str(2.1)")))),
    "a formula in a caption": (
        rules_figures.plain_captions,
        book(figure(call(caption="The share $a$ is the larger."))),
    ),
    "code in an alt text": (rules_figures.plain_captions, book(figure(call(alt=ALT + " `x`")))),
    "a title for a caption": (rules_figures.plain_captions, book(figure(call(caption="Attention weights by head")))),
    "a caption as alt text": (rules_figures.plain_captions, book(figure(call(caption=ALT)))),
    "a number twice": (rules_figures.numbered_figures, book(TITLE, MAP, figure(), figure())),
    "another lesson's number": (rules_figures.numbered_figures, book(TITLE, MAP, figure(call(number="3.1")))),
    "no map": (rules_figures.numbered_figures, book(TITLE, figure())),
    "a map in the middle": (rules_figures.numbered_figures, book(TITLE, figure(), MAP)),
    "all the colors": (rules_figures.sharp_and_small, book(figure(shown=[image(400, mode="RGB")]))),
    "a blurred picture": (rules_figures.sharp_and_small, book(figure(shown=[image(200)]))),
    "nothing to play with": (rules_figures.live_figures, book(TITLE, MAP, figure())),
    "no still": (rules_figures.live_figures, book(figure(shown=outputs(live=True)[1:]))),
    "a script of its own": (
        rules_figures.live_figures,
        book(LIVE, figure(shown=[new_output("display_data", data={"text/html": "<script>play()</script>"})])),
    ),
    "a long stretch": (rules_figures.something_to_look_at, book(MAP, *[PROSE] * 16, figure())),
    "a bare prediction": (rules_figures.callouts, book(new_markdown_cell("**Predict first.** Which?"))),
    "an answer outside": (
        rules_figures.callouts,
        book(new_markdown_cell(f"{PREDICT}\n\n**Predict first.** Which?\n\n</div>\n\n<details>")),
    ),
    "a callout of the wrong kind": (
        rules_figures.callouts,
        book(new_markdown_cell(f"{PREDICT}\n\n**Now you.** Do.\n\n</div>")),
    ),
    "an unmarked verdict": (
        rules_figures.visible_verdicts,
        book(
            new_markdown_cell("## Quiz\n\n**1. Which?**\n\n<details><summary>x</summary>\n\nRight. Why.\n\n</details>")
        ),
    ),
    "questions glued together": (
        rules_figures.visible_verdicts,
        book(new_markdown_cell("**1. Which?**\n\n**2. Which?**")),
    ),
    "no minutes": (rules_figures.honest_minutes, book(new_markdown_cell("# 02 · A lesson"), *GOOD.cells[1:])),
    "minutes of a shorter lesson": (rules_figures.honest_minutes, book(*GOOD.cells, LONG)),
    "minutes without an exercise": (rules_figures.honest_minutes, book(*GOOD.cells, *EXERCISES[:2])),
    "a deeper part without its minutes": (rules_figures.honest_minutes, book(*GOOD.cells, DEEPER, LONG)),
    "a core of more than an hour": (rules_figures.one_sitting, book(*GOOD.cells, *[LONG] * 4)),
    "a formula in a heading": (rules_figures.plain_titles, book(new_markdown_cell("## Why $\\sqrt d$?"))),
    "code in a summary": (rules_figures.plain_titles, book(new_markdown_cell("<details><summary>`x`</summary>"))),
    "a tag in a summary": (rules_figures.plain_titles, book(new_markdown_cell("<details><summary>a <bos></summary>"))),
    "wide code": (rules_figures.narrow_code, book(new_code_cell("x" * 89))),
}


@pytest.mark.parametrize("what", BAD)
def test_a_rule_refuses(what: str):
    rule, notebook = BAD[what]
    assert rule(notebook)


def test_the_minutes_of_core_deeper_parts_and_exercises():
    code = new_code_cell("x = 1\n\n" * 15)  # 15 lines, 2 minutes
    back = new_markdown_cell("## Back on the short way")
    found = rules.minutes(book(TITLE, LONG, DEEPER, code, LONG, back, code, *EXERCISES, LONG))
    assert found["core"] == pytest.approx(42, abs=0.2) and found["deeper"] == pytest.approx(22, abs=0.1)
    assert found["exercises"] == 5 + 15, "told by their stars alone"


def test_captions_are_read_as_prose_and_alt_texts_are_not_read():
    lines = "\n".join(["x = 1"] * 13 + ["figures.show(", "    fig,"])  # 15 lines
    words = f'    number="2.1",\n    caption="{"word " * 180}",\n    alt="{"what " * 90}"\n    "{"is seen " * 90}",\n'
    found = rules.minutes(book(TITLE, new_code_cell(f"{lines}\n{words})")))
    bare = rules.minutes(book(TITLE, new_code_cell(f"{lines}\n)")))
    assert found["core"] - bare["core"] == pytest.approx(1), "180 words, a minute; and no line of code more"


@pytest.mark.parametrize(("said", "right"), [(18, True), (20, True), (23, True), (16, False), (24, False)])
def test_minutes_may_differ_from_the_formula_by_15_percent(said: int, right: bool):
    head = new_markdown_cell(f"# 02\n\n**Time:** about {said} minutes, 20 for the exercises.")
    assert rules_figures.honest_minutes(book(head, LONG, *EXERCISES)) == (
        [] if right else ["the head should say: **Time:** about 20 minutes, 20 for the exercises."]
    )


@pytest.mark.parametrize("what", ["frames", "bytes"])
def test_live_figures_stay_small(what: str, monkeypatch):
    assert not rules_figures.live_figures(book(LIVE))
    monkeypatch.setattr(rules_figures, {"frames": "MAX_FRAMES", "bytes": "MAX_FRAME_BYTES"}[what], 1)
    assert rules_figures.live_figures(book(LIVE))


@pytest.mark.parametrize("rule", rules_figures.OF_A_LESSON, ids=lambda rule: rule.__name__)
def test_each_rule_accepts_a_good_notebook_and_refuses_a_bad_one(rule: Callable):
    assert not rule(GOOD)
    assert any(bad_rule is rule for bad_rule, _ in BAD.values()), "no bad notebook shows that this rule can fail"


@pytest.mark.parametrize(
    "rule", [rules.described_pictures, rules.stays_offline, rules.clean_outputs], ids=lambda r: r.__name__
)
def test_the_other_rules_accept_the_new_figures(rule: Callable):
    assert not rule(GOOD)


def test_a_caption_alone_compares_nothing():
    """nbval compares it, but it only repeats what stands in the cell."""
    assert not rules.compares_text(figure()) and not rules.compares_text(LIVE)
    assert not rules.is_interactive(figure()) and not rules.is_interactive(LIVE)
