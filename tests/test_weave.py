"""The course in another language: woven from the English notebooks, complete, up to date, and like its English."""

import json
import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import lab, weave
from tools.run_lessons import NOTEBOOKS, PLAY
from utils import checks, language
from utils.figures.page import caption_html

CODE = 'figures.show(fig, number="2.1", caption="The key < the query.", alt="Two arrows, one blue and one orange.")'
CAPTION, ALT = "The key < the query.", "Two arrows, one blue and one orange."
PROSE = "## Why?\n\nA score $a_1$ of `q`: see [lesson 03](03_matrix_parallelization.ipynb)."
CHINESE = "## 为什么？\n\n`q` 的分数 $a_1$：见[第 03 课](03_matrix_parallelization.ipynb)。"
PATH = NOTEBOOKS / "02_self_attention.ipynb"


def key(kind: str, text: str) -> tuple[str, str]:
    return kind, language.digest(text)


@pytest.fixture
def english():
    page = caption_html("2.1", CAPTION, ALT, f"<script>{json.dumps({'alt': ALT})}</script>")
    drawing = {"image/png": "AAAA", "text/plain": f"<Figure: {ALT}>"}
    picture = new_output("display_data", drawing, metadata={"image/png": {"alt": ALT, "width": 9}})
    outputs = [picture, new_output("display_data", {"text/html": page})]
    result = new_output("execute_result", {"text/plain": "○ scores: not attempted yet. Fill it in & run <it>."})
    cells = [new_markdown_cell(PROSE), new_code_cell(CODE, outputs=outputs), new_code_cell("check", outputs=[result])]
    return new_notebook(cells=cells)


@pytest.fixture
def words():
    return {key("en", PROSE): CHINESE, key("caption", CAPTION): "键 < 查询。", key("alt", ALT): "两支箭，一蓝一橙。"}


def test_words_are_replaced_and_code_and_other_outputs_are_not(english, words, monkeypatch):
    monkeypatch.setattr(weave, "catalogues", lambda tongue: {})
    made = weave.weave(english, words, PATH)
    assert [cell.source for cell in made.cells[1:]] == [cell.source for cell in english.cells[1:]]
    assert made.cells[0].source == CHINESE.replace("(03", "(../03")
    picture, page = made.cells[1].outputs
    assert picture.metadata["image/png"] == {"alt": "两支箭，一蓝一橙。", "width": 9}
    assert picture.data == {"image/png": "AAAA", "text/plain": "<Figure: 两支箭，一蓝一橙。>"}
    said = page.data["text/html"]
    assert "<b>图 2.1.</b> 键 &lt; 查询。" in said and '"alt": "两支箭，一蓝一橙。"' in said
    assert not re.search("Two arrows|The key|The picture", said)
    assert english.cells[0].source == PROSE, "the English notebook stays as it is"


def said_in(result, tongue: str) -> dict:
    """What weaving makes of a result that is stored."""
    data = {"text/plain": str(result), "text/html": result._repr_html_()}
    output = new_output("execute_result", data)
    weave.result_in(output, tongue)
    return output.data


def test_what_stands_for_a_widget_is_said_in_the_language():
    output = new_output("display_data", {"text/plain": PLAY})
    weave.result_in(output, "zh")
    assert output.data == {"text/plain": language.WORDS["zh"][PLAY]}


def test_a_check_speaks_the_language_in_stored_outputs(english, words, monkeypatch):
    said = {"not attempted yet. Fill it in & run <it>.": "还没有做。请填写后运行。"}
    monkeypatch.setattr(weave, "translations", lambda tongue: said)
    weave.templates.cache_clear()
    weave.retold.cache_clear()
    try:
        made = weave.weave(english, words, PATH)
        assert made.cells[2].outputs[0].data["text/plain"] == "○ scores: 还没有做。请填写后运行。"
    finally:
        weave.templates.cache_clear()
        weave.retold.cache_clear()


@pytest.mark.parametrize("answer", [checks.lesson02.scores.answers[0].function, lambda q, K: K @ q, lambda q, K: ...])
def test_what_is_woven_is_what_the_check_would_say(answer, monkeypatch, tmp_path):
    monkeypatch.setenv("TRANSFORMER_COURSE_PROGRESS", str(tmp_path / "progress.json"))
    english = checks.lesson02.scores(answer, seed=0)
    monkeypatch.setenv("TRANSFORMER_COURSE_LANGUAGE", "zh")
    chinese = checks.lesson02.scores(answer, seed=0)
    assert str(english) != str(chinese)
    assert said_in(english, "zh") == {"text/plain": str(chinese), "text/html": chinese._repr_html_()}


def test_links_stay_in_the_language_where_it_has_the_page(monkeypatch):
    other = NOTEBOOKS / "03_matrix_parallelization.ipynb"
    monkeypatch.setattr(weave, "catalogues", lambda tongue: {other: None})
    text = "[a](03_matrix_parallelization.ipynb#x) [b](../data/README.md) [c](solutions/02.ipynb) "
    text += "[d](https://e.org) [e](#f)"
    assert weave.linked(text, PATH, "zh") == (
        "[a](03_matrix_parallelization.ipynb#x) [b](../../data/README.md) [c](../solutions/02.ipynb) "
        "[d](https://e.org) [e](#f)"
    )


def test_what_is_complete_has_no_problem(english, words):
    assert list(weave.problems(english, words)) == []


@pytest.mark.parametrize(
    "kind, text, other, said",
    [
        ("en", PROSE, None, "lacks its en"),
        ("alt", ALT, None, "lacks its alt"),
        ("en", PROSE, CHINESE.replace("$a_1$", "$a_2$"), "formulas differ"),
        ("en", PROSE, CHINESE.replace("## ", ""), "headings differ"),
        ("en", PROSE, CHINESE.replace("(03", "(04"), "links differ"),
        ("en", PROSE, CHINESE.replace("`q`", "q"), "code differ"),
        ("en", PROSE, PROSE, "no Chinese"),
        ("en", PROSE, CHINESE + "**注意：**它", "stay stars"),
        ("caption", "an older caption", "旧的", "outdated"),
    ],
)
def test_each_problem_is_named(english, words, kind, text, other, said):
    words[key(kind, text)] = other
    if other is None:
        del words[key(kind, text)]
    assert [said in line for line in weave.problems(english, words)] == [True]


def test_the_chinese_summary_of_an_english_lesson_is_not_translated(english, words):
    text = "## Summary\n\n1. $a_1$.\n\n### 小结\n\n1. $a_1$，$a_2$。\n2. $a_3$。\n\n| $a_4$ | 0 |"
    english.cells[0].source = text
    words[key("en", text)] = "## 小结\n\n1. 公式 $a_1$。\n\n### 公式一览\n\n| $a_4$ | 0 |"
    del words[key("en", PROSE)]
    assert list(weave.problems(english, words)) == []


def test_a_changed_english_cell_says_where(english, words):
    english.cells[0].source += " More."
    lacking, outdated = weave.problems(english, words)
    assert lacking.startswith("cell 0 lacks its en") and outdated.startswith("outdated")


def test_a_scaffold_has_every_text_once_and_is_no_translation(english, words, tmp_path):
    path = tmp_path / "02.md"
    assert weave.scaffold(path, english) == 3 and weave.scaffold(path, english) == 3
    path.unlink()
    weave.scaffold(path, english)
    assert language.read_catalogue(path) == {}
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^% .*", text, re.MULTILINE)[0] == "% ## Why?"
    path.write_text(text.replace("% ## Why?", "% ## Why?\n## 为什么？"), encoding="utf-8")
    assert language.read_catalogue(path) == {key("en", PROSE): "## 为什么？"}


@pytest.mark.parametrize(
    "text", ['没有\n+++ {"en": "1"}\n', '+++ {"fr": "1"}\na\n', '+++ {"en": "1"}\na\n\n+++ {"en": "1"}\nb\n']
)
def test_a_broken_catalogue_is_refused(tmp_path, text):
    (tmp_path / "02.md").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="02.md"):
        language.read_catalogue(tmp_path / "02.md")


def test_figures_speak_the_language_when_a_cell_is_run(monkeypatch):
    found = {key("caption", CAPTION): "键 < 查询。"}
    monkeypatch.setattr(language, "captions", lambda tongue: found)
    assert language.caption(CAPTION) == CAPTION
    monkeypatch.setenv("TRANSFORMER_COURSE_LANGUAGE", "zh")
    assert language.caption(CAPTION) == "键 < 查询。" and language.caption(ALT, "alt") == ALT


# ---- pages ----

RESULTS = """# A page

[中文](zh/page.md)

See [the card](card.md), 3 times.

```
make run     # a

make lab     # b
```

<!-- results: begin, written by a tool -->
| **model** | 70 | 29.4 | 22 of 40 |

It becomes *machine study*.
<!-- results: end -->

The **end**.
"""


@pytest.fixture
def a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(weave, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(weave, "catalogues", lambda tongue: {})
    path = tmp_path / "page.md"
    path.write_text(RESULTS, encoding="utf-8")
    return path


def test_a_page_is_its_paragraphs_and_code_and_comments_stay(a_page):
    cells = weave.read(a_page).cells
    assert weave.page(weave.read(a_page)) == RESULTS
    assert [cell.source for cell in cells if cell.cell_type == "markdown"] == [
        *("# A page", "See [the card](card.md), 3 times."),
        *("| **model** | {0} | {1} | {2} of {3} |", "It becomes {0}.", "The **end**."),
    ]


def test_new_numbers_of_a_tool_come_over_by_themselves_and_others_are_outdated(a_page):
    texts = ["# 一页", "见[说明](card.md)，3 次。", "| **模型** | {0} | {1} | {2}/{3} |", "译成 {0}。", "**完**。"]
    words = {
        key("en", text): other for (_, _, text), other in zip(weave.pieces(weave.read(a_page)), texts, strict=True)
    }
    for old, new in (("29.4", "31.25"), ("22 of 40", "1,000 of 40"), ("*machine study*", "*machine learning*")):
        a_page.write_text(a_page.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    english = weave.read(a_page)
    assert list(weave.problems(english, words)) == []
    made = weave.stored(english, words, a_page)
    assert "| **模型** | 70 | 31.25 | 1,000/40 |\n\n译成 *machine learning*。\n<!-- results: end -->" in made
    assert "# 一页\n\n[English](../page.md)\n\n见[说明](../card.md)，3 次。\n\n```\nmake run" in made
    a_page.write_text(RESULTS.replace("3 times", "4 times"), encoding="utf-8")
    assert ["lacks" in line for line in weave.problems(weave.read(a_page), words)] == [True, False]


# ---- the edition that is stored ----


@pytest.mark.parametrize("notebook", weave.catalogues(), ids=lambda path: path.stem)
def test_the_stored_lesson_is_the_woven_one_and_lacks_nothing(notebook):
    english, words = weave.read(notebook), language.read_catalogue(weave.catalogues()[notebook])
    assert list(weave.problems(english, words)) == [], "see python -m tools.weave --status"
    assert weave.woven(notebook).read_text(encoding="utf-8") == weave.stored(english, words, notebook)


def test_no_lesson_stands_there_without_a_catalogue():
    stored = {*(NOTEBOOKS / "zh").rglob("*.*"), *NOTEBOOKS.parent.glob("*.zh.md")}
    assert stored == {weave.woven(notebook) for notebook in weave.catalogues()}


def test_the_lab_copies_the_edition_that_was_asked_for(tmp_path, monkeypatch):
    for name in ("notebooks/01_a.ipynb", "notebooks/zh/01_a.ipynb", "notebooks/solutions/01_a.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("[x](../data/README.md)")
    assert set(lab.course_files(tmp_path)) == {"01_a.ipynb", "solutions/01_a.ipynb"}
    monkeypatch.setenv("TRANSFORMER_COURSE_LANGUAGE", "zh")
    found = lab.course_files(tmp_path)
    assert set(found) == {"zh/01_a.ipynb", "01_a.ipynb", "solutions/01_a.ipynb"}
    assert lab.first_lesson(found) == "zh/01_a.ipynb"
    monkeypatch.setenv("TRANSFORMER_COURSE_LANGUAGE", "xx")
    assert lab.first_lesson(lab.course_files(tmp_path)) == "01_a.ipynb", "no such edition: the English one"
