"""How Sphinx builds the site (tools/build_site.py)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "The Transformer, from an RNN to a machine that translates Chinese"
html_title = html_short_title = "The Transformer"
author = "the authors of the course"
language = "en"
extensions = ["myst_nb", "sphinx_copybutton", "search_pairs"]
exclude_patterns = ["_extra", "_static", "contents.md"]
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
html_js_files = ["course.js"]
html_favicon = "_static/course.svg"
html_show_sourcelink = html_copy_source = html_show_sphinx = html_show_copyright = False
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}  # its menu would load more files
copybutton_selector = "div.cell_input div.highlight pre, div.highlight-shell pre, div.highlight-default pre"


def headings(app, page, template, context, doctree) -> None:
    """The captions of the contents are headings, and Sphinx gives them no level."""
    tree = context.get("furo_navigation_tree") or ""
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app) -> None:
    app.connect("html-page-context", headings, priority=900)  # after furo
