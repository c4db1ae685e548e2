"""Fixtures that several modules use."""

import pytest
from browsing import Page, prefer, requests_of, resize, start_browser
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="module")
def one_thread():
    """Threads make nothing of small products but spin for the cores of others."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def browser():
    """Chromium, where it is installed."""
    driver = start_browser()
    yield driver
    driver.quit()


@pytest.fixture
def open_page(browser, tmp_path):
    """Opens pages of `explore`; in the end none had an error, or asked for anything."""

    def opened(explorer, width=1200, media=()):
        path = tmp_path / "page.html"
        explorer.save(path)
        resize(browser, width)
        prefer(browser, media)
        browser.get(path.as_uri())
        return Page(browser)

    for log in ("browser", "performance"):
        browser.get_log(log)
    yield opened
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    assert {url.split(":")[0] for url in requests_of(browser)} <= {"file", "data"}
