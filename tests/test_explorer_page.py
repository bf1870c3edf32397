"""The explorer's page in headless Chromium: loaded, typed into, pointed at, with the keyboard alone, on a phone.

Needs what tests/helpers/chromium.py needs.
"""

import functools

import pytest
from helpers.chromium import By, Keys, Page, needs_chromium, served, webdriver

from utils.export import browser
from utils.translate import load_translator

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def translator():
    return load_translator(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, translator):
    out = tmp_path_factory.mktemp("explorer")
    browser.write(translator.model, translator.tokenizer, out)
    return out


@pytest.fixture(scope="module")
def address(folder):
    with served(folder) as where:
        yield where + "index.html"


@pytest.fixture(scope="module")
def page():
    page = Page()
    yield page
    page.driver.quit()


def test_it_loads_from_a_server_and_from_the_disk_and_asks_nobody_else(page, address, folder, translator):
    for where in (address, (folder / "index.html").as_uri()):
        page.open(where)
        assert page.english() == translator.translate("他昨天买了一本书。")
        own = where.rsplit("/", 1)[0]
        assert all(url.startswith((own, "data:", "about:")) for url in page.asked_for())
        assert page.complaints() == []


def test_what_is_typed_is_translated_as_in_python(page, address, translator):
    page.open(address)
    looping = "汤姆星期一来的,第二天返回了。"
    assert translator.translate(looping) != translator.translate(looping, no_repeat=0)
    for text in ("機器學習很有意思。", "今天天气很好。我们去公园吧！\n看 https://example.com 。", looping, "Hello."):
        box = page.find("#zh")
        box.clear()
        box.send_keys(text)
        page.until(functools.partial(lambda want: page.english() == want, translator.translate(text)))
    assert "Chinese characters" in page.text("status")
    assert not page.find("#inside").is_displayed()


def test_pointing_at_a_token_shows_where_it_looks(page, address):
    page.open(address)
    before, tokens = page.text("said"), page.driver.find_elements(By.CSS_SELECTOR, "#lines .asks button")
    webdriver.ActionChains(page.driver).move_to_element(tokens[3]).perform()
    assert page.text("said") != before and f"“{tokens[3].text}”" in page.text("said")
    assert f"“{tokens[3].text}”" in page.text("arithmetic-explained")
    assert len(page.driver.find_elements(By.CSS_SELECTOR, "#lines line")) >= 1


def test_a_token_of_the_decoder_asks_none_that_comes_later(page, address):
    page.open(address + "#kind=self")
    tokens = page.driver.find_elements(By.CSS_SELECTOR, "#lines .asks button")
    for i, token in enumerate(tokens):
        token.click()
        assert 1 <= len(page.driver.find_elements(By.CSS_SELECTOR, "#lines line")) <= i + 1


def test_a_part_of_the_page_can_stand_in_another(page, address):
    page.open(address + "#embed=steps&zh=机器学习", width=800)
    shown = [name for name in ("attention", "arithmetic", "steps", "tree") if page.find(f"#{name}-view").is_displayed()]
    assert shown == ["steps"] and page.english() and not page.find("header").is_displayed()


def test_a_step_and_another_token(page, address):
    page.open(address)
    page.find("#forth").click()
    assert page.text("step-said").startswith("Step 2 of")
    best = page.driver.find_elements(By.CSS_SELECTOR, "#best button")
    assert len(best) == 10
    english, other = page.english(), best[1].text.split("\n")[0].strip("-")
    best[1].click()
    page.until(lambda: page.english() != english)
    assert other in page.english()
    page.find("#free").click()
    page.until(lambda: page.english() == english)


def test_heads_off_change_the_translation_and_come_back(page, address):
    page.open(address)
    english = page.english()
    for i in range(len(page.driver.find_elements(By.CSS_SELECTOR, "#heads .switch"))):
        page.driver.find_elements(By.CSS_SELECTOR, "#heads .switch")[i].click()
        page.until(lambda n=i + 1: len(page.driver.find_elements(By.CSS_SELECTOR, "#heads .silent")) == n)
    assert page.english() != english  # the decoder hears nothing of the source
    assert english in page.text("off")
    page.find("#off button").click()
    page.until(lambda: page.english() == english)


def test_the_keyboard_is_enough(page, address):
    page.open(address)
    page.find("body").click()
    page.tab_to("examples")
    page.keys(Keys.ARROW_RIGHT, Keys.ENTER)
    page.tab_to("beam")
    page.tab_to("kinds")
    page.keys(Keys.HOME, Keys.ENTER)
    assert "encoder" in page.text("kind-explained").lower()
    page.tab_to("lines")
    before = page.text("said")
    page.keys(Keys.ARROW_RIGHT)
    assert page.text("said") != before
    page.tab_to("heads")
    page.keys(Keys.ENTER, Keys.TAB, Keys.ENTER)
    page.until(lambda: "Off:" in page.text("off"))
    assert page.focused().startswith("heads")  # and has not been lost
    page.tab_to("arithmetic")
    page.tab_to("said-so-far")
    page.keys(Keys.ARROW_RIGHT, Keys.ENTER)
    assert page.text("step-said").startswith("Step 2")
    page.tab_to("best")
    page.keys(Keys.ARROW_DOWN, Keys.ENTER)
    page.until(lambda: "chosen is" in page.text("step-said"))
    page.tab_to("tree")
    page.keys(Keys.TAB, Keys.END)
    assert page.text("tree-said")


def test_no_choice_by_keyboard_loses_the_focus(page, address):
    page.open(address + "#zh=今天天气很好。我们去公园吧！")
    first = page.english()
    page.tab_to("pieces")
    page.keys(Keys.ARROW_RIGHT, Keys.ENTER)
    page.until(lambda: page.js("return document.querySelector('#pieces').children[1].ariaPressed === 'true'"))
    page.until(lambda: page.focused().startswith("pieces"))
    page.tab_to("heads")
    page.keys(Keys.TAB, Keys.ENTER)
    page.until(lambda: "Off:" in page.text("off"))
    page.tab_to("off")
    page.keys(Keys.ENTER)
    page.until(lambda: not page.text("off"))
    assert page.focused().startswith("heads") and page.english() == first


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_axe_finds_nothing_serious(page, address, width, scheme):
    page.scheme(scheme)
    page.open(address, width)
    assert page.js("return document.documentElement.scrollWidth") <= width
    assert page.serious() == []
