"""Every number on the page of `explore`, as Chromium shows it, equals the arrays."""

from types import SimpleNamespace

import numpy as np
import pytest
from explored import fitted, mean, softmax_network

from cbp import Network, explore
from cbp.formulas.formula import six_digits


def same(texts, values):
    """The texts are these numbers, to half a unit of the sixth digit."""
    shown, values = np.array(texts, float), np.array(values, float)
    np.testing.assert_allclose(shown, values, rtol=5.0001e-6, atol=1e-14)
    # Written as Python writes them, with no digit too few or too many.
    assert list(texts) == [six_digits(float(text)) for text in texts]


VIEWS = (0, 1, 2, 12)
WALKED = ("classes", "two classes", "numbers", "counts", "no hidden layer", "float32")


def seen(result, data, view):
    """The row of a view, None for the mean, and what it has to show, by quantity."""
    row = None if view == 0 else data["samples"][view - 1]["row"]
    layers = range(len(result.z))

    def of(values):
        return mean(values) if row is None else np.asarray(values)[row]

    return row, SimpleNamespace(
        a=[of(a) for a in result.a],
        z=[None, *map(of, result.z[1:])],
        delta=[None, *map(of, result.delta[1:])],
        slope=[
            None,
            *(of(result.activation_slopes(layer)) for layer in layers[1:]),
        ],
        dC0_da=[of(result.activation_grads(layer)) for layer in layers],
        y=of(result.y),
    )


def intercept_grad(result, row, layer, j):
    if row is None:
        return result.intercept_grads[layer - 1][j]
    return result.delta[layer][row, j]


def coef_grad(result, row, layer, k, j):
    if row is None:
        return result.coef_grads[layer - 1][k, j]
    return np.float64(result.a[layer - 1][row, k]) * result.delta[layer][row, j]


@pytest.mark.parametrize("name", WALKED)
def test_an_opened_node_shows_its_numbers(name, open_page):
    est, X, y = fitted(name)
    page, result = open_page(explore(est, X, y)), est.backprop(X, y)
    for view in VIEWS:
        page.choose(view)
        row, at = seen(result, page.data, view)
        for layer, values in enumerate(at.a):
            for i in range(len(values)):
                page.open_node(layer, i)
                found = page.numbers("#details")
                same(found["a"], [values[i]])
                if layer > 0:
                    same(found["z"], [at.z[layer][i]])
                    same(found["delta"], [at.delta[layer][i]])
                    same(found["slope"], [at.slope[layer][i]])
                    same(found["b"], [est.intercepts_[layer - 1][i]])
                    same(found["dC_db"], [intercept_grad(result, row, layer, i)])
                    w, below = est.coefs_[layer - 1][:, i], at.a[layer - 1]
                    same(found["z-first"], w)
                    same(found["z-second"], below)
                    same(found["z-summand"], np.float64(w) * below)
                    same(found["z-bias"], [est.intercepts_[layer - 1][i]])
                    same(found["z-total"], [at.z[layer][i]])
                if layer < page.last:
                    check_error_sum(found, est, at, layer, i)
                    same(found["dC0_da"], found["dC0_da-total"])
                else:
                    same(found["dC0_da"], [at.dC0_da[layer][i]])


def check_error_sum(found, est, at, layer, i):
    """One summand of dC_0/da^l_j for each node of the next layer."""
    w, above = np.float64(est.coefs_[layer][i]), at.delta[layer + 1]
    same(found["dC0_da-first"], w)
    same(found["dC0_da-second"], above)
    same(found["dC0_da-summand"], w * above)
    tolerance = 1e-6 if est.network_.dtype == np.float32 else 1e-12
    total = float(found["dC0_da-total"][0])
    assert abs(total - w @ above) <= 5.0001e-6 * abs(w @ above) + tolerance


@pytest.mark.parametrize("name", WALKED)
def test_an_opened_weight_shows_the_terms_of_its_derivative(name, open_page):
    est, X, y = fitted(name)
    page, result = open_page(explore(est, X, y)), est.backprop(X, y)
    for view in VIEWS:
        page.choose(view)
        row, at = seen(result, page.data, view)
        for layer in range(1, page.last + 1):
            for k, j in np.ndindex(est.coefs_[layer - 1].shape):
                page.open_weight(layer, k, j)
                found = page.numbers("#details")
                rule = result.chain_rule(layer, int(k), int(j), row)
                terms = rule.mean if row is None else rule.terms
                same(found["w"], [rule.weight])
                same(found["dz_dw"], np.ravel(terms.dz_dw))
                same(found["dC0_dw"], np.ravel(terms.dC0_dw))
                if rule.is_coupled:
                    same(found["delta"], [at.delta[layer][j]])
                else:
                    same(found["dC0_da"], np.ravel(terms.dC0_da))
                    same(found["da_dz"], np.ravel(terms.da_dz))
                if rule.is_coupled and row is not None:
                    same(found["jacobian-first"], rule.terms.dC0_da[0])
                    same(found["jacobian-second"], rule.terms.da_dz[0])
                    same(found["jacobian-summand"], rule.summands[0])
                    same(found["jacobian-total"], rule.delta)
                if layer < page.last:
                    check_error_sum(found, est, at, layer, j)
                in_formula = page.texts("#details-body > .formula > math mn")
                same(in_formula[-1:], [coef_grad(result, row, layer, k, j)])


def test_the_mean_of_a_weight_lists_the_terms_of_the_samples(open_page):
    est, X, y = fitted("numbers")
    page, result = open_page(explore(est, X, y)), est.backprop(X, y)
    page.choose(0)
    page.open_weight(1, 2, 1)
    rows = page.script(
        """return [...document.querySelectorAll("#details table.samples tbody tr")]
          .map((tr) => [...tr.cells].map((td) => td.textContent));"""
    )
    assert len(rows) == 10 and set(rows[8]) == {"…"}
    for cells, sample in zip(rows, page.data["samples"][:8], strict=False):
        rule = result.chain_rule(1, 2, 1, sample["row"])
        assert cells[0] == f"sample {sample['row']}"
        same(cells[1:], [term[0] for term in rule.terms])


def test_steps_compute_one_quantity_after_the_other(open_page):
    est, X, y = fitted("classes")  # 5-4-3-3
    page, result = open_page(explore(est, X, y)), est.backprop(X, y)
    order = [("a", 0), ("z", 1), ("a", 1), ("z", 2), ("a", 2), ("z", 3), ("a", 3)]
    order += [(None, None), ("delta", 3), ("delta", 2), ("delta", 1)]
    order += [(None, None)] * 3
    assert len(page.find_all("#steps input")) == len(order)
    for view in VIEWS:
        page.choose(view)
        _, at = seen(result, page.data, view)
        page.go_to(0)
        values = [at.a[0], *[None] * page.last]
        for step, (quantity, layer) in enumerate(order):
            if quantity:
                values[layer] = getattr(at, quantity)[layer]
                assert page.layers(".nodes.target") == [layer]
            for l, expected in enumerate(values):  # noqa: E741, the layer
                texts = page.texts(f".nodes[data-layer='{l}'] .value")
                if expected is None:
                    assert set(texts) == {""}
                else:
                    same(texts, expected)
            title = page.texts("#step-title")[0]
            page.find("#next").click()
            is_last = step == len(order) - 1
            assert (page.texts("#step-title")[0] == title) == is_last


@pytest.mark.parametrize("step", [0, 12], ids=["weight", "gradient"])
def test_lines_have_the_width_and_the_sign_of_what_they_stand_for(step, open_page):
    est, X, y = fitted("classes")
    page, result = open_page(explore(est, X, y)), est.backprop(X, y)
    row = page.data["samples"][0]["row"]
    page.go_to(step)
    for layer in range(1, page.last + 1):
        values = est.coefs_[layer - 1] if step == 0 else None
        values = result.sample_coef_grads(layer)[row] if values is None else values
        drawn = page.script(
            """return [...document.querySelectorAll(arguments[0])].map((line) => [
              Number(line.style.getPropertyValue("--share")),
              getComputedStyle(line).strokeDasharray !== "none",
            ]);""",
            f".weights[data-layer='{layer}'] line",
        )
        shares, dashed = zip(*drawn, strict=True)
        np.testing.assert_allclose(
            shares, np.abs(values.ravel()) / np.abs(values).max(), atol=6e-4
        )
        np.testing.assert_array_equal(dashed, values.ravel() < 0)


@pytest.mark.parametrize("name", WALKED)
def test_outputs_are_told_what_to_do(name, open_page):
    est, X, y = fitted(name)
    page, result = open_page(explore(est, X, y)), est.backprop(X, y)
    changes = result.wanted_changes()
    for view in VIEWS:
        page.choose(view)
        row, at = seen(result, page.data, view)
        wanted = changes.mean(axis=0) if row is None else changes[row]
        found = page.numbers("#wanted")
        same(found["a"], at.a[-1])
        same(found["y"], at.y)
        same(found["wanted"], wanted)
        same(found["wanted-z"], -at.delta[-1])
        arrows = page.texts("#wanted td:nth-child(4) .arrow")
        assert arrows == [{1: "↑", -1: "↓", 0: "·"}[s] for s in np.sign(wanted)]


@pytest.mark.parametrize("name", WALKED)
def test_the_update_and_the_loss_are_behind_a_switch(name, open_page):
    est, X, y = fitted(name)
    page, result = open_page(explore(est, X, y)), est.backprop(X, y)
    rate = est.learning_rate_init
    for view in VIEWS:
        page.choose(view)
        row, _ = seen(result, page.data, view)
        page.find("#panes [value=update]").click()
        page.open_weight(1, 0, 1 if est.coefs_[0].shape[1] > 1 else 0)
        j = min(1, est.coefs_[0].shape[1] - 1)
        w, step = (
            np.float64(est.coefs_[0][0, j]),
            rate * coef_grad(result, row, 1, 0, j),
        )
        found = page.numbers("#pane")
        same(found["learning_rate"], [rate])
        same(
            [found[key][0] for key in ("before", "change", "after")],
            [w, -step, w - step],
        )
        page.open_node(1, j)
        b = np.float64(est.intercepts_[0][j])
        step = rate * np.float64(intercept_grad(result, row, 1, j))
        found = page.numbers("#pane")
        same(
            [found[key][0] for key in ("before", "change", "after")],
            [b, -step, b - step],
        )
        page.find("#panes [value=loss]").click()
        losses = page.data["arrays"]["views"][view]
        found = page.numbers("#pane")
        same(found["loss"], [losses["loss"]])
        same(found["loss_after"], [losses["loss_after"]])
        same(found["loss_change"], [losses["loss_after"] - losses["loss"]])
        assert page.numbers("h1")["loss"] == found["loss"]


def test_numbers_are_rounded_as_python_rounds_them(open_page):
    values = [1.015625, 1.015635, 100000.5, 100001.5, 1e-5, 123456789.0, -2.5e-7]
    values += [0.0001234565, 999999.5, 999999.4, 1e300, 5e-324, 1 / 3, 1e5, 1e6, -0.0]
    net = Network((len(values), 1), params=np.zeros(len(values) + 1))
    page = open_page(explore(net, [values], [1.0]))
    for i, value in enumerate(values):
        page.open_node(0, i)
        assert page.numbers("#details")["a"] == [six_digits(value)]


def test_sums_name_what_is_not_drawn(open_page):
    net, X, y = softmax_network((40, 35, 33), 3)
    page = open_page(explore(net, X, y))
    page.open_node(1, 0)
    text = page.texts("#details")[0]
    assert "10 more" in text and "3 more" in text
    drawn = page.data["arrays"]["views"][1]["layers"][1]
    found = page.numbers("#details")
    same(found["z-rest"], drawn["z_rest"][:1])
    same(found["dC0_da-rest"], drawn["dC0_da_rest"][:1])
    assert page.texts(".count") == ["+ 10 more", "+ 5 more", "+ 3 more"]
    assert "largest mean |δ|" in page.texts("#notes")[0]
