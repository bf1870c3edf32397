"""The website (`make site`): built from the stored lessons, whole, found by search, and on no other host."""

import ast
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tools import build_site, editions, glossary, modules, weave
from utils.config import ROOT

pytest.importorskip("sphinx", reason="Sphinx is not installed: `make site` installs it")
sys.path.insert(0, str(build_site.WEBSITE))
import search_pairs  # noqa: E402

# What learners look for, and a page that must be among what is found.
TERMS = {
    "自注意力": "02_self_attention",
    "查询": "02_self_attention",
    "掩码": "02_self_attention",
    "多头": "04_multi_head",
    "位置编码": "05_positional_encoding",
    "机器学习": "08",
    "解码器": "07_transformer",
    "编码器": "07_transformer",
    "循环神经网络": "01_sequence_models",
    "束搜索": "08",
    "attention": "02_self_attention",
    "softmax": "02_self_attention",
    "rotary": "05_positional_encoding",
    "ALiBi": "05_positional_encoding",
    "BLEU": "08",
    "causal_mask": "attention",
    "smoothing": "08",
    "FlashAttention": "03_matrix_parallelization",
    "Bahdanau": "06_seq2seq_with_attention",
    "handout": "teachers",
}
# And what they look for in the Chinese pages.
CHINESE_TERMS = {
    "自注意力": "02_self_attention",
    "注意力就是打分": "02_self_attention",
    "矩阵乘法": "03_matrix_parallelization",
    "因果掩码": "07_transformer",
    "旋转位置编码": "05_positional_encoding",
    "残差连接": "07_transformer",
    "教师强制": "07_transformer",
    "softmax": "02_self_attention",
    "批改": "teachers",
    "参考答案": "index",
    "causal_mask": "attention",
}


class Page(HTMLParser):
    """The addresses that a page asks for by itself, those that it links to, its anchors, and its summaries."""

    def __init__(self, path: Path):
        super().__init__()
        self.loaded, self.links, self.anchors, self.summaries, self.inside = [], [], set(), [], False
        self.language, self.alternates = "", {}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        where = found.get("href") or found.get("src")
        if tag == "html":
            self.language = found.get("lang")
        if tag == "link" and found.get("rel") == "alternate":
            self.alternates[found["hreflang"]] = where
            self.links.append(where)
            return
        if tag == "summary":
            self.summaries.append("")
            self.inside = True
        if where is None or tag == "use":
            return
        (self.links if tag == "a" else self.loaded).append(where)

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "summary"

    def handle_data(self, data):
        if self.inside:
            self.summaries[-1] += data


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("website") / "site"
    build_site.build(out)
    return out


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


def target(page: Path, address: str) -> Path:
    path = unquote(urlsplit(address).path)
    found = (page.parent / path).resolve() if path else page
    return found / "index.html" if found.is_dir() else found


@pytest.mark.slow
def test_every_link_leads_somewhere_and_nothing_comes_from_another_host(site, pages):
    assert len(pages) > 40
    for path, page in pages.items():
        for address in page.loaded:
            assert not urlsplit(address).netloc, f"{path} asks {address}"
        for address in page.links + page.loaded:
            parts = urlsplit(address)
            if parts.scheme in ("https", "http", "mailto", "data"):
                continue
            found = target(path, address)
            assert found.exists() and found.is_relative_to(site), f"{path.relative_to(site)} leads to {address}"
            if parts.fragment and found.suffix == ".html" and "explorer" not in path.parts:
                assert unquote(parts.fragment) in pages[found].anchors, f"{path.relative_to(site)}: {address}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style


@pytest.mark.slow
def test_the_site_is_small_and_has_every_lesson_with_its_pictures(site, pages):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 60e6
    for lesson in (path for folder in ("", "solutions") for path in (ROOT / "notebooks" / folder).glob("*.ipynb")):
        html = (site / lesson.relative_to(ROOT)).with_suffix(".html").read_text(encoding="utf-8")
        outputs = [
            o for cell in json.loads(lesson.read_text(encoding="utf-8"))["cells"] for o in cell.get("outputs", [])
        ]
        assert html.count("<img") >= sum("image/png" in output.get("data", {}) for output in outputs), lesson
        assert html.count("cell_input") >= 5, "cells"


@pytest.mark.slow
def test_no_markdown_stays_raw_in_a_summary(pages):
    found = [text for page in pages.values() for text in page.summaries]
    assert len(found) > 300
    assert not [text for text in found if re.search(r"\*\w|\w\*|\$[^$]+\$|`", text)]


@pytest.mark.slow
def test_every_page_has_both_languages_and_says_which_it_is(site, pages):
    chinese = {path for path in pages if path.is_relative_to(site / "zh")}
    others = {path for path in pages if "explorer" not in path.parts} - chinese
    assert {path.relative_to(site / "zh") for path in chinese} == {path.relative_to(site) for path in others}
    assert {pages[path].language for path in chinese} == {"zh-CN"} and {pages[path].language for path in others} == {
        "en"
    }
    for path in (*chinese, *others):
        name = path.relative_to(site / "zh" if path in chinese else site)
        both = {"en": site / name, "zh-Hans": site / "zh" / name}
        assert "en" in pages[path].alternates
        assert {tongue: target(path, there) for tongue, there in pages[path].alternates.items()}.items() <= both.items()
        switch = site / name if path in chinese else site / "zh" / name
        assert switch in {target(path, address) for address in pages[path].links if not urlsplit(address).scheme}
    lessons = [path for path in weave.catalogues() if path.parent == ROOT / "notebooks" and path.suffix == ".ipynb"]
    assert all("zh-Hans" in pages[site / "notebooks" / f"{lesson.stem}.html"].alternates for lesson in lessons)


@pytest.mark.slow
def test_a_page_without_translation_is_the_english_one_and_says_so(site):
    both = [(site / tongue / "CONTRIBUTING.html").read_text(encoding="utf-8") for tongue in ("", "zh")]
    assert '<div lang="en">' in both[1] and editions.word("This page is not translated yet.", "zh") in both[1]
    assert '<div lang="en">' not in (site / "zh" / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("folder, terms", [("", TERMS), ("zh", CHINESE_TERMS)], ids=["en", "zh"])
def test_search_finds_what_learners_look_for_in_both_languages(site, folder, terms):
    from snowballstemmer import stemmer

    text = (site / folder / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\);?\s*", text, re.DOTALL)[1])
    stem = stemmer("english").stemWord

    def documents(word: str) -> set[int]:
        found = set()
        for table in (index["terms"], index["titleterms"]):
            where = table.get(stem(word.lower()), table.get(word.lower(), []))
            found |= set(where if isinstance(where, list) else [where])
        return found

    for term, page in terms.items():
        words = [word for word in search_pairs.words(term) if len(word) > 1]
        found = set.intersection(*map(documents, words))
        assert any(Path(index["docnames"][i]).name.startswith(page) for i in found), term


def test_chinese_is_found_by_pairs():
    assert search_pairs.words("自注意力 is self-attention") == [
        *("自注", "注意", "意力", "自", "注", "意", "力"),
        *("is", "self", "attention"),
    ]


def test_formulas_and_emphasis_in_a_summary_become_html():
    text = "<summary>*all* of $a_1 < \\sqrt d$ and `x`</summary>"
    html = build_site.summaries(text)
    assert html.startswith("<summary><em>all</em> of <span") and r"\(a_1 &lt; \sqrt d\)" in html and "<code>x" in html


def test_links_lead_to_pages_to_the_repository_or_nowhere():
    text = "[a](../utils/attention.py#L3) [b](../tools/lab.py) [c](04.ipynb#x) [d](https://e.org) [e](../README.md#f)"
    sources = {"utils/attention.md", "notebooks/04.ipynb", "README.md"}
    seen = build_site.linked(text, "notebooks/02.ipynb", sources)
    assert seen == "[a](../utils/attention.md) b [c](04.ipynb#x) [d](https://e.org) [e](../index.md#f)"
    seen = build_site.linked(text, "notebooks/02.ipynb", sources, "https://e.org/o/n")
    assert "[b](https://e.org/o/n/blob/HEAD/tools/lab.py)" in seen


def test_links_of_a_translation_lead_to_pages_of_its_site(monkeypatch):
    monkeypatch.setattr(editions, "source", lambda path, tongue: f"notebooks/zh/{Path(path).name}")
    monkeypatch.setattr(editions, "anchors", lambda path, tongue: {"#why": "#为什么"})
    text = "[a](03.ipynb#why) [b](../../data/README.md) [c](solutions/02.ipynb) ![d](../images/d.png) [e](../08.ipynb)"
    text += " [f](../../README.zh.md)"
    sources = {
        "notebooks/03.ipynb",
        "data/README.md",
        "notebooks/solutions/02.ipynb",
        "notebooks/08.ipynb",
        "README.md",
    }
    monkeypatch.setattr(Path, "exists", lambda path: True)
    assert build_site.linked(text, "notebooks/02.ipynb", sources, tongue="zh") == (
        "[a](03.ipynb#为什么) [b](../data/README.md) [c](solutions/02.ipynb) ![d](images/d.png) [e](08.ipynb)"
        " [f](../index.md)"
    )


@pytest.mark.slow
@pytest.mark.parametrize("tongue", ["", "zh"])
def test_without_solutions_nothing_leads_to_them(tmp_path, tongue):
    (tmp_path / "contents.md").write_text((build_site.WEBSITE / "contents.md").read_text(encoding="utf-8"))
    build_site.write_sources(tmp_path, solutions=False, tongue=tongue)
    assert not (tmp_path / "notebooks" / "solutions").exists()
    for path in [*tmp_path.rglob("*.md"), *tmp_path.rglob("*.ipynb")]:
        assert not re.search(r"\]\([^)]*solutions/", path.read_text(encoding="utf-8")), path


def test_the_glossary_has_every_term_and_one_translation_for_each():
    found = glossary.terms(ROOT)
    lessons = {path.name[:2] for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    assert {term.lesson[:2] for term in found} == lessons and len(found) > 50
    chinese = {}
    for term in found:
        assert chinese.setdefault(term.english, term.chinese) == term.chinese, term
    assert glossary.page(ROOT).count("\n| ") == len(found) + 2


@pytest.mark.parametrize("path", sorted((ROOT / "utils").glob("*.py")), ids=lambda path: path.stem)
def test_a_long_signature_keeps_every_argument(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            code = modules.called("def f", node.args) + ": pass"
            assert ast.dump(ast.parse(code).body[0].args) == ast.dump(node.args)
            assert len(code.splitlines()) == 1 or all(len(line) <= 120 for line in code.splitlines())


@pytest.mark.slow
def test_a_page_that_is_wrong_is_refused(tmp_path, monkeypatch):
    def broken(folder, solutions, url="", tongue=""):
        (folder / "index.md").write_text("# Start\n\n[nowhere](no-such-page.md)\n", encoding="utf-8")

    monkeypatch.setattr(build_site, "write_sources", broken)
    with pytest.raises(SystemExit, match="not right"):
        build_site.build(tmp_path / "site", explorer=False)
