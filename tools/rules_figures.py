"""What a lesson's figures and callouts must keep to: rules as in tools/rules.py.

`tests/test_rules_figures.py` applies them to every lesson, and to bad notebooks to refuse.
"""

import ast
import base64
import json
import re
import struct
from collections.abc import Iterator

from nbformat import NotebookNode

from tools.rules import CAPTION, code_cells, has_picture, markdown, minutes

MAX_COLUMNS = 88  # of code: more is cut off in a window of 800 pixels
MAX_STRETCH = 15  # cells without anything to look at
MAX_CORE = 66  # minutes of a lesson's core: one sitting of an hour, and a tenth for the formula's error
MAX_FRAMES, MAX_FRAME_BYTES = 100, 400_000  # of one figure to play with
PREDICT = '<div class="predict" style="border-left: 4px solid #0072b2; padding-left: 14px">'
NOW_YOU = '<div class="now-you" style="border-left: 4px solid #007a59; padding-left: 14px">'


def captions(notebook: NotebookNode) -> Iterator[tuple[int, dict[str, ast.expr]]]:
    """Every call that gives a figure its caption: the cell, and the call's keyword arguments."""
    for index, cell in code_cells(notebook):
        for call in ast.walk(ast.parse(re.sub(r"^[%!].*$", "", cell.source, flags=re.MULTILINE))):
            if isinstance(call, ast.Call):
                words = {keyword.arg: keyword.value for keyword in call.keywords}
                if {"caption", "alt"} <= set(words):
                    yield index, words


def text_of(value: ast.expr | None) -> str | None:
    """A plain string of the source, or None."""
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def frames(output: NotebookNode) -> dict | None:
    """What a figure to play with has stored in its second output, or None."""
    found = re.search(r'class="frames">(.*?)</script>', output.get("data", {}).get("text/html", ""), re.DOTALL)
    return json.loads(found[1]) if found else None


# ---- figures -----------------------------------------------------------------------------------------------


def shown_by_the_helper(notebook: NotebookNode) -> list[str]:
    """Every picture goes through `figures.show`, `explore` or a function that ends in one of them."""
    helped = {index for index, _ in captions(notebook)}
    found = []
    for index, cell in code_cells(notebook):
        if has_picture(cell) and index not in helped:
            found.append(f"cell {index} shows a picture without a caption: hand it to figures.show")
        if re.search(r"\bplt\.show\(", cell.source) or "mystnb" in cell.metadata:
            found.append(f"cell {index} shows a figure in the old way: figures.show takes the figure and its alt text")
    return found


def plain_captions(notebook: NotebookNode) -> list[str]:
    """Number, caption and alt text are plain strings of the cell, the caption one or two sentences."""
    found = []
    for index, words in captions(notebook):
        caption, alt = text_of(words["caption"]), text_of(words["alt"])
        if caption is None or alt is None or ("number" in words and text_of(words["number"]) is None):
            found.append(
                f"cell {index}: write number, caption and alt as plain strings, so that they can be translated"
            )
            continue
        for name, text in (("caption", caption), ("alt", alt)):
            if re.search(r"[$`*\\]|<\w", text):
                found.append(
                    f"cell {index}: the {name} is shown as it stands, without formulas or markup: {text[:40]!r}"
                )
        if not 20 <= len(caption) <= 240 or caption[-1] not in ".?!":
            found.append(f"cell {index}: the caption is a sentence or two that say what the figure finds")
        if len(alt) < 40 or alt == caption:
            found.append(f"cell {index}: the alt text says what is seen on the picture")
    return found


def numbered_figures(notebook: NotebookNode) -> list[str]:
    """Figures are numbered 2.1, 2.2 ... in lesson 02; only the map at its head has no number."""
    title = re.match(r"# 0?(\w+)", notebook.cells[0].source if notebook.cells else "")
    numbers = [text_of(words.get("number")) or "" for _, words in captions(notebook)]
    maps = [
        i
        for i, (_, words) in enumerate(captions(notebook))
        if (text_of(words["caption"]) or "").startswith("You are here")
    ]
    numbers = [number for i, number in enumerate(numbers) if i not in maps]
    wanted = [f"{title[1] if title else '?'}.{i + 1}" for i in range(len(numbers))]
    found = [f"the figures are numbered {numbers}, not {wanted}"] if numbers != wanted else []
    if len(maps) != 1 or maps[0] != 0:
        found.append("the first figure of a lesson, and no other, is its map: a caption that begins 'You are here'")
    return found


def sharp_and_small(notebook: NotebookNode) -> list[str]:
    """A stored picture has a palette, and two pixels for each of the page's."""
    found = []
    for index, cell in code_cells(notebook):
        for output in cell.outputs:
            data = output.get("data", {}).get("image/png")
            if not data:
                continue
            header = base64.b64decode(data[:80])
            width, kind = struct.unpack(">I", header[16:20])[0], header[25]  # the IHDR chunk
            if kind != 3 or width // 2 != output.metadata.get("image/png", {}).get("width"):
                found.append(
                    f"cell {index} has a picture that figures.show did not make: no palette, or not twice as sharp"
                )
    return found


def live_figures(notebook: NotebookNode) -> list[str]:
    """A lesson has a figure to play with; each is of reasonable size, and a still of it stands above its caption."""
    found, some = [], False
    for index, cell in code_cells(notebook):
        for above, output in zip([None, *cell.outputs], cell.outputs, strict=False):
            html, live = output.get("data", {}).get("text/html", ""), frames(output)
            if "<script" in html and CAPTION not in html:
                found.append(f"cell {index} brings a script of its own: figures.explore serves all")
            if live is None:
                continue
            some = True
            if len(live["frames"]) > MAX_FRAMES or len(html.encode()) > MAX_FRAME_BYTES:
                found.append(
                    f"cell {index} stores {len(live['frames'])} frames, {len(html) / 1e3:.0f} kB: fewer will do"
                )
            if above is None or "image/png" not in above.get("data", {}):
                found.append(f"cell {index} has no still above the figure to play with")
    return found if some else [*found, "the lesson has no figure to play with (figures.explore)"]


def something_to_look_at(notebook: NotebookNode) -> list[str]:
    """No more than 15 cells in a row without a picture, from the head to the quiz."""
    stretch, found = 0, []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and re.search(r"^## Quiz", cell.source, re.MULTILINE):
            break
        picture = has_picture(cell) if cell.cell_type == "code" else "![" in cell.source
        stretch = 0 if picture else stretch + 1
        if stretch == MAX_STRETCH + 1:
            found.append(f"up to cell {index} there are {stretch} cells with nothing to look at")
    return found


# ---- the page ----------------------------------------------------------------------------------------------


def callouts(notebook: NotebookNode) -> list[str]:
    """A prediction, with its folded answer, and "Now you" stand in the callout of their kind."""
    found = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "markdown":
            continue
        for words, start in (("Predict first", PREDICT), ("Now you", NOW_YOU)):
            inside = re.findall(
                rf"^{re.escape(start)}\n\n(\*\*{words}.*?)\n</div>$", cell.source, re.DOTALL | re.MULTILINE
            )
            if len(inside) != len(re.findall(rf"\*\*{words}", cell.source)):
                found.append(f"cell {index}: '{words}' begins after {start} and an empty line, and ends with </div>")
            if words == "Predict first" and any("<details>" not in text for text in inside):
                found.append(f"cell {index}: the answer to a prediction is folded inside its callout")
    return found


def visible_verdicts(notebook: NotebookNode) -> list[str]:
    """An answer in the quiz begins "**✓ Right.**" or "**✗ No.**", and each question has a cell of its own."""
    section = re.search(r"^## Quiz\n(.*?)(?=^## |\Z)", markdown(notebook), re.DOTALL | re.MULTILINE)
    found = []
    for answer in re.findall(r"</summary>\s*([^\n]*)", section[1] if section else ""):
        if not re.match(r"\*\*(✓ Right|✗ No)\.\*\* ", answer):
            found.append(f"a quiz answer without a verdict to see, **✓ Right.** or **✗ No.**: {answer[:40]!r}")
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and len(re.findall(r"^\*\*\d+\. ", cell.source, re.MULTILINE)) > 1:
            found.append(f"cell {index} has two questions, glued to each other: a cell for each (+++ in the twin)")
    return found


def honest_minutes(notebook: NotebookNode) -> list[str]:
    """The minutes at the head are those of the formula in tools/rules.py, within 15 % (or rounded to five)."""
    wanted = minutes(notebook)
    rounded = {part: 5 * round(found / 5) for part, found in wanted.items()}
    deeper = f"{rounded['deeper']} more for what is marked (deeper), " if rounded["deeper"] else ""
    line = f"**Time:** about {rounded['core']} minutes, {deeper}{rounded['exercises']} for the exercises."
    head = notebook.cells[0].source if notebook.cells else ""
    said = re.search(re.sub(r"\d+", r"(\\d+)", re.escape(line)), head)
    parts = [part for part in wanted if part != "deeper" or deeper]
    if not said or any(
        abs(int(found) - wanted[part]) > max(0.15 * wanted[part], 2.5)
        for part, found in zip(parts, said.groups(), strict=True)
    ):
        return [f"the head should say: {line}"]
    return []


def one_sitting(notebook: NotebookNode) -> list[str]:
    """The core of a lesson, all but what is marked (deeper) and the exercises, takes no more than one sitting."""
    core = minutes(notebook)["core"]
    if core > MAX_CORE:
        return [f"the core takes {core:.0f} minutes: at most {MAX_CORE}; mark as (deeper) what nothing later needs"]
    return []


def plain_titles(notebook: NotebookNode) -> list[str]:
    """Headings hold no formula (the contents show it raw), <summary> no formula and no markup (it stays raw)."""
    found = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            prose = re.sub(r"^```.*?^```", "", cell.source, flags=re.DOTALL | re.MULTILINE)
            found += [
                f"cell {index}: a formula in a heading: {line}"
                for line in re.findall(r"^#+ .*\$.*$", prose, re.MULTILINE)
            ]
            for summary in re.findall(r"<summary>(.*?)</summary>", prose, re.DOTALL):
                if re.search(r"[$`]|\*\w|<(?!/?(?:i|b|sub|sup|code)>)", summary):
                    found.append(f"cell {index}: raw in <summary>: {summary} (<i>, <sub> and <code> work there)")
    return found


def narrow_code(notebook: NotebookNode) -> list[str]:
    """No line of code has more than 88 columns."""
    lines = [(index, line) for index, cell in code_cells(notebook) for line in cell.source.splitlines()]
    return [f"cell {index}: {len(line)} columns: {line[:40]} ..." for index, line in lines if len(line) > MAX_COLUMNS]


OF_A_LESSON = (
    shown_by_the_helper,
    plain_captions,
    numbered_figures,
    sharp_and_small,
    live_figures,
    something_to_look_at,
    callouts,
    visible_verdicts,
    honest_minutes,
    one_sitting,
    plain_titles,
    narrow_code,
)
