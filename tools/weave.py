"""Weave the course in another language: the executed English notebooks, with their words from catalogues.

    python -m tools.weave                write every lesson that has a catalogue, notebooks/LANGUAGE/NN_name.ipynb
    python -m tools.weave --status       what is missing, outdated, or not like its English text
    python -m tools.weave --scaffold 02  append what the catalogue of lesson 02 lacks, with the English as a note (%)

The catalogue of notebooks/NN_name.ipynb is notebooks/text/LANGUAGE/NN_name.md (see utils.language). Code and outputs
are the English ones; only the captions, alt texts and results of checks in outputs are replaced.

A page is woven, too (`--scaffold README.md`): its paragraphs are its cells. The catalogue of README.md is
notebooks/text/LANGUAGE/pages/README.md. In what a tool has written between two comments, numbers and *words* are
places, {0}, {1}: new ones come over as they are.
"""

import argparse
import copy
import html
import json
import posixpath
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools import wording
from tools.rules_figures import captions, text_of
from tools.run_lessons import NOTEBOOKS, replace
from utils import language
from utils.checks.engine.messages import translations

# What a translation keeps of its English text: as many, and the same.
KEPT = {
    "formulas": r"\$\$?[^$]+\$\$?",
    "code": r"```[^`]*```|`[^`]+`",
    "links": r"\]\(([^)\s]+)\)",
    "folds": r"</?(?:details|div|summary)\b",
    "headings": r"^#+ ",
    "rows": r"^\|",
    "quotes": r"^> ",
    "verdicts": "[✓✗]",
    "stars": "★+",
    "places": r"\{\d+\}",
}
# What an English lesson says in Chinese: its summary once more, of which a translation keeps the heading.
IN_CHINESE = re.compile(r"(?<=^### 小结\n\n)(?:.+\n)+", re.MULTILINE)
HAN = re.compile("[\u3400-\u9fff]")
# What a page consists of, with what follows it: code and comments, which stay, and paragraphs.
PARTS = re.compile(r"(```.*?\n```|<!--.*?-->|.+?)(\n\n+|\n(?=<!--)|(?<=-->)\n|\n?\Z)", re.DOTALL)


def catalogues(tongue: str = "zh") -> dict[Path, Path]:
    """The catalogue of each English notebook and page that has one."""
    folder, pages, found = language.CATALOGUES / tongue, language.CATALOGUES / tongue / "pages", {}
    for path in sorted(folder.rglob("*.md")):
        if path.is_relative_to(pages):
            found[NOTEBOOKS.parent / path.relative_to(pages)] = path
        else:
            found[NOTEBOOKS / path.relative_to(folder).with_suffix(".ipynb")] = path
    return found


def woven(path: Path, tongue: str = "zh") -> Path:
    """Where the lesson or page stands in another language."""
    if not path.is_relative_to(NOTEBOOKS):
        return path.with_name(f"{path.stem}.{tongue}{path.suffix}")
    return NOTEBOOKS / tongue / path.relative_to(NOTEBOOKS)


def read(path: Path) -> NotebookNode:
    """An English lesson, or a page as a notebook whose Markdown cells are its paragraphs."""
    if path.suffix == ".ipynb":
        return nbformat.read(path, 4)
    cells, tool = [], ""
    for text, end in PARTS.findall(path.read_text(encoding="utf-8")):
        if comment := re.match(r"<!-- (\w+: end|.*written by)?", text):
            tool = "written by" in (comment[1] or "")
        values = []
        if is_code(text) or re.fullmatch(r"\[\w+\]\(\S+\)", text):  # alone in its paragraph: the other language
            cell = nbformat.v4.new_raw_cell(text)
        else:
            cell = nbformat.v4.new_markdown_cell(with_places(text, values) if tool else text)
        cell.metadata.update(end=end, values=values)
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells)


def is_code(text: str) -> bool:
    return text.startswith(("```", "<!--"))


def with_places(text: str, values: list[str]) -> str:
    """The text with {0}, {1} for its numbers and *words*, which are added to `values`."""

    def place(found: re.Match) -> str:
        values.append(found[0])
        return f"{{{len(values) - 1}}}"

    return re.sub(r"(?<!\*)\*[^*\n]+\*(?!\*)|\d+([.,]\d+)*", place, text)


def page(made: NotebookNode) -> str:
    """The text of a page that `read` has cut into cells."""
    text = ""
    for cell in made.cells:
        for at, value in enumerate(cell.metadata["values"]):
            cell.source = cell.source.replace(f"{{{at}}}", value)
        text += cell.source + cell.metadata["end"]
    return text


def pieces(notebook: NotebookNode) -> list[tuple[int, str, str]]:
    """The texts to translate, in the order of the lesson: (cell, kind, English)."""
    shown = {}
    for index, words in captions(notebook):
        shown.setdefault(index, []).extend((kind, text_of(words[kind])) for kind in ("caption", "alt"))
    found = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            found.append((index, "en", cell.source))
        found += [(index, kind, text) for kind, text in shown.get(index, ()) if text]
    return found


# ---- weaving ----


def weave(notebook: NotebookNode, words: dict[tuple[str, str], str], path: Path, tongue: str = "zh") -> NotebookNode:
    """A copy of the notebook at `path` with these words; what has none stays English."""
    made = copy.deepcopy(notebook)
    for index, kind, text in pieces(notebook):
        other = words.get((kind, language.digest(text)), text)
        if kind == "en":
            made.cells[index].source = linked(other, path, tongue)
        else:
            for output in made.cells[index].get("outputs", ()):
                replace_in(output, text, other, tongue)
    for cell in made.cells:
        if cell.source == link_to(woven(path, tongue), path, language.NAMES[tongue]):
            cell.source = link_to(path, woven(path, tongue), "English")
        for output in cell.get("outputs", ()):
            result_in(output, tongue)
    return made


def link_to(page: Path, seen_from: Path, name: str) -> str:
    """The paragraph of a page that leads to the same page in another language."""
    return f"[{name}]({posixpath.relpath(page.as_posix(), seen_from.parent.as_posix())})"


def linked(text: str, path: Path, tongue: str) -> str:
    """Links that lead from the lesson's place in another language: to that language where it has the page."""
    here = posixpath.dirname(path.relative_to(NOTEBOOKS.parent).as_posix())
    there = posixpath.dirname(woven(path, tongue).relative_to(NOTEBOOKS.parent).as_posix())

    translated = catalogues(tongue)

    def moved(link: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(here, link[1]))
        other = NOTEBOOKS.parent / target
        if other in translated:
            target = woven(other, tongue).relative_to(NOTEBOOKS.parent).as_posix()
        return "](" + posixpath.relpath(target, there)

    return re.sub(r"\]\((?![a-z]+:|#)([^)#\s]+)", moved, text)


def replace_in(output: NotebookNode, text: str, other: str, tongue: str) -> None:
    """A caption or alt text in what a figure has left: in its HTML, its data, its plain text, beside its picture."""
    for about in output.get("metadata", {}).values():
        if isinstance(about, dict) and about.get("alt") == text:
            about["alt"] = other
    data = output.get("data", {})
    if data.get("text/plain") == f"<Figure: {text}>":
        data["text/plain"] = f"<Figure: {other}>"
    page = data.get("text/html")
    if page and "figure-caption" in page:
        page = page.replace(html.escape(text), html.escape(other)).replace(quoted(text), quoted(other))
        for english, word in language.WORDS.get(tongue, {}).items():
            page = re.sub(rf"<(b|summary)>{english}(?= [0-9]|<)", rf"<\1>{word}", page)
        data["text/html"] = page


def quoted(text: str) -> str:
    """As the text stands in the data of a figure to play with."""
    return json.dumps(text, ensure_ascii=False).replace("</", "<\\/")


def result_in(output: NotebookNode, tongue: str) -> None:
    """The result of a check, which the stored lessons show before anything is handed in; a line in a widget's place."""
    for kind, text in output.get("data", {}).items():
        if kind == "text/plain" and text in language.WORDS.get(tongue, {}):
            output.data[kind] = language.WORDS[tongue][text]
        if kind in ("text/html", "text/plain") and re.match("(<pre[^>]*>)?[✓✗○] ", text):
            begin, said, end = re.fullmatch(r"(<pre[^>]*>)?(.*?)(</pre>)?", text, re.DOTALL).groups("")
            said = "\n".join(told(line, tongue) for line in (html.unescape(said) if begin else said).split("\n"))
            output.data[kind] = begin + (html.escape(said) if begin else said) + end


def told(line: str, tongue: str) -> str:
    """A line of a result in another language; of a mark and the name of an exercise only what follows."""
    marked = re.match(r" *[✓✗○] (\w+: )?", line)
    for head in (marked[0],) if marked else ("", line.partition(": ")[0] + ": "):
        if other := retold(line.removeprefix(head), tongue):
            return head + other
    return line


@cache
def retold(text: str, tongue: str) -> str:
    """What `say` makes of the sentence in another language, with what stands in its places; "" where it has none."""
    for pattern, is_bare, other in templates(tongue):
        if found := pattern.fullmatch(text):
            values = {name: retold(value, tongue) for name, value in found.groupdict().items()}
            if not is_bare or all(values.values()):
                parts = re.split(r"\{(\w+)[^}]*\}", other)
                parts[1::2] = [values[name] or found[name] for name in parts[1::2]]
                return "".join(parts)
    return ""


@cache
def templates(tongue: str) -> list[tuple[re.Pattern, bool, str]]:
    """The lines of all sentences: what they look like in English, whether hardly a word is in them, the translation.

    First those with the most letters outside their places: what is bare fits nearly everything.
    """
    found = {}
    for english, other in translations(tongue).items():
        if english.count("\n") == other.count("\n"):
            found |= dict(zip(english.split("\n"), other.split("\n"), strict=True))
    made = []
    for english, other in found.items():
        parts, seen = re.split(r"\{(\w+)[^}]*\}", english), set()
        for at in range(1, len(parts), 2):
            name, parts[at] = parts[at], f"(?P={parts[at]})" if parts[at] in seen else f"(?P<{parts[at]}>.+?)"
            seen.add(name)
        if not "".join(parts[::2]):  # nothing but a place
            continue
        letters = len(re.findall(r"\w", "".join(parts[::2])))
        parts[::2] = map(re.escape, parts[::2])
        made.append((letters, re.compile("".join(parts)), letters < 3 * len(seen), other))
    return [rest for _, *rest in sorted(made, key=lambda one: -one[0])]


# ---- what is wrong ----


def skeleton(text: str) -> dict[str, Counter]:
    return {name: Counter(re.findall(pattern, text, re.MULTILINE)) for name, pattern in KEPT.items()}


def problems(notebook: NotebookNode, words: dict[tuple[str, str], str], tongue: str = "zh") -> Iterator[str]:
    """What a catalogue lacks, what it has for English that is no more, and what is not like its English text."""
    wanted = {(kind, language.digest(text)): (index, text) for index, kind, text in pieces(notebook)}
    for (kind, key), (index, text) in wanted.items():
        if (kind, key) not in words:
            yield f"cell {index} lacks its {kind} {key}: {text[:60]!r}"
            continue
        other = words[kind, key]
        ours, theirs = skeleton(IN_CHINESE.sub("", text)), skeleton(other)
        for name in KEPT if kind == "en" else ():
            if ours[name] != theirs[name]:
                lost, more = dict(ours[name] - theirs[name]), dict(theirs[name] - ours[name])
                yield f"cell {index}, {kind} {key}: {name} differ, only English {lost}, only translated {more}"
        prose = re.sub(r"\$[^$]*\$|`[^`]*`|<[^>]*>", "", text)
        if re.search("[a-z]{4}", prose) and not HAN.search(other):
            yield f"cell {index}, {kind} {key}: no Chinese in it"
        elif tongue == "zh":
            for slip in (*wording.terms(text, other, kind != "en"), *wording.slips(other)):
                yield f"cell {index}, {kind} {key}: {slip}"
        if left := raw_stars(other):
            yield f"cell {index}, {kind} {key}: the stars of {left!r} stay stars, as Markdown reads them"
    for kind, key in words.keys() - wanted.keys():
        yield f"outdated, its English is no more: {kind} {key}: {words[kind, key][:60]!r}"


def raw_stars(text: str) -> str:
    """Emphasis that Markdown leaves as stars, as it does between a letter and full-width punctuation."""
    from markdown_it import MarkdownIt

    plain = re.sub(r"\$\$?[^$]+\$\$?", "x", text)
    for token in MarkdownIt("commonmark").enable("table").parse(plain):
        for part in token.children or ():
            if part.type == "text" and re.search(r"\*\S|\S\*", part.content):
                return part.content[:60]
    return ""


# ---- the command ----


def scaffold(path: Path, notebook: NotebookNode) -> int:
    """Append an entry for each text that the catalogue lacks, with the English as a note; how many."""
    words = language.read_catalogue(path) if path.exists() else {}
    known = set(words)
    with path.open("a", encoding="utf-8") as file:
        for _, kind, text in pieces(notebook):
            key = (kind, language.digest(text))
            if key not in known:
                known.add(key)
                note = "".join(f"% {line}\n" for line in text.splitlines())
                file.write(f'\n+++ {{"{kind}": "{key[1]}"}}\n\n{note}')
    return len(known) - len(words)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.weave", description=__doc__.splitlines()[0])
    parser.add_argument("--status", action="store_true", help="only say what is to be done; fails if there is anything")
    parser.add_argument("--scaffold", nargs="+", metavar="NN", help="begin or complete the catalogues of these lessons")
    parser.add_argument("--language", default="zh")
    args = parser.parse_args(argv)
    if args.scaffold:
        folder = language.CATALOGUES / args.language
        for notebook in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) + sorted(NOTEBOOKS.glob("solutions/*.ipynb")):
            if notebook.name.startswith(tuple(args.scaffold)):
                begin(folder / notebook.relative_to(NOTEBOOKS).with_suffix(".md"), notebook)
        for other in (NOTEBOOKS.parent / name for name in args.scaffold if name.endswith(".md")):
            begin(folder / "pages" / other.relative_to(NOTEBOOKS.parent), other)
        return 0
    found = 0
    for notebook, path in catalogues(args.language).items():
        english, words = read(notebook), language.read_catalogue(path)
        lines = list(problems(english, words, args.language))
        found += len(lines)
        for line in lines:
            print(f"{path.relative_to(NOTEBOOKS.parent)}: {line}")
        if not args.status:
            replace(woven(notebook, args.language), stored(english, words, notebook, args.language))
    return int(args.status and found > 0)


def begin(path: Path, english: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f"{path.relative_to(NOTEBOOKS.parent)}: {scaffold(path, read(english))} new entries")


def stored(english: NotebookNode, words: dict, path: Path, tongue: str = "zh") -> str:
    """The text of a woven notebook's or page's file."""
    made = weave(english, words, path, tongue)
    return page(made) if path.suffix == ".md" else nbformat.writes(made) + "\n"


if __name__ == "__main__":
    sys.exit(main())
