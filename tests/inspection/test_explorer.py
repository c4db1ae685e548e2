"""`explore`: what is on its page, how it is chosen, and how it is written."""

import base64
import hashlib
import os
import re
from html import unescape

import numpy as np
import pytest
from explored import MODELS, data_of, fitted, mean, softmax_network
from scipy.sparse import csr_matrix
from sklearn.exceptions import NotFittedError

import cbp
from cbp import MLPClassifier, MLPRegressor, Network, explore
from cbp.inspection import Explorer

EXACT = dict(rtol=1e-13, atol=0)
#: Sums in another order; in float32 they are made of rounded numbers.
ROUNDED = {np.float64: dict(rtol=1e-9, atol=1e-12), np.float32: dict(atol=1e-6)}


def view_of_each_sample(data, result):
    """Pairs of a sample's row and what the page has of it."""
    rows = [sample["row"] for sample in data["samples"]]
    assert sorted(rows) == list(range(len(result.y)))  # few enough for all to be there
    return list(zip(rows, data["arrays"]["views"][1:], strict=True))


# -- numbers ----------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_quantities_of_each_sample_are_those_of_backprop(name):
    est, X, y = fitted(name)
    result, data = est.backprop(X, y), data_of(explore(est, X, y))
    x = X.toarray() if name == "sparse" else X
    for row, view in view_of_each_sample(data, result):
        assert view["loss"] == result.sample_losses[row]
        np.testing.assert_array_equal(view["layers"][0]["a"], x[row])
        np.testing.assert_array_equal(
            view["layers"][0]["dC0_da"], result.input_grads[row]
        )
        for l in range(1, len(result.z)):  # noqa: E741, the layer
            for quantity in ("z", "a", "delta"):
                np.testing.assert_array_equal(
                    view["layers"][l][quantity], getattr(result, quantity)[l][row]
                )
            np.testing.assert_allclose(
                view["layers"][l]["slope"], result.activation_slopes(l)[row], **EXACT
            )
        np.testing.assert_array_equal(view["layers"][-1]["y"], result.y[row])


@pytest.mark.parametrize("name", MODELS)
def test_the_terms_of_each_weight_are_those_of_the_chain_rule(name):
    est, X, y = fitted(name)
    result, data = est.backprop(X, y), data_of(explore(est, X, y))
    for row, view in view_of_each_sample(data, result):
        for l in range(1, len(result.z)):  # noqa: E741, the layer
            here, below = view["layers"][l], view["layers"][l - 1]
            for j in range(len(here["z"])):
                rule = result.chain_rule(l, 0, j, row)
                dC0_da, da_dz, dz_dw, dC0_dw = (term[0] for term in rule.terms)
                if rule.is_coupled:
                    np.testing.assert_allclose(here["dC0_da"], dC0_da, **EXACT)
                    np.testing.assert_allclose(here["jacobian"][j], da_dz, **EXACT)
                else:
                    np.testing.assert_allclose(here["dC0_da"][j], dC0_da, rtol=1e-10)
                    np.testing.assert_allclose(here["slope"][j], da_dz, **EXACT)
                assert below["a"][0] == dz_dw
                assert below["a"][0] * here["delta"][j] == dC0_dw


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("name", MODELS)
def test_the_first_view_is_the_mean_over_all_samples(name, weighted):
    est, X, y = fitted(name)
    weight = np.linspace(0.0, 2.0, len(y)) if weighted else None
    result = est.backprop(X, y, weight)
    data = data_of(explore(est, X, y, sample_weight=weight))
    view = data["arrays"]["views"][0]
    assert data["about"]["is_weighted"] == weighted
    assert view["loss"] == result.loss
    near = ROUNDED[est.network_.dtype.type]
    last = len(result.z) - 1
    for l in range(last + 1):  # noqa: E741, the layer
        here = view["layers"][l]
        expected = {"a": result.a[l], "dC0_da": result.activation_grads(l)}
        if l > 0:
            expected |= {"z": result.z[l], "delta": result.delta[l]}
            expected |= {"slope": result.activation_slopes(l)}
        if l == last:
            expected |= {"y": result.y}
        assert set(here) == set(expected)
        for quantity, values in expected.items():
            np.testing.assert_allclose(here[quantity], mean(values, weight), **near)


@pytest.mark.parametrize("name", MODELS)
def test_weights_and_gradients_are_those_of_the_batch(name):
    est, X, y = fitted(name)
    result, data = est.backprop(X, y), data_of(explore(est, X, y))
    near = ROUNDED[est.network_.dtype.type]
    for l, (weights, biases) in enumerate(  # noqa: E741, the layer
        zip(data["arrays"]["weights"], data["arrays"]["biases"], strict=True), 1
    ):
        np.testing.assert_array_equal(weights["w"], est.coefs_[l - 1])
        np.testing.assert_array_equal(weights["grad"], result.coef_grads[l - 1])
        np.testing.assert_array_equal(biases["b"], est.intercepts_[l - 1])
        np.testing.assert_array_equal(biases["grad"], result.intercept_grads[l - 1])
        assert ("mean" in weights) == (est.alpha > 0)
        if est.alpha:
            pull = data["about"]["shrinkage"] * est.coefs_[l - 1]
            np.testing.assert_allclose(weights["mean"] + pull, weights["grad"], **near)


@pytest.mark.parametrize("name", MODELS)
def test_losses_after_the_step_are_those_of_the_moved_network(name):
    est, X, y = fitted(name)
    result, data = est.backprop(X, y), data_of(explore(est, X, y))
    view = data["arrays"]["views"][0]
    near = ROUNDED[est.network_.dtype.type]
    moved = cbp.Network(est.network_.layer_sizes, **est.network_.settings)
    _, gradient = est.network_.loss_and_grad(result.a[0], result.y)
    moved.params_ = est.network_.params_ - 0.05 * gradient
    after, _ = moved.loss_and_grad(result.a[0], result.y)
    np.testing.assert_allclose(view["loss_after"], after, **near)
    np.testing.assert_allclose(
        view["mean_loss"] + view["penalty"], result.loss, rtol=1e-6
    )
    for row, of_one in view_of_each_sample(data, result):
        layers = range(1, len(result.z))
        grads = [result.sample_coef_grads(layer)[row] for layer in layers]
        grads += [delta[row] for delta in result.delta[1:]]
        flat = np.concatenate([grad.ravel() for grad in grads])
        moved.params_ = est.network_.params_ - 0.05 * flat
        losses = moved.backprop(result.a[0], result.y).sample_losses
        np.testing.assert_allclose(of_one["loss_after"], losses[row], **near)


def test_sums_over_nodes_that_are_not_drawn_are_one_summand():
    net, X, y = softmax_network((70, 50, 40), 6)
    data, result = data_of(explore(net, X, y)), net.backprop(X, y)
    inputs, hidden, outputs = (layer["nodes"] for layer in data["about"]["layers"])
    first, second = (np.array(layer["w"]) for layer in data["arrays"]["weights"])
    for view in data["arrays"]["views"]:
        x, h, out = (
            {name: np.array(values) for name, values in layer.items()}
            for layer in view["layers"]
        )
        z = x["a"] @ first + h["z_rest"] + net.intercepts_[0][hidden]
        np.testing.assert_allclose(z, h["z"], rtol=1e-9)
        dC0_da = second @ out["delta"] + h["dC0_da_rest"]
        np.testing.assert_allclose(dC0_da, h["dC0_da"], rtol=1e-9, atol=1e-12)
        dC0_dx = first @ h["delta"] + x["dC0_da_rest"]
        np.testing.assert_allclose(dC0_dx, x["dC0_da"], rtol=1e-9, atol=1e-12)
    for sample, view in zip(data["samples"], data["arrays"]["views"][1:], strict=True):
        out = view["layers"][2]
        delta = np.array(out["jacobian"]) @ out["dC0_da"] + out["delta_rest"]
        expected = result.delta[2][sample["row"], outputs]
        np.testing.assert_allclose(delta, expected, rtol=1e-9, atol=1e-12)
    assert len(inputs) == len(hidden) == len(outputs) == 30


def test_numbers_that_json_lacks_are_written_as_words():
    net = Network((1, 1), output_activation="exp", loss="poisson", params=[1.0, 0.0])
    page = data_of(explore(net, [[-800.0]], [1.0]))
    assert page["arrays"]["views"][1]["layers"][1]["dC0_da"] == ["-inf"]


# -- what is chosen ------------------------------------------------------------------


def test_nodes_with_the_largest_errors_and_effects_are_drawn():
    net, X, y = softmax_network((50, 45, 3), 40)
    result = net.backprop(X, y)
    layers = data_of(explore(net, X, y))["about"]["layers"]
    effects = np.abs(X * result.input_grads).mean(axis=0)
    assert layers[0]["nodes"] == sorted(np.argsort(-effects)[:30])
    sizes = np.abs(result.delta[1]).mean(axis=0)
    assert layers[1]["nodes"] == sorted(np.argsort(-sizes)[:30])
    assert layers[2]["nodes"] == [0, 1, 2]
    assert [layer["size"] for layer in layers] == [50, 45, 3]


def test_samples_that_pull_hardest_can_be_chosen():
    net, X, y = softmax_network((4, 3, 3), 100)
    rows = [sample["row"] for sample in data_of(explore(net, X, y))["samples"]]
    np.testing.assert_array_equal(rows, net.backprop(X, y).most_influential(24))


@pytest.mark.parametrize(
    "sizes, n",
    [
        ((784, 256, 128, 10), 5000),
        ((64, *[64] * 19, 10), 500),
        ((1, 1), 1),
        ((3, *[40] * 499, 60), 30),
        ((20_000, 3), 5),
        ((2, 3000), 5),
    ],
    ids=["mnist", "twenty layers", "one weight", "deepest", "wide", "many outputs"],
)
def test_pages_stay_below_a_megabyte(sizes, n):
    net, X, y = softmax_network(sizes, n, alpha=1.0)
    explorer = explore(net, X, y)
    assert len(explorer.html.encode()) < 1_000_000
    data = data_of(explorer)
    assert len(data["arrays"]["views"]) == len(data["samples"]) + 1 >= 2
    assert max(len(layer["nodes"]) for layer in data["about"]["layers"]) <= 30


def test_the_model_stays_as_it_is():
    est, X, y = fitted("classes")
    before, parameters = est.network_.copy_params(), est.get_params()
    explore(est, X, y)
    np.testing.assert_array_equal(est.network_.copy_params(), before)
    assert est.get_params() == parameters


# -- words ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["classes", "two classes", "sparse", "float32"])
def test_samples_have_their_label_and_the_predicted_one(name):
    est, X, y = fitted(name)
    for sample in data_of(explore(est, X, y))["samples"]:
        assert sample["truth"] == y[sample["row"]]
        assert sample["predicted"] == est.predict(X)[sample["row"]]


def test_samples_of_several_labels_have_them_all():
    est, X, _ = fitted("labels")
    y = np.ones((len(est.predict(X)), 3), dtype=int)
    y[0] = 0
    truths = {
        sample["row"]: sample["truth"]
        for sample in data_of(explore(est, X, y))["samples"]
    }
    assert truths[0] == "no label"
    assert truths[1] == "0, 1, 2"


def test_samples_of_a_regression_have_numbers():
    est, X, y = fitted("numbers")
    sample = data_of(explore(est, X, y))["samples"][0]
    assert sample["truth"] == ", ".join(f"{value:.6g}" for value in y[sample["row"]])


def test_inputs_and_outputs_have_the_names_that_users_know():
    pandas = pytest.importorskip("pandas")
    _, X, y = fitted("classes")
    frame = pandas.DataFrame(X, columns=["length", "width", "a", "b", "c"])
    est = MLPClassifier((2,), solver="lbfgs", random_state=0).fit(frame, y)
    layers = data_of(explore(est, frame, y))["about"]["layers"]
    assert layers[0]["labels"] == ["length", "width", "a", "b", "c"]
    assert layers[-1]["labels"] == ["ant", "bee", "cow"]


def test_the_single_output_of_two_classes_is_named_for_the_second():
    est, X, y = fitted("two classes")
    assert data_of(explore(est, X, y))["about"]["layers"][-1]["labels"] == ["yes"]


@pytest.mark.parametrize(
    "label",
    [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "<img src=x onerror=alert(1)>",
        "&quot;'\"\\",
        "\u2028\0\u2029",
        "\ud800",
        "@script@@data@@style@",
        "x" * 100_000,
    ],
    ids=["script", "comment", "image", "quotes", "lines", "half", "marks", "long"],
)
def test_labels_are_text_whatever_they_say(label, tmp_path):
    X, y = np.eye(4), np.array([label, "other", label, "third"], dtype=object)
    est = MLPClassifier((2,), solver="lbfgs", random_state=0).fit(X, y)
    explorer = explore(est, X, y, tmp_path / "page.html")
    shown = label if len(label) <= 60 else label[:59] + "…"
    assert shown in data_of(explorer)["about"]["layers"][-1]["labels"]
    assert len(re.findall(r"</?script", explorer.html)) == 4
    assert "<!--" not in explorer.html and "<img" not in explorer.html
    assert len(explorer.html.encode()) < 1_000_000


# -- the page as a file ----------------------------------------------------------------


def page_of(name="classes"):
    return explore(*fitted(name))


def test_the_page_needs_nothing_besides_itself():
    html = page_of().html
    namespaces = {"1999/xhtml", "2000/svg", "1998/Math/MathML"}
    assert set(re.findall(r"https?://([^\"'\s]*)", html)) == {
        f"www.w3.org/{name}" for name in namespaces
    }
    assert re.findall(r"\b(?:src|href)=\"(.*?)\"", html) == ["data:,"]
    for loader in ("url(", "@import", "fetch(", "XMLHttpRequest", "import ", "eval("):
        assert loader not in html


def test_the_policy_of_the_page_allows_its_own_program_and_style_only():
    html = page_of().html
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', html)
    (script,) = re.findall(r'<script type="module">(.*?)</script>', html, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    ]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; "
        f"script-src 'sha256-{hashes[1]}'; img-src data:"
    )


def test_notebooks_show_the_page_in_a_document_of_its_own():
    explorer = page_of()
    frame = explorer._repr_html_()
    (source,) = re.findall(r'^<iframe srcdoc="(.*?)"', frame, re.DOTALL)
    assert unescape(source) == explorer.html
    assert 'sandbox="allow-scripts"' in frame


def test_its_repr_says_what_it_is():
    assert re.fullmatch(r"Explorer\(\d+ kB of HTML; .*\)", repr(page_of()))


@pytest.mark.parametrize("kind", [str, os.fspath, lambda path: path])
def test_the_page_is_written_to_a_path(kind, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    explorer = explore(*fitted("number"), kind(path))
    assert isinstance(explorer, Explorer)
    assert path.read_text(encoding="utf-8") == explorer.html
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_path_that_is_a_link_is_written_where_it_leads(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "page.html", tmp_path / "link.html"
    link.symlink_to(target)
    explorer = page_of()
    explorer.save(link)
    assert link.is_symlink() and target.read_text(encoding="utf-8") == explorer.html


@pytest.mark.parametrize(
    "where, error",
    [("nowhere/page.html", FileNotFoundError), ("folder", IsADirectoryError)],
    ids=["no folder", "a folder"],
)
def test_a_path_that_cannot_be_written_is_named(where, error, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(error, match="make its folder, or give the path") as raised:
        page_of().save(tmp_path / where)
    assert raised.value.filename == str(tmp_path / where)
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == []


def test_a_page_that_cannot_be_finished_leaves_the_file_of_before(
    tmp_path, monkeypatch
):
    path = tmp_path / "page.html"
    path.write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        page_of().save(path)
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["page.html"]


# -- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, error, words",
    [
        (lambda X, y: (X[:0], y[:0]), ValueError, "0 sample"),
        (lambda X, y: (np.where(X > 0, np.nan, X), y), ValueError, "NaN"),
        (lambda X, y: (X[:, :2], y), ValueError, "2 features"),
        (lambda X, y: (X, y[:-1]), ValueError, "inconsistent"),
        (lambda X, y: (X, np.full(len(y), "dog")), ValueError, "dog"),
        (lambda X, y: (csr_matrix(X)[:, :1], y), ValueError, "1 features"),
    ],
    ids=["empty", "NaN", "columns", "rows", "class", "sparse"],
)
def test_data_that_does_not_fit_is_refused(change, error, words, tmp_path):
    est, X, y = fitted("classes")
    with pytest.raises(error, match=words):
        explore(est, *change(X, y), tmp_path / "page.html")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("est", [MLPClassifier(), MLPRegressor()])
def test_an_estimator_that_is_not_fitted_is_refused(est):
    with pytest.raises(NotFittedError):
        explore(est, [[0.0]], [0])


def test_what_is_no_network_is_refused():
    with pytest.raises(TypeError, match="of the type str"):
        explore("a network", [[0.0]], [0])


def test_networks_too_deep_for_a_page_are_refused():
    net, X, y = softmax_network([1] * 502, 2)
    with pytest.raises(ValueError, match=r"501 layers; explore shows at most 500\."):
        explore(net, X, y)
