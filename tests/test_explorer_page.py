"""The explorer's page in headless Chromium: loaded, typed into, pointed at, with the keyboard alone, on a phone.

Needs selenium, Chromium and its driver; axe-core (the file axe.min.js) is taken from where AXE says.
"""

import functools
import http.server
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from utils.export import browser
from utils.translate import load_translator

pytest.importorskip("selenium", reason="The page is tested with selenium, which is not installed.")
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="The page is tested in Chromium, which is not on this machine."
    ),
]


class Page:
    """A browser with one page. All that it asked for and all that it complained of is kept."""

    def __init__(self):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver, self.requests = webdriver.Chrome(options=options, service=Service(DRIVER)), []

    def open(self, address: str, width: int = 1280) -> None:
        phone = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        self.driver.get("about:blank")
        self.driver.get(address)
        self.until(lambda: self.js("return document.body.dataset.ready === 'true'"))

    def js(self, code: str, *arguments):
        return self.driver.execute_script(code, *arguments)

    def until(self, holds, limit: float = 120) -> None:
        end = time.monotonic() + limit
        while not holds():
            assert time.monotonic() < end, self.text("status")
            time.sleep(0.05)

    def find(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, name: str) -> str:
        return self.js("return document.getElementById(arguments[0]).innerText", name)

    def english(self) -> str:
        return self.text("english")

    def keys(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> str:
        return self.js("const a = document.activeElement; return a.closest('[id]').id + ': ' + a.innerText")

    def tab_to(self, name: str) -> None:
        """Press Tab until the focus is within the element of this id."""
        for _ in range(60):
            self.keys(Keys.TAB)
            if self.js("return document.getElementById(arguments[0]).contains(document.activeElement)", name):
                return
        raise AssertionError(f"Tab does not reach {name}")

    def asked_for(self) -> set[str]:
        """Addresses that the page requested since the last call."""
        log = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return {m["params"]["request"]["url"] for m in log if m["method"] == "Network.requestWillBeSent"}

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


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
    """The page on a server of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()


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
    for text in ("機器學習很有意思。", "今天天气很好。我们去公园吧！\n看 https://example.com 。", "Hello."):
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


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_axe_finds_nothing_serious(page, address, width, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page.open(address, width)
    assert page.js("return document.documentElement.scrollWidth") <= width
    if "AXE" not in os.environ:
        pytest.skip("axe-core is not here: say with AXE where its axe.min.js lies.")
    page.js(Path(os.environ["AXE"]).read_text(encoding="utf-8"))
    found = page.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    serious = [
        v["id"] + ": " + v["nodes"][0]["html"] for v in found["violations"] if v["impact"] in ("serious", "critical")
    ]
    assert serious == []
