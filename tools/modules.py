"""Pages in Markdown for the modules of utils: what is public, with its docstring. Nothing is imported."""

import ast
import posixpath
import re
from pathlib import Path, PurePosixPath

import utils

PACKAGE = "utils"
LEFT_OUT = ("checks",)  # the right answers of the exercises
NAMED = re.compile(r"\b([Ll]esson) (\d\db?)\b(?:, \"([^\"]+)\")?")


def page(place: str) -> str:
    """The page of a Python file of the package, or of its folder; other places have none."""
    if place == PACKAGE:
        return f"{PACKAGE}/index.md"
    if place.startswith(f"{PACKAGE}/") and place.endswith(".py"):
        return place.removesuffix(".py").removesuffix("/__init__") + ".md"
    return ""


def pages(root: Path) -> dict[str, str]:
    """All pages by path: one for each module, and an index of them in the order to read them."""
    lessons = {path.stem.split("_")[0]: path.stem for path in sorted((root / "notebooks").glob("[0-9]*.ipynb"))}
    found, names = {}, []
    order = reading_order()
    places = sorted(path.relative_to(root).as_posix() for path in (root / PACKAGE).rglob("*.py"))
    for place in sorted(places, key=lambda place: order.get(place, len(order))):
        path = root / place
        tree = ast.parse(path.read_text(encoding="utf-8"))
        left_out = any(part in LEFT_OUT for part in PurePosixPath(place).parts)
        if left_out or page(place) == f"{PACKAGE}.md" or not public(tree):
            continue
        name = page(place)
        found[name] = module(tree, name.removesuffix(".md").replace("/", "."), name, lessons)
        names.append(name)
    rows = "".join(f"{posixpath.relpath(name, PACKAGE)}\n" for name in names)
    text = "# The package `utils`\n\nWhat the lessons build, ready to be used and read, in an order to read it.\n"
    found[f"{PACKAGE}/index.md"] = f"{text}\n```{{toctree}}\n:maxdepth: 1\n\n{rows}```\n"
    return found


def reading_order() -> dict[str, int]:
    """The place of each module in the order in which they are best read; packages of several modules come last."""
    return {f"{PACKAGE}/{name}.py": i for i, name in enumerate(utils.READING_ORDER.split())}


def public(tree: ast.AST) -> list[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes that others may use: those with a docstring whose name has no leading underscore."""
    nodes = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return [node for node in nodes if not node.name.startswith("_") and ast.get_docstring(node)]


def module(tree: ast.Module, name: str, path: str, lessons: dict[str, str]) -> str:
    """The page of one module."""
    text = f"# `{name}`\n\n{prose(ast.get_docstring(tree) or '', path, lessons)}\n"
    for node in public(tree):
        text += f"\n({anchor(name, node.name)})=\n## `{node.name}`\n\n{described(node, path, lessons)}"
        if isinstance(node, ast.ClassDef):
            for method in public(node):
                text += f"\n### `{node.name}.{method.name}`\n\n{described(method, path, lessons)}"
    return text


def anchor(name: str, part: str) -> str:
    return f"{name}.{part}".replace(".", "-").replace("_", "-").lower()


def described(node: ast.FunctionDef | ast.ClassDef, path: str, lessons: dict[str, str]) -> str:
    """How a function is called, or a class made, and its docstring."""
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        code = called(f"def {node.name}", node.args, returns)
    else:
        bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
        code = f"class {node.name}{bases}"
        fields = [f"    {ast.unparse(field)}" for field in node.body if isinstance(field, ast.AnnAssign)]
        made = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        code = "\n".join([code, *fields, *(called("    def __init__", part.args) for part in made)])
    return f"```python\n{code}\n```\n\n{prose(ast.get_docstring(node), path, lessons)}\n"


def called(name: str, arguments: ast.arguments, returns: str = "") -> str:
    """A signature in one line, or with an argument in each where it is long."""
    text = f"{name}({ast.unparse(arguments)}){returns}"
    if len(text) <= 88:
        return text
    inside = "    " + " " * (len(name) - len(name.lstrip()))
    parts = re.split(r", (?=\*{0,2}\w+(?::|=|,|$)|/(?:,|$)|\*,)", ast.unparse(arguments))
    return f"{name}(\n" + "".join(f"{inside}{part},\n" for part in parts) + inside[4:] + f"){returns}"


def prose(text: str, path: str, lessons: dict[str, str]) -> str:
    """A docstring as Markdown: commands and indented lines as code, lessons as links."""
    blocks = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if all(line.startswith(("    ", "python ", ">>> ", "... ")) for line in lines) or ">>> " in block[:4]:
            blocks.append(f"```text\n{block}\n```")
        else:
            blocks.append(NAMED.sub(lambda found: to_lesson(found, path, lessons), escaped(block)))
    return "\n\n".join(blocks)


def escaped(text: str) -> str:
    """Signs that mean something in Markdown and not in a docstring; what stands in backticks stays."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<>\[\]$|~])", r"\\\1", part) for part in parts)


def to_lesson(found: re.Match, path: str, lessons: dict[str, str]) -> str:
    """The name of a lesson, or of its section, as a link."""
    if found[2] not in lessons:
        return found[0]
    target = posixpath.relpath(f"notebooks/{lessons[found[2]]}.ipynb", PurePosixPath(path).parent)
    return f"[{found[0]}]({target}{slug(found[3] or '')})"


def slug(heading: str) -> str:
    """The anchor of a section, as MyST makes it of the heading's text; none where that holds formulas or emphasis."""
    if not heading or re.search(r"[$*`\\]", heading):
        return ""
    return "#" + re.sub(r"[^\w\u4e00-\u9fff\-]", "", "-".join(heading.lower().split()))


def linked(text: str, path: str) -> str:
    """The index of ideas, whose sections and code become links; other pages stay as they are."""
    if path != "notebooks/README.md":
        return text
    section = re.compile(r"\[(\d\db?)\]\((\w+\.ipynb)\), \*(.*?)\*(?= \|)")
    text = section.sub(lambda found: f"[{found[1]}, *{found[3]}*]({found[2]}{slug(found[3])})", text)
    return re.sub(r"`(\w+)\.(\w+)(\.\w+)?` \|$", lambda found: to_code(found), text, flags=re.MULTILINE)


def to_code(found: re.Match) -> str:
    module, part, method = found[1], found[2], found[3] or ""
    return f"[`{module}.{part}{method}`](../{PACKAGE}/{module}.md#{anchor(f'{PACKAGE}.{module}', part)}) |"
