"""A page in headless Chromium, on a server of this machine, looked at by axe-core.

Needs selenium, Chromium and its driver; axe-core (the file axe.min.js) is taken from where AXE says.
"""

import contextlib
import functools
import http.server
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="The page is tested with selenium, which is not installed.")
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="The page is tested in Chromium, which is not on this machine."
)


class Page:
    """A browser with one page. All that it asked for and all that it complained of is kept."""

    def __init__(self):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver, self.requests = webdriver.Chrome(options=options, service=Service(DRIVER)), []

    def open(self, address: str, width: int = 1280, ready: str = "document.body.dataset.ready === 'true'") -> None:
        """Load a page, and wait until it is ready."""
        phone = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        self.driver.get("about:blank")
        self.driver.get(address)
        self.until(lambda: self.js(f"return {ready}"))

    def js(self, code: str, *arguments):
        return self.driver.execute_script(code, *arguments)

    def until(self, holds, limit: float = 120) -> None:
        end = time.monotonic() + limit
        while not holds():
            assert time.monotonic() < end, self.js("return document.body.innerText")[:500]
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

    def scheme(self, name: str) -> None:
        """What the system prefers: light or dark."""
        media = {"features": [{"name": "prefers-color-scheme", "value": name}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def serious(self) -> list[str]:
        """What axe-core finds serious or critical. The test is skipped where axe-core is not."""
        if "AXE" not in os.environ:
            pytest.skip("axe-core is not here: say with AXE where its axe.min.js lies.")
        self.js(Path(os.environ["AXE"]).read_text(encoding="utf-8"))
        found = self.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")["violations"]
        return [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")]


@contextlib.contextmanager
def served(folder: Path):
    """The address of a folder on a server of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
