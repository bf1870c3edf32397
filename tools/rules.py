"""What a lesson's notebook must keep to: functions that take a notebook and return the breaches they find.

`tests/test_notebooks.py` applies them to every lesson and solution, and to bad notebooks to refuse.
Cells are named by their position among all cells, from 0, as `make run` names them.
"""

import ast
import re

from nbformat import NotebookNode

from tools.run_lessons import METADATA, PICTURES, PLAY, WIDGET, alt_text

IGNORED = "nbval-ignore-output"
CAPTION = 'class="figure-caption"'  # in the second output of `figures.show`: what it says stands in the cell, too

MAX_LINES = 30  # of a code cell
MAX_WORDS = 150  # of a passage of prose: one idea, about 120 words
MAX_BYTES, MAX_BYTES_TOGETHER = 3_000_000, 16_000_000

# What a lesson takes: so many words of prose a minute, so many seconds for a line of code, and for each exercise by its
# stars. Newcomers who did every exercise of the eight lessons needed 95 to 240 minutes; this gives each within 14 %.
WORDS_A_MINUTE, SECONDS_A_LINE = 180, 8
STARS = {"★": 5, "★★": 15, "★★★": 30}

# What must never stand in a stored output, and why.
FORBIDDEN = {
    r"(?<![\w.:/])/(?:root|home|Users|tmp|work|usr|opt|var|mnt|private)/": "an absolute path",
    r"\b[A-Z]:\\": "an absolute path",
    r"\bat 0x[0-9a-f]{6,}": "an address in memory",
    r"grad_fn|requires_grad": "a tensor's gradient record: print .item() or detach it",
    r"Traceback": "an error",
    r"\bGlyph \d+": "a character that the font lacks",
    r"Warning\b": "a warning: mend its cause",
    r"\d\.\d+\+(?:cpu|cu\d+)": "a version that differs between machines",
}
# Namespaces, which every SVG carries, are names and not requests.
NAMESPACE = re.compile(r"xmlns(?::\w+)?=\"[^\"]*\"|<!DOCTYPE[^>]*>|<metadata>.*?</metadata>", re.DOTALL)
OUTSIDE = re.compile(r"(?:https?:)?//[\w-]+(?:\.[\w-]+)+|@import|\bfetch\(|XMLHttpRequest|WebSocket\(")


# ---- looking at cells --------------------------------------------------------------------------------------


def code_cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """The code cells, each with its position in the notebook."""
    return [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]


def markdown(notebook: NotebookNode) -> str:
    """All prose of the notebook."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def shown(cell: NotebookNode) -> list[NotebookNode]:
    """The outputs that a reader sees: all but stderr."""
    return [out for out in cell.outputs if out.get("name") != "stderr"]


def texts(output: NotebookNode) -> dict[str, str]:
    """What nbval compares of an output, by kind: streams, and every representation that is no picture."""
    if output.output_type == "stream":
        return {output.name: output.text}
    data = output.get("data", {})
    return {kind: str(value) for kind, value in data.items() if kind not in PICTURES}


def compares_text(cell: NotebookNode) -> bool:
    """Whether nbval compares something of this cell that says more than `<Figure size 640x480 ...>`."""
    found = [text.strip() for output in shown(cell) for text in texts(output).values() if CAPTION not in text]
    return IGNORED not in tags(cell) and any(text and not text.startswith("<Figure") for text in found)


def has_picture(cell: NotebookNode) -> bool:
    """Whether the cell shows a picture, in its own right or inside HTML."""
    for output in shown(cell):
        html = output.get("data", {}).get("text/html", "")
        if any(kind in output.get("data", {}) for kind in PICTURES) or re.search(r"<(img|svg|video|canvas)\b", html):
            return True
    return False


def is_interactive(cell: NotebookNode) -> bool:
    """Whether the cell shows a widget or an animation, whose HTML carries random ids."""
    for output in shown(cell):
        html = output.get("data", {}).get("text/html", "")
        widget = output.get("data", {}).get("text/plain") == PLAY
        animation = "image/gif" in output.get("data", {}) or "data:image/gif;" in html
        animation = animation or ("<script" in html and CAPTION not in html)
        if widget or animation:
            return True
    return False


def minutes(notebook: NotebookNode) -> dict[str, float]:
    """What a lesson takes, by the formula above: its core, what is marked (deeper), and the exercises.

    A heading with "(deeper)" covers all up to the next heading of its level. The section "Exercises" counts by its
    stars alone, which hold its reading, too. The words of a figure are no code: its caption is read as prose, its alt
    text stands for the picture and is not read.
    """
    found = {"core": 0.0, "deeper": 0.0, "exercises": 0.0}
    part, depth = "core", 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if part != "exercises":
                lines, caption = lines_and_captions(cell.source)
                found[part] += lines * SECONDS_A_LINE / 60 + words_of(caption) / WORDS_A_MINUTE
            continue
        for line in re.sub(r"^```.*?^```", "", cell.source, flags=re.DOTALL | re.MULTILINE).splitlines():
            if heading := re.match(r"(#+) (.*)", line):
                if len(heading[1]) <= depth or part == "core":
                    deeper = "deeper" if "(deeper)" in heading[2] else "core"
                    part, depth = "exercises" if heading[2] == "Exercises" else deeper, len(heading[1])
                if exercise := re.match(r"Exercise \d.*?(★+)", heading[2]):
                    found["exercises"] += STARS[exercise[1]]
            if part != "exercises":
                found[part] += words_of(line) / WORDS_A_MINUTE
    return found


def words_of(text: str) -> int:
    return len(re.findall(r"[A-Za-z0-9$]\S*", text))


def lines_and_captions(source: str) -> tuple[int, str]:
    """The lines of code of a cell, without those of a figure's number, caption and alt text; and its captions."""
    words, captions = set(), []
    for call in ast.walk(ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE))):
        given = {keyword.arg: keyword.value for keyword in call.keywords} if isinstance(call, ast.Call) else {}
        if {"caption", "alt"} <= set(given):
            for name in ("number", "caption", "alt"):
                if name in given:
                    words |= set(range(given[name].lineno, given[name].end_lineno + 1))
            captions.append(str(getattr(given["caption"], "value", "")))
    lines = [line for number, line in enumerate(source.splitlines(), 1) if line.strip() and number not in words]
    return len(lines), " ".join(captions)


# ---- rules about what is stored ----------------------------------------------------------------------------


def executed_in_order(notebook: NotebookNode) -> list[str]:
    """Every code cell was run, in order, from 1, and none raised an error."""
    found = []
    for number, (index, cell) in enumerate(code_cells(notebook), start=1):
        if cell.execution_count != number:
            found.append(f"cell {index} has count {cell.execution_count}, not {number}: run the lesson from the top")
        if any(output.output_type == "error" for output in cell.outputs):
            found.append(f"cell {index} holds an error")
    return found


def no_escape_from_nbval(notebook: NotebookNode) -> list[str]:
    """No cell is skipped or allowed to fail, and what nbval is told stands in tags, where it is counted."""
    found = []
    for index, cell in code_cells(notebook):
        banned = {"nbval-skip", "raises-exception", "nbval-raises-exception"} & set(tags(cell))
        found += [f"cell {index} has the tag {tag}" for tag in sorted(banned)]
        if re.search(r"^\s*#\s*(NBVAL_|PYTEST_VALIDATE)\w+\s*$", cell.source, flags=re.MULTILINE):
            found.append(f"cell {index} steers nbval by a comment: use a tag")
    return found


def ignores_little(notebook: NotebookNode) -> list[str]:
    """At most one output cell in ten is ignored; an interactive one needs a compared still beside it."""
    cells = [(index, cell) for index, cell in code_cells(notebook) if shown(cell)]
    ignored = [index for index, cell in cells if IGNORED in tags(cell) and not is_interactive(cell)]
    found = []
    if 10 * len(ignored) > len(cells):
        found.append(f"{len(ignored)} of {len(cells)} output cells are ignored (cells {ignored}): at most one in ten")
    for position, (index, cell) in enumerate(cells):
        beside = [other for _, other in cells[max(0, position - 1) : position + 2] if other is not cell]
        if IGNORED in tags(cell) and is_interactive(cell):
            if not any(has_picture(other) and IGNORED not in tags(other) for other in beside):
                found.append(f"cell {index} is interactive and ignored, with no compared still in the output beside it")
    return found


def compares_enough(notebook: NotebookNode, at_least: int = 5) -> list[str]:
    """At least half of the output cells compare text, and at least `at_least` cells do."""
    outputs = [cell for _, cell in code_cells(notebook) if shown(cell)]
    compared = sum(compares_text(cell) for cell in outputs)
    found = []
    if compared < at_least:
        found.append(f"nbval compares the text of {compared} cells, at least {at_least} are asked for")
    if 2 * compared < len(outputs):
        found.append(f"nbval compares the text of {compared} of {len(outputs)} output cells, less than half")
    return found


def clean_outputs(notebook: NotebookNode) -> list[str]:
    """No stored output shows a path, an address, a warning, or anything else that belongs to one machine."""
    found = []
    for index, cell in code_cells(notebook):
        if any(output.get("name") == "stderr" for output in cell.outputs):
            found.append(f"cell {index} stores something on stderr")
        everything = "\n".join(text for output in cell.outputs for text in texts(output).values())
        found += [f"cell {index} shows {why}" for what, why in FORBIDDEN.items() if re.search(what, everything)]
    return found


def stays_offline(notebook: NotebookNode) -> list[str]:
    """No output asks an outside host for anything, and no prose shows a remote picture."""
    found = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            if re.search(
                r"!\[[^\]]*\]\(\s*(https?:)?//|<(img|script|iframe|video)[^>]*\ssrc=\"(https?:)?//",
                cell.source,
            ):
                found.append(f"cell {index} shows a picture from an outside host")
            continue
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            pages = [
                str(data[kind]) for kind in data if kind in ("text/html", "image/svg+xml", "application/javascript")
            ]
            if any(OUTSIDE.search(NAMESPACE.sub("", page)) for page in pages):
                found.append(f"cell {index} has an output that names an outside host")
    return found


def normalized(notebook: NotebookNode) -> list[str]:
    """The metadata holds the kernel's name and no times, outputs hold no widget's id, and cell ids are unique."""
    found = [] if notebook.metadata == METADATA else ["the notebook's metadata is not what `make run` writes"]
    for index, cell in code_cells(notebook):
        if "execution" in cell.metadata:
            found.append(f"cell {index} stores the times of its execution")
        if any(WIDGET in output.get("data", {}) for output in cell.outputs):
            found.append(f"cell {index} stores a widget that only its own kernel could show")
    if len({cell.get("id") for cell in notebook.cells}) != len(notebook.cells):
        found.append("cell ids are missing or double")
    return found


# ---- rules about what is written ---------------------------------------------------------------------------


def described_pictures(notebook: NotebookNode) -> list[str]:
    """Every cell that shows a picture says in words what is on it, and so does every picture in the prose."""
    found = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and has_picture(cell) and len(alt_text(cell)) < 20:
            found.append(f"cell {index} shows a picture without an alt text (mystnb: image: alt:)")
        if cell.cell_type == "markdown" and re.search(r"!\[\s*\]\(|<img(?![^>]*\salt=\"[^\"]+\")[^>]*>", cell.source):
            found.append(f"cell {index} has a picture without an alt text")
    return found


def short_cells(notebook: NotebookNode) -> list[str]:
    """No code cell has more than 30 lines, and most have fewer than 10."""
    lengths = {index: len(cell.source.splitlines()) for index, cell in code_cells(notebook)}
    found = [f"cell {i} has {n} lines, more than {MAX_LINES}" for i, n in lengths.items() if n > MAX_LINES]
    if 2 * sum(n < 10 for n in lengths.values()) <= len(lengths):
        found.append("most code cells should have fewer than 10 lines")
    return found


def short_passages(notebook: NotebookNode) -> list[str]:
    """A passage between two pieces of code is one idea: folded answers, tables and formulas apart."""
    found = []
    for index, cell in enumerate(notebook.cells):
        if (
            cell.cell_type == "markdown"
            and index > 0
            and not re.search(r"^#+ .*(summary|reading|小结)", cell.source, re.IGNORECASE | re.MULTILINE)
        ):
            text = re.sub(r"<details>.*?</details>|```.*?```|\$\$.*?\$\$|<!--.*?-->", "", cell.source, flags=re.DOTALL)
            text = re.sub(r"^\s*[|>#].*$", "", text, flags=re.MULTILINE)
            words = len(re.findall(r"[A-Za-z0-9$][^\s]*", text))
            if words > MAX_WORDS:
                found.append(f"cell {index} has {words} words of prose: split it, or cut it to about 120")
    return found


def has_the_bones(notebook: NotebookNode) -> list[str]:
    """The parts of every lesson: head, terms, predictions, claims, Break it, summary, further reading."""
    prose, code = markdown(notebook), "\n".join(cell.source for _, cell in code_cells(notebook))
    first = notebook.cells[0].source if notebook.cells else ""
    headings = "\n".join(re.findall(r"^#+ .*$", prose, flags=re.MULTILINE)).lower()
    asked = len(re.findall(r"\*\*Predict first", prose))
    bones = {
        "a title (# ...) in its first cell": first.startswith("# "),
        "the minutes it takes, in its head": bool(re.search(r"\d+ min", prose[:4000])),
        "a table of terms in English and Chinese, in its head": bool(
            re.search(r"^\|.*[A-Za-z].*\|.*[\u4e00-\u9fff].*\|", prose[:6000], re.MULTILINE)
        ),
        "`figures.use_style()` in its first code": "figures.use_style()" in code[:1500],
        "a question to predict (**Predict first**)": asked > 0,
        "a folded answer (<details>) for each question": len(re.findall(r"<details>", prose)) >= asked,
        "at least five assertions": len(re.findall(r"^\s*assert\b|assert_close\(", code, flags=re.MULTILINE)) >= 5,
        "a comparison with PyTorch's own (assert_close)": "assert_close(" in code,
        "a section 'Break it'": "break it" in headings,
        "a section 'Exercises'": "## exercises" in headings,
        "a section 'Summary', and 小结 in Chinese": "summary" in headings and "小结" in prose,
        "a section 'Further reading'": "further reading" in headings,
        "a function that utils has too (tag same-as:)": any(
            tag.startswith("same-as:") for _, cell in code_cells(notebook) for tag in tags(cell)
        ),
    }
    return [f"the lesson lacks {bone}" for bone, there in bones.items() if not there]


def has_a_quiz(notebook: NotebookNode) -> list[str]:
    """A section 'Quiz' of three to five questions; each choice is folded and explained, one of them is right."""
    section = re.search(r"^## Quiz\n(.*?)(?=^## |\Z)", markdown(notebook), re.DOTALL | re.MULTILINE)
    questions = re.split(r"^\*\*\d\. ", section[1], flags=re.MULTILINE)[1:] if section else []
    found = [] if 3 <= len(questions) <= 5 else [f"the lesson has {len(questions)} quiz questions, not three to five"]
    for number, question in enumerate(questions, start=1):
        answers = re.findall(r"</summary>\s*(?:\*\*[✓✗] )?(\w+)[^\n]*", question)
        if len(answers) < 3 or answers.count("Right") != 1 or set(answers) - {"Right", "No"}:
            found.append(f"question {number} needs three choices or more, one of them 'Right.', the others 'No'")
    return found


def no_asserted_seconds(notebook: NotebookNode) -> list[str]:
    """Times are shown, never asserted: they belong to one machine."""
    timed = re.compile(r"^\s*assert\b.*(seconds|elapsed|perf_counter|duration|millis)", re.MULTILINE)
    return [f"cell {index} asserts a time" for index, cell in code_cells(notebook) if timed.search(cell.source)]


STORED = (
    executed_in_order,
    no_escape_from_nbval,
    ignores_little,
    clean_outputs,
    stays_offline,
    normalized,
    described_pictures,
    short_cells,
    no_asserted_seconds,
)
OF_A_LESSON = (*STORED, compares_enough, short_passages, has_the_bones, has_a_quiz)
