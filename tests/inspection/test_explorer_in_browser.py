"""The page of `explore` in Chromium: steps, keyboard, mouse, every width, notebooks."""

import numpy as np
import pytest
from explored import MODELS, fitted, softmax_network

from cbp import MLPClassifier, Network, explore
from cbp.functions.losses import Huber

# -- steps -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step, sources, weights",
    [(1, [0], [1]), (3, [1], [2]), (9, [3], [3]), (12, [0, 1, 2, 3], [1, 2, 3])],
    ids=["z1", "z2", "delta2", "gradient"],
)
def test_steps_show_what_they_compute_from(step, sources, weights, open_page):
    page = open_page(explore(*fitted("classes")))
    page.go_to(step)
    assert page.layers(".nodes.source") == sources
    assert page.layers(".weights.active") == weights


@pytest.mark.parametrize(
    "step, equation",
    [
        (1, "zj1=∑kwjk1ak0+bj1"),
        (2, "aj1=g(zj1)=tanhzj1"),
        (8, "δj3=∂C0∂zj3=∑m∂C0∂am3·∂am3∂zj3=aj3\N{MINUS SIGN}yj"),
        (9, "δj2=(∑mwmj3δm3)·g\N{PRIME}(zj2)"),
        (11, "∂C0∂bjl=δjl"),
        (12, "∂C0∂wjkl=akl\N{MINUS SIGN}1·δjl"),
    ],
    ids=["forward", "activation", "BP1", "BP2", "BP3", "BP4"],
)
def test_steps_state_their_equation(step, equation, open_page):
    page = open_page(explore(*fitted("classes")))
    page.go_to(step)
    assert page.texts("#step-equation math") == [equation]


def test_functions_that_the_page_does_not_know_stand_as_their_records_have_them(
    open_page,
):
    functions = {"activation": "gelu", "loss": "huber"}
    net = Network((2, 2, 1), random_state=0, **functions)
    page = open_page(explore(net, np.eye(2), np.ones(2)))
    page.go_to(2)
    assert page.texts("#step-equation math") == ["aj1=g(zj1)=z Phi(z)"]
    page.go_to(5)
    assert Huber.formula in page.texts("#step-equation math")[0]
    page.go_to(6)
    assert page.texts("#step-equation math")[0].startswith("δj2=∂C0∂zj2=")


# -- hands -----------------------------------------------------------------------------


def test_the_keyboard_is_enough(open_page):
    page = open_page(explore(*fitted("classes")))
    for _ in range(12):
        page.press("TAB")
        if page.script("return document.activeElement.closest('svg') !== null"):
            break
    assert page.focused().startswith("x0, node 0 of the input, a ")
    page.press("ARROW_DOWN")
    assert page.focused().startswith("x1, node 1 of the input")
    page.press("ARROW_RIGHT")
    assert page.focused() == "weight from node 1 of the input to node 0 of layer 1"
    page.press("ARROW_DOWN")
    assert page.focused() == "weight from node 1 of the input to node 1 of layer 1"
    page.press("ENTER")
    assert page.texts("#details-title")[0].lower() == page.focused()
    page.press("ARROW_RIGHT")
    assert page.focused().startswith("node 1 of layer 1")
    page.press("SPACE")
    assert page.texts("#details-title") == ["Node 1 of layer 1"]
    page.press("ESCAPE")
    assert page.focused() == "Next step"
    page.press("ARROW_RIGHT")
    assert page.texts("#step-phase")[0].endswith("step 2 of 14")
    page.press("ARROW_LEFT", "ARROW_LEFT")
    assert page.texts("#step-phase")[0].endswith("step 1 of 14")


def test_the_focus_can_be_seen(open_page):
    page = open_page(explore(*fitted("classes")))
    for selector, styled in [
        (".node", ".node:focus-visible .disc"),
        ("line", "line:focus-visible"),
        ("#next", "#next:focus-visible"),
    ]:
        # Before is the look without focus; the key makes it the keyboard's.
        look = """const e = document.querySelector(arguments[0]);
          const s = getComputedStyle(e.querySelector(".disc") ?? e);
          return [s.outlineStyle, s.outlineWidth, s.stroke, s.strokeWidth].join();"""
        before = page.script(look, selector)
        page.script("document.querySelector(arguments[0]).focus()", selector)
        page.press("SHIFT")
        assert page.find_all(styled)
        page.script("document.getAnimations().forEach((a) => a.finish())")
        assert page.script(look, selector) != before


def test_clicks_open_nodes_and_weights(open_page):
    page = open_page(explore(*fitted("classes")))
    page.find(".nodes[data-layer='2'] .node:nth-of-type(2) .right").click()
    assert page.texts("#details-title") == ["Node 1 of layer 2"]
    line = page.find(".weights[data-layer='1'] line")
    x1, x2, y1, y2 = (float(line.get_attribute(n)) for n in ("x1", "x2", "y1", "y2"))
    picture = page.find("#drawing svg")
    page.click(picture, x1 + 0.2 * (x2 - x1), y1 + 0.2 * (y2 - y1))
    title = "Weight from node 0 of the input to node 0 of layer 1"
    assert page.texts("#details-title") == [title]
    assert len(page.find_all("line.selected")) == 1


def test_steps_are_announced(open_page):
    page = open_page(explore(*fitted("classes")))
    live = page.find("[aria-live=polite]:has(#step-title)")
    before = live.text
    page.find("#next").click()
    assert "weighted inputs of layer 1" in live.text and live.text != before
    assert page.find("#details-title").get_attribute("aria-live") == "polite"


# -- eyes ------------------------------------------------------------------------------

LOOKS = ("classes", "numbers", "no hidden layer")


def too_small(page):
    """Texts of less than 12 pixels."""
    return page.script(
        """const found = [];
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
          const { parentElement: e, data } = texts.currentNode;
          const isShown = data.trim() && e.getClientRects().length > 0;
          const size = parseFloat(getComputedStyle(e).fontSize);
          if (isShown && size < 12) found.push(data);
        }
        return found;"""
    )


@pytest.mark.parametrize("width", [400, 900, 1600])
@pytest.mark.parametrize("name", LOOKS)
def test_pages_fit_every_width_with_legible_text(name, width, open_page):
    page = open_page(explore(*fitted(name)), width)
    for view in (0, 1):
        page.choose(view)
        for step in range(len(page.find_all("#steps input"))):
            page.go_to(step)
            assert too_small(page) == []
        for opens, part in [(page.open_node, (1, 0)), (page.open_weight, (1, 0, 0))]:
            opens(*part)
            for pane in ("update", "loss"):
                page.find(f"#panes [value={pane}]").click()
                assert page.script(
                    "return document.documentElement.scrollWidth <= innerWidth"
                )
                assert too_small(page) == []


@pytest.mark.parametrize("width", [400, 1600])
def test_wide_and_deep_networks_scroll_in_their_place(width, open_page):
    net, X, y = softmax_network((64, *[40] * 12, 35), 30)
    page = open_page(explore(net, X, y), width)
    for step in (0, 20, 40):
        page.go_to(step)
        assert page.script("return document.documentElement.scrollWidth <= innerWidth")
        (layer, *_) = page.layers(".nodes.target") or [None]
        if layer is not None:  # what is computed is in sight
            place = page.find("#drawing").rect
            node = page.find(f".nodes[data-layer='{layer}'] .node").rect
            assert place["x"] <= node["x"] <= place["x"] + place["width"]


def test_labels_are_text_in_the_page_too(open_page):
    nasty = "<img src=x onerror=alert(1)></script><b>&amp;"
    X, y = np.eye(3), np.array([nasty, "other", "third"])
    est = MLPClassifier((2,), solver="lbfgs", random_state=0).fit(X, y)
    page = open_page(explore(est, X, y), 400)
    assert nasty in page.texts(".node title")
    assert any(nasty in text for text in page.texts("#view option"))
    assert page.find_all("img, b") == []
    assert page.script("return document.documentElement.scrollWidth <= innerWidth")


def test_the_page_is_dark_where_the_system_is(open_page):
    def background(scheme):
        media = [("prefers-color-scheme", scheme)]
        page = open_page(explore(*fitted("number")), media=media)
        style = "return getComputedStyle(document.body).backgroundColor"
        return sum(int(part) for part in page.script(style)[4:-1].split(","))

    assert background("dark") < 150 < 600 < background("light")


@pytest.mark.parametrize("motion, moves", [("reduce", False), ("no-preference", True)])
def test_nothing_moves_for_those_who_do_not_want_it(motion, moves, open_page):
    media = [("prefers-reduced-motion", motion)]
    page = open_page(explore(*fitted("number")), media=media)
    style = "return getComputedStyle(document.querySelector('line')).transitionDuration"
    assert (page.script(style) != "0s") == moves


def test_print_leaves_out_what_only_a_screen_needs(open_page, browser):
    page = open_page(explore(*fitted("number")))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not page.find("nav").is_displayed() and page.find("#drawing").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_notebooks_show_it_without_leaks(open_page, browser, tmp_path):
    explorer = explore(*fitted("classes"))
    host = tmp_path / "notebook.html"
    host.write_text(
        "<!DOCTYPE html><meta charset='utf-8'><h1 id='headline'>Mine</h1>"
        f"<div>{explorer._repr_html_()}</div>",
        encoding="utf-8",
    )
    page = open_page(explorer)
    browser.get(host.as_uri())
    look = "return getComputedStyle(document.querySelector('h1')).fontSize"
    assert page.script(look) == "32px"
    browser.switch_to.frame(page.find("iframe"))
    assert page.texts("#step-phase")[0].endswith("step 1 of 14")
    page.find("#next").click()
    assert page.texts("#step-phase")[0].endswith("step 2 of 14")
    page.open_node(1, 0)
    assert page.texts("#details-title") == ["Node 0 of layer 1"]
    browser.switch_to.default_content()
    assert page.texts("#headline") == ["Mine"]


def test_all_kinds_of_models_have_a_page(open_page):
    for name in MODELS:
        page = open_page(explore(*fitted(name)))
        assert page.find_all(".node") and page.texts("#step-title") == ["The input"]
