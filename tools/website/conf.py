"""How Sphinx builds the site (tools/build_site.py), in the language that TRANSFORMER_COURSE_LANGUAGE names."""

import gettext
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tools import editions
from utils.language import language as learner

tongue = "" if learner() == "en" else learner()
language = editions.LOCALES[tongue]
project, html_title = editions.TITLES[tongue]
html_short_title = html_title
author = "the authors of the course"
extensions = ["myst_nb", "sphinx_copybutton", "search_pairs"]
exclude_patterns = ["_*", "contents.md", "jupyter_execute"]
nb_execution_mode = "off"  # the lessons are shown as they are stored
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # exercises with a gap are no Python
html_theme = "furo"
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["_static"]
html_extra_path = ["_extra"]
html_css_files = ["course.css"]
html_search_language = "en"  # search_pairs finds both
html_js_files = ["course.js"]
html_favicon = "_static/course.svg"
html_show_sourcelink = html_copy_source = html_show_sphinx = html_show_copyright = False
templates_path = ["_templates"]
html_sidebars = {
    "**": ["sidebar/brand.html", "languages.html"]
    + [f"sidebar/{name}.html" for name in ("search", "scroll-start", "navigation", "scroll-end")]
}
# In a folder of its own, another language takes MathJax from the English site.
mathjax_path = "../" * 2 * bool(tongue) + "_static/" * bool(tongue) + "mathjax/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}  # its menu would load more files
copybutton_selector = "div.cell_input div.highlight pre, div.highlight-shell pre, div.highlight-default pre"

translated = {
    *editions.translated("zh", Path(__file__).parent),
    *("notebooks/glossary", "search", "genindex"),
}


class Words(gettext.NullTranslations):
    """What Sphinx itself does not translate of the theme's words."""

    def gettext(self, message: str) -> str:
        return editions.word(message, tongue)


def languages_of(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """What the templates must know of a page's languages."""
    root, page = context["content_root"], f"{pagename}.html"
    context |= {"tongue": tongue, "is_translated": pagename in translated}
    context["english_page"] = root + "../" * bool(tongue) + page
    context["chinese_page"] = root + "zh/" * (not tongue) + page
    context["untranslated"] = editions.word("This page is not translated yet.", tongue)
    context["language_word"] = editions.word("Language", tongue)
    context["side_bars"] = [editions.word(name, tongue) for name in ("The course", "This page")]


def headings(app, page, template, context, doctree) -> None:
    """The captions of the contents are headings, and Sphinx gives them no level."""
    tree = context.get("furo_navigation_tree") or ""
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app) -> None:
    app.connect("builder-inited", lambda app: app.builder._translator and app.builder._translator.add_fallback(Words()))
    app.connect("html-page-context", languages_of)
    app.connect("html-page-context", headings, priority=900)  # after furo
