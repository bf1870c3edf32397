"""The site in another language: which pages are translated, what their links and anchors are called, and a few words.

A page keeps the place of its English one, below the folder of its language. What has no translation stays English.
"""

import posixpath
import re
from functools import cache
from pathlib import Path, PurePosixPath

from tools import modules, weave
from utils.config import ROOT

LOCALES = {"": "en", "zh": "zh_CN"}  # as Sphinx names a language; "" is the course itself
TITLES = {
    "": ("The Transformer, from an RNN to a machine that translates Chinese", "The Transformer"),
    "zh": ("Transformer：从循环神经网络到会翻译中文的机器", "Transformer 课程"),
}
WORDS = {
    "zh": {
        "Lessons": "课文",
        "Look up": "查阅",
        "Solutions": "参考答案",
        "Around the course": "课程之外",
        "Glossary": "术语表",
        "The terms of the lessons, each where it is explained first or anew.": "各课的术语，以及解释它的那一课。",
        "term": "英文",
        "meaning": "含义",
        "lesson": "课",
        "The explorer: type a Chinese sentence, and look inside the translator": "探索页：输入中文，看看翻译模型的内部",
        "The explorer: the translator in this page": "探索页：翻译模型就在这个页面里",
        "Open it in a page of its own": "在单独的页面中打开",
        "This page is not translated yet.": "这一页还没有中文版，以下是英文。",
        "Language": "语言",
        "The course": "课程目录",
        "This page": "本页目录",
        # what the theme says
        "Skip to content": "跳到正文",
        "Back to top": "回到顶部",
        "On this page": "本页目录",
        "Next": "下一页",
        "Previous": "上一页",
        "Home": "首页",
        "Made with ": "制作工具：",
        "Search": "搜索",
    }
}


def word(text: str, tongue: str) -> str:
    """One of the site's own words."""
    return WORDS.get(tongue, {}).get(text, text)


def source(path: str, tongue: str) -> str:
    """Where the text of a page lies: the translation, if there is one; both from the root."""
    other = weave.woven(ROOT / path, tongue) if tongue else ROOT / path
    return other.relative_to(ROOT).as_posix() if other.exists() else path


def english(place: str, tongue: str) -> str:
    """The place of the English page of a page in another language; other places stay."""
    if tongue and place.startswith(f"notebooks/{tongue}/"):
        return place.replace(f"/{tongue}/", "/", 1)
    return re.sub(rf"\.{tongue}\.md$", ".md", place) if tongue else place


def without_switch(text: str) -> str:
    """A page without the paragraph that leads to the same page in another language: the site has its own."""
    return re.sub(r"^\[(English|中文)\]\([^)\s]+\)\n\n", "", text, count=1, flags=re.MULTILINE)


@cache
def anchors(path: str, tongue: str) -> dict[str, str]:
    """What the anchors of an English lesson are called in its translation."""
    other = ROOT / source(path, tongue)
    if not path.endswith(".ipynb") or other == ROOT / path:
        return {}
    found: dict[str, str] = {}
    for ours, theirs in zip(weave.read(ROOT / path).cells, weave.read(other).cells, strict=True):
        both = (re.findall("^#+ (.+)", cell.source, re.M) for cell in (ours, theirs) if cell.cell_type == "markdown")
        found |= {modules.slug(one): modules.slug(two) for one, two in zip(*both, strict=True)}
    return found


def addresses(tongue: str) -> dict[str, str]:
    """What the sections of the lessons are called in their translations: {"02_name#why": "02_name#为什么"}."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        names = anchors(path.relative_to(ROOT).as_posix(), tongue)
        for one, other in names.items():
            plain = "#" + re.sub("[^a-z0-9]+", "-", one).strip("-0123456789")  # as docutils calls a section
            found |= {f"{path.stem}{name}": f"{path.stem}{other}" for name in (plain, one) if len(name) > 1}
    return found


def anchored(link: str, page: str, tongue: str) -> str:
    """A link of a page with the anchor that the translation has."""
    target, mark, anchor = link.partition("#")
    place = posixpath.normpath(PurePosixPath(page).parent / target)
    known = anchors(place, tongue) if tongue and mark and (ROOT / place).exists() else {}
    return target + known.get(mark + anchor, mark + anchor)


def translated(tongue: str, folder: Path) -> list[str]:
    """The pages of the site in `folder` that are translated, as Sphinx names them."""
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.suffix in (".md", ".ipynb")]
    found = [path for path in found if source(path.replace("index.md", "README.md"), tongue) != path]
    return [str(PurePosixPath(path).with_suffix("")) for path in found if not path.startswith("utils/")]
