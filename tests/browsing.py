"""Chromium without a window, and the page of `explore` in its hands.

The browser and its driver come from the system's packages (Debian: chromium,
chromium-driver), selenium from ``pip install compiled-backprop[browser]``. Where they
are missing the tests are skipped; with CBP_BROWSER=required they fail.
"""

import json
import os
import shutil

import pytest

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.select import Select
except ImportError:
    webdriver = None

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

#: Root may not use the sandbox, and containers have a small /dev/shm.
SWITCHES = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage")


def start_browser():
    """A driver of Chromium that writes down messages and requests."""
    needed = {"chromium": CHROMIUM, "chromedriver": DRIVER, "selenium": webdriver}
    missing = [name for name, found in needed.items() if not found]
    if missing:
        is_required = os.environ.get("CBP_BROWSER") == "required"
        refuse = pytest.fail if is_required else pytest.skip
        refuse(f"install {', '.join(missing)} to test the explorer in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in SWITCHES:
        options.add_argument(switch)
    logs = {"browser": "ALL", "performance": "ALL"}
    options.set_capability("goog:loggingPrefs", logs)
    return webdriver.Chrome(options, Service(DRIVER))


def resize(browser, width, height=900):
    size = dict(width=width, height=height, deviceScaleFactor=1, mobile=False)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def prefer(browser, media):
    """Pretend that the system has preferences: pairs of a media feature and a value."""
    features = [{"name": name, "value": value} for name, value in media]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def requests_of(browser):
    """The addresses of all requests since this was asked last."""
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


class Page:
    """What a reader does with the page, and what is to be read there then."""

    def __init__(self, browser):
        self.browser = browser
        data = "return document.getElementById('data').textContent"
        self.data = json.loads(self.script(data))
        self.last = len(self.data["about"]["layers"]) - 1

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def script(self, text, *arguments):
        return self.browser.execute_script(text, *arguments)

    def texts(self, selector):
        find = "return [...document.querySelectorAll(arguments[0])].map"
        return self.script(f"{find}((e) => e.textContent)", selector)

    def choose(self, view):
        Select(self.find("#view")).select_by_value(str(view))

    def press(self, *keys):
        """Press keys by their names, as TAB or ARROW_DOWN."""
        pressed = (getattr(Keys, key) for key in keys)
        ActionChains(self.browser).send_keys(*pressed).perform()

    def click(self, element, x, y):
        """Click a point of an element, counted from its upper left corner."""
        size = element.size
        offset = round(x - size["width"] / 2), round(y - size["height"] / 2)
        mouse = ActionChains(self.browser)
        mouse.move_to_element_with_offset(element, *offset).click().perform()

    def layers(self, selector):
        """The layers of the groups of nodes or weights that the selector finds."""
        groups = self.find_all(selector)
        return [int(group.get_attribute("data-layer")) for group in groups]

    def go_to(self, step):
        self.script(
            "document.querySelectorAll('#steps input')[arguments[0]].click()", step
        )

    def open(self, selector, index):
        """Focus a part of the drawing and open it, as the Enter key does."""
        self.script(
            """const part = document.querySelectorAll(arguments[0])[arguments[1]];
            const enter = {key: "Enter", bubbles: true};
            part.focus();
            part.dispatchEvent(new KeyboardEvent("keydown", enter));""",
            selector,
            index,
        )

    def open_node(self, layer, i):
        self.open(f".nodes[data-layer='{layer}'] .node", i)

    def open_weight(self, layer, k, j):
        n_out = len(self.data["about"]["layers"][layer]["nodes"])
        self.open(f".weights[data-layer='{layer}'] line", k * n_out + j)

    def numbers(self, within):
        """name -> the texts of the numbers that have it, in their order."""
        pairs = self.script(
            """return [...document.querySelectorAll(arguments[0] + " [data-name]")]
              .filter((e) => e.classList.contains("number"))
              .map((e) => [e.dataset.name, e.textContent]);""",
            within,
        )
        found = {}
        for name, text in pairs:
            found.setdefault(name, []).append(text)
        return found

    def focused(self):
        return self.script("return document.activeElement.getAttribute('aria-label')")
