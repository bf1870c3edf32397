"""The website in headless Chromium: every page fits a phone, complains of nothing and asks nobody else; axe-core looks.

Needs what tests/helpers/chromium.py needs, and Sphinx.
"""

import pytest
from helpers.chromium import Keys, Page, needs_chromium, served

from tools import build_site

pytest.importorskip("sphinx", reason="Sphinx is not installed: `make site` installs it")
pytestmark = [pytest.mark.slow, needs_chromium]
READY = (
    "document.readyState === 'complete' && (!document.querySelector('.math') || !!document.querySelector('mjx-math'))"
)
# One page of each kind.
KINDS = ("index", "notebooks/02_self_attention", "notebooks/solutions/05_positional_encoding", "notebooks/glossary")
KINDS += ("benchmarks/results/decoding", "data/README", "utils/index", "utils/config", "search", "zh/index")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("website") / "site"
    build_site.build(out, explorer=False)
    return out


@pytest.fixture(scope="module")
def address(site):
    with served(site) as where:
        yield where


@pytest.fixture(scope="module")
def page():
    page = Page()
    yield page
    page.driver.quit()


@pytest.mark.timeout(1800)
def test_every_page_fits_a_phone_complains_of_nothing_and_asks_nobody_else(site, address, page):
    names = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html"))]
    assert len(names) > 40
    for name in names:
        page.open(address + name, 390, READY)
        page.js("document.querySelectorAll('details:not(.explorer)').forEach((part) => (part.open = true))")
        assert page.js("return document.documentElement.scrollWidth") <= 390, name
        assert page.js("return [...document.images].filter((i) => i.complete && !i.naturalWidth).length") == 0, name
        assert page.js("return document.querySelectorAll('mjx-merror').length") == 0, name
        assert all(url.startswith((address, "data:", "about:", "blob:")) for url in page.asked_for()), name
        assert page.complaints() == [], name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", KINDS)
def test_axe_finds_nothing_serious(address, page, name, scheme):
    page.scheme(scheme)
    page.open(f"{address}{name}.html", ready=READY)
    assert page.serious() == []


def test_what_is_wide_is_scrolled_by_keyboard(address, page):
    page.open(f"{address}notebooks/02_self_attention.html", 390, READY)
    wide = "[...document.querySelectorAll('pre')].find((box) => box.scrollWidth > box.clientWidth)"
    page.until(lambda: page.js(f"return {wide}.tabIndex") == 0)
    page.js(f"{wide}.focus()")
    page.keys(*[Keys.ARROW_RIGHT] * 5)
    page.until(lambda: page.js(f"return {wide}.scrollLeft") > 0)


def test_a_picture_that_gave_way_to_its_live_figure_takes_no_focus(address, page):
    page.open(f"{address}notebooks/02_self_attention.html", 1280, READY)
    page.until(lambda: page.js("return document.querySelectorAll('.explorable').length") > 0)
    hidden = "[...document.images].filter((image) => image.style.display === 'none')"
    assert page.js(f"return {hidden}.length") > 0
    assert page.js(f"return {hidden}.every((image) => !image.closest('a')?.checkVisibility())")
