"""`make site`: the course as a website, in build/site/, from the lessons as they are stored; nothing is run.

    python -m tools.build_site                     with the solutions and the explorer
    python -m tools.build_site --no-solutions      without the solved exercises: links to them become plain text

The sources keep the places that they have in the repository, so that links between pages stay as they are. Links to
Python files lead to pages with their docstrings. Everything lies in the folder: no page asks another host. The same
pages in another language are in a folder zh/ of the site, English where there is no translation (tools/editions.py).
"""

import argparse
import os
import posixpath
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from html import escape
from importlib import metadata
from pathlib import Path, PurePosixPath

import nbformat

from tools import colab, editions, glossary, modules
from tools.handout import LINK
from tools.run_lessons import alt_text
from utils.export import browser
from utils.translate import load_translator

ROOT = Path(__file__).resolve().parents[1]
WEBSITE = Path(__file__).with_name("website")
START = "index.md"  # what README.md becomes
EXPLORED = ("06", "07", "08", "08b")  # the lessons that show the explorer
PAGES = ("README.md", "CONTRIBUTING.md", "data/README.md", "benchmarks/README.md", "benchmarks/results/*.md")
PAGES += ("notebooks/README.md", "notebooks/teachers.md", "notebooks/*.ipynb", "notebooks/solutions/*.ipynb")
FILES = ("LICENSE", "LICENSE-TEXT", "notebooks/images/*")
FONTS = "Main-Regular Main-Bold Main-Italic Math-Italic Math-BoldItalic AMS-Regular Size1-Regular Size2-Regular"
FONTS += " Size3-Regular Size4-Regular Calligraphic-Regular Typewriter-Regular SansSerif-Regular Zero Vector-Regular"
EXPLORER = {"": "../explorer/index.html", "zh": "../../explorer/zh.html"}  # seen from a lesson
FRAME = """
<details class="explorer"><summary>{}</summary>
<iframe src="{page}" title="{}" loading="lazy"></iframe>
<p><a href="{page}">{}</a></p>
</details>
"""
FRAME_WORDS = (
    "The explorer: type a Chinese sentence, and look inside the translator",
    "The explorer: the translator in this page",
    "Open it in a page of its own",
)
RESULTS = """
```{toctree}
:hidden:
:glob:

results/*
```
"""


# ---- what Markdown becomes ----


def markup(text: str) -> str:
    """A line of Markdown as HTML; formulas as MathJax finds them."""
    from markdown_it import MarkdownIt

    formulas: list[str] = []

    def keep(found: re.Match) -> str:
        formulas.append(rf'<span class="math notranslate nohighlight">\({escape(found[1], quote=False)}\)</span>')
        return f"\0{len(formulas) - 1}\0"

    html = MarkdownIt("commonmark").renderInline(re.sub(r"\$([^$]+)\$", keep, text))
    return re.sub("[\0\ufffd](\\d+)[\0\ufffd]", lambda found: formulas[int(found[1])], html)


def summaries(text: str) -> str:
    """Markdown stays raw inside <summary>, as in all HTML: make it HTML."""
    return re.sub(r"<summary>(.*?)</summary>", lambda found: f"<summary>{markup(found[1])}</summary>", text)


def linked(text: str, path: str, sources: set[str], url: str = "", tongue: str = "") -> str:
    """Markdown whose links lead to pages of the site; to the repository where the site has no page, or to nothing.

    The page's place in the site is `path`; in another language its text, and so its links, come from somewhere else.
    """
    here, there = PurePosixPath(path).parent, PurePosixPath(editions.source(path, tongue)).parent

    def to(link: re.Match) -> str:
        words, target, anchor = link[1], link[2], link[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        place = editions.english(posixpath.normpath(there / target), tongue)
        if (page := modules.page(place)) in sources:
            return f"[{words}]({posixpath.relpath(page, here)})"
        if place in sources:
            place = START if place == "README.md" else place
            return f"[{words}]({editions.anchored(posixpath.relpath(place, here) + anchor, path, tongue)})"
        return f"[{words}]({url}/blob/HEAD/{place}{anchor})" if url else words

    def shown(picture: re.Match) -> str:
        place = posixpath.normpath(there / picture[2])
        return f"![{picture[1]}]({posixpath.relpath(place, here)})"

    return re.sub(r"!\[([^\]]*)\]\((?![a-z]+:)([^)\s]+)\)", shown, LINK.sub(to, text))


def without_missing(contents: str, sources: set[str]) -> str:
    """The lists of contents without the entries that no page fits: a handout has no solutions, no page for teachers."""
    pages = {str(PurePosixPath(path).with_suffix("")) for path in sources}

    def kept(tree: re.Match) -> str:
        there = [entry for entry in tree[2].splitlines() if any(fnmatch(page, entry) for page in pages)]
        return "\n".join([tree[1], *there, "```\n"]) if there else ""

    return re.sub(r"(```\{toctree\}\n(?::.*\n)+)\n((?:[^`\n]+\n)+)```\n", kept, contents)


def lesson(source: str, path: str, sources: set[str], url: str, tongue: str = "") -> str:
    """A stored notebook as a page: links, summaries, alt texts, and the explorer where the translator is at work."""
    notebook = nbformat.reads(source, 4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = summaries(linked(cell.source, path, sources, url, tongue))
        elif alt := alt_text(cell):
            cell.metadata["mystnb"] = {"image": {"alt": alt}}
    if PurePosixPath(path).parent.name == "notebooks" and PurePosixPath(path).stem.split("_")[0] in EXPLORED:
        words = (editions.word(text, tongue) for text in FRAME_WORDS)
        notebook.cells[0].source += FRAME.format(*words, page=EXPLORER[tongue])
    return nbformat.writes(notebook)


# ---- the sources ----


def write_sources(folder: Path, solutions: bool, url: str = "", tongue: str = "") -> None:
    """Every page as Sphinx reads it, in the places of the repository; in another language where it is translated."""
    found = [path.relative_to(ROOT).as_posix() for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    if not solutions:
        found = [path for path in found if "solutions" not in path]
    files = [path.relative_to(ROOT).as_posix() for pattern in FILES for path in sorted(ROOT.glob(pattern))]
    generated = modules.pages(ROOT) | {"notebooks/glossary.md": glossary.page(ROOT, tongue)}
    sources = {*found, *files, *generated}
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    texts = {path: (ROOT / editions.source(path, tongue)).read_text(encoding="utf-8") for path in found} | generated
    contents = (folder / "contents.md").read_text(encoding="utf-8")
    captions = re.compile("(?<=:caption: )(.+)")
    contents = captions.sub(lambda found: editions.word(found[1], tongue), contents)
    texts["README.md"] += without_missing(contents, sources)
    texts["benchmarks/README.md"] += RESULTS
    for path, text in texts.items():
        if path.endswith(".ipynb"):
            text = lesson(text, path, sources, url, tongue)
        else:
            text = modules.linked(editions.without_switch(text), path)
            text = summaries(linked(text, path, sources, url, tongue))
            text = text.removeprefix("#") if text.startswith("## ") else text  # a page begins with its title
        place = folder / (START if path == "README.md" else path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def write_mathjax(folder: Path) -> None:
    """MathJax and the fonts that the lessons need, out of the package that carries all of it."""
    package = metadata.distribution("sphinx-mathjax-offline")
    for file in package.files:
        name = file.as_posix().partition("static/mathjax/")[2]
        if name == "tex-chtml.js" or (name.endswith(".woff") and file.stem.partition("_")[2] in FONTS.split()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package.locate_file(file), folder / name)
    (folder / "README.txt").write_text((WEBSITE / "mathjax.txt").read_text(encoding="utf-8"), encoding="utf-8")


def build(out: Path, solutions: bool = True, explorer: bool = True, url: str = "") -> None:
    """The site in a folder, made anew, in all languages. Raises SystemExit, one sentence, where Sphinx warns."""
    for tongue, place in {"": out, "zh": out / "zh"}.items():
        sources = out.with_name(f"{out.name}-sources") / (tongue or "en")
        shutil.rmtree(sources, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(WEBSITE, sources, ignore=shutil.ignore_patterns("__pycache__"))
        write_sources(sources, solutions, url, tongue)
        (sources / "_extra").mkdir()
        if not tongue:
            write_mathjax(sources / "_static" / "mathjax")
            if explorer:
                write_explorer(sources / "_extra" / "explorer")
        run_sphinx(sources, tongue)
        shutil.move(sources / "_built", place)
    (out / ".nojekyll").touch()  # GitHub Pages leaves out folders such as _static otherwise


def write_explorer(folder: Path) -> None:
    folder.mkdir()
    translator = load_translator(device="cpu")
    browser.write(translator.model, translator.tokenizer, folder, "../notebooks/{}.html")
    for tongue in editions.WORDS:  # the same model, beside it
        anchors = editions.addresses(tongue)
        html = browser.page(translator.tokenizer.source, f"../{tongue}/notebooks/{{}}.html", tongue, anchors)
        (folder / f"{tongue}.html").write_text(html, encoding="utf-8", newline="\n")


def run_sphinx(sources: Path, tongue: str) -> None:
    """Build the site in _built, beside which MyST-NB leaves a folder of its own."""
    out = sources / "_built"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "2", sources, out]
    if subprocess.run(command, cwd=ROOT, env=os.environ | {"TRANSFORMER_COURSE_LANGUAGE": tongue}).returncode:
        raise SystemExit("The site is not right: Sphinx has said above where.")
    shutil.rmtree(out / ".doctrees", ignore_errors=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.build_site", description="The course as a website.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="a folder, which is made anew")
    parser.add_argument("--no-solutions", action="store_true", help="leave the solved exercises out")
    args = parser.parse_args(argv)
    url = colab.repository() if colab.settings()["tool"]["course"]["repository"] else ""
    build(args.out, not args.no_solutions, url=url)
    files = [path for path in args.out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{args.out / 'index.html'}: {len(files)} files, {size / 1e6:.1f} MB. Open it in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
