"""What a result of backpropagation tells beyond its arrays, and how one gets it."""

import tracemalloc

import numpy as np
import pytest
from drop_in import CLASSIFIERS, REGRESSORS, samples
from problems import PAIRS, draw_targets
from scipy.sparse import csr_array
from scipy.special import expit, softmax
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier as TheirClassifier

import cbp
from cbp import MLPClassifier, MLPRegressor, Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SIZES = (3, 4, 2, 3)


def draw_network(loss="squared_error", output="tanh", **settings):
    return Network(
        SIZES,
        activation="tanh",
        output_activation=output,
        loss=loss,
        random_state=0,
        **settings,
    )


def draw_samples(loss="squared_error", output="tanh", n=6):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3)), draw_targets(rng, loss, output, (n, 3))


def gradients_one_by_one(net, X, y):
    """The flat gradient of each sample, by itself and without penalty."""
    rows = [slice(i, i + 1) for i in range(len(X))]
    return np.array([net.loss_and_grad(X[row], y[row])[1] for row in rows])


# -- derivatives by layer ----------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_activation_grads_times_slopes_are_the_error_signals(pair):
    result = draw_network(*pair).backprop(*draw_samples(*pair))
    layers = range(1, 3) if pair[1] == "softmax" else range(1, 4)
    for layer in layers:
        delta = result.activation_grads(layer) * result.activation_slopes(layer)
        np.testing.assert_allclose(delta, result.delta[layer], rtol=1e-9, atol=1e-14)
    np.testing.assert_array_equal(result.activation_grads(0), result.input_grads)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_loss_falls_where_the_outputs_change_as_wanted(pair):
    # z^L moves each a^L its way; where the wish is 0, C_0 does not depend on a^L.
    X, y = draw_samples(*pair)
    net = draw_network(*pair)
    wishes = net.backprop(X, y).wanted_changes()
    net.intercepts_[-1][0] += 1e-4
    moved = net.backprop(X, y)
    net.intercepts_[-1][0] -= 1e-4
    before = net.backprop(X, y)
    change = ((moved.a[-1] - before.a[-1]) * wishes).sum(axis=1)
    fall = before.sample_losses - moved.sample_losses
    np.testing.assert_allclose(fall, change, rtol=1e-2, atol=1e-7)
    assert np.abs(fall).max() > 1e-5


def test_each_label_wants_its_own_output_up_or_down():
    X, y = draw_samples("log_loss", "logistic")
    wishes = draw_network("log_loss", "logistic").backprop(X, y).wanted_changes()
    np.testing.assert_array_equal(np.sign(wishes), 2 * y - 1)


def test_a_class_wants_its_own_output_up_and_has_no_wish_for_the_others():
    X, y = draw_samples("log_loss", "softmax")
    result = draw_network("log_loss", "softmax").backprop(X, y)
    np.testing.assert_array_equal(np.sign(result.wanted_changes()), y)
    np.testing.assert_array_equal(np.sign(-result.delta[-1]), 2 * y - 1)


# -- samples -----------------------------------------------------------------------


@pytest.mark.parametrize("as_X", [np.asarray, csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-11), ("float32", 1e-4)])
def test_gradients_of_samples_are_those_of_batches_of_one(as_X, dtype, rtol):
    net, (X, y) = draw_network(dtype=dtype), draw_samples()
    X[:, 1] = 0
    flat = gradients_one_by_one(net, X, y)
    result = net.backprop(as_X(X), y, np.arange(1.0, 7.0))  # weights do not matter
    parts = [result.sample_coef_grads(layer).reshape(6, -1) for layer in (1, 2, 3)]
    ours = np.concatenate([*parts, *result.delta[1:]], axis=1)
    np.testing.assert_allclose(ours, flat, rtol=rtol, atol=rtol)
    norms = np.linalg.norm(flat, axis=1)
    np.testing.assert_allclose(result.sample_grad_norms(), norms, rtol=rtol)
    for layer, part in zip((1, 2, 3), parts, strict=True):
        np.testing.assert_allclose(
            result.sample_grad_norms(layer), np.linalg.norm(part, axis=1), rtol=rtol
        )


def test_norms_of_samples_do_not_take_the_memory_of_their_gradients():
    n, width = 300, 200
    net = Network((width, width, 1), random_state=0)
    result = net.backprop(np.ones((n, width)), np.zeros(n))
    tracemalloc.start()
    result.sample_grad_norms()
    result.gradient_noise_scale()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * n * width * width / 20


@pytest.mark.parametrize("alpha", [0.0, 10.0])
def test_noise_scale_is_variance_over_square_of_the_mean(alpha):
    net, (X, y) = draw_network(alpha=alpha), draw_samples(n=40)
    flat = gradients_one_by_one(draw_network(), X, y)  # the penalty is no noise
    noise = flat.var(axis=0, ddof=1).sum()
    signal = np.square(flat.mean(axis=0)).sum() - noise / 40
    scale = net.backprop(X, y).gradient_noise_scale()
    assert scale == pytest.approx(noise / signal, rel=1e-9)


def test_noise_scale_of_weighted_samples():
    net, (X, y) = draw_network(), draw_samples(n=40)
    flat, weight = gradients_one_by_one(net, X, y), np.linspace(0.1, 3, 40)
    p = weight / weight.sum()
    mean = p @ flat
    noise = (p @ np.square(flat).sum(axis=1) - mean @ mean) / (1 - p @ p)
    signal = mean @ mean - p @ p * noise
    scale = net.backprop(X, y, weight).gradient_noise_scale()
    assert scale == pytest.approx(noise / signal if signal > 0 else np.inf, rel=1e-9)


def test_noise_scale_with_weights_takes_no_notice_of_their_size_or_of_zeros():
    net, (X, y) = draw_network(), draw_samples(n=40)
    y += 3  # a gradient that can be told from noise
    expected = net.backprop(X[:30], y[:30]).gradient_noise_scale()
    weight = np.where(np.arange(40) < 30, 7.0, 0.0)
    scale = net.backprop(X, y, weight).gradient_noise_scale()
    assert scale == pytest.approx(expected, rel=1e-9)


def test_noise_scale_at_its_limits():
    net = Network((1, 1), params=[0.0, 0.0])
    ones = np.ones((4, 1))
    assert 0 <= net.backprop(ones, [1.0] * 4).gradient_noise_scale() < 1e-12
    same = draw_network().backprop(np.full((7, 3), 0.3), np.full((7, 3), 0.7))
    assert 0 <= same.gradient_noise_scale() < 1e-12
    assert net.backprop(ones, [1.0, -1.0, 1.0, -1.0]).gradient_noise_scale() == np.inf
    assert np.isnan(net.backprop(ones, [0.0] * 4).gradient_noise_scale())
    for weight in ([1, 0, 0, 0], [1, 1e-17, 0, 0]):
        with pytest.raises(ValueError, match="needs two samples that count"):
            net.backprop(ones, [1.0] * 4, weight).gradient_noise_scale()


def test_most_influential_samples_pull_hardest_with_their_weights():
    net = Network((1, 1), params=[0.0, 0.0])
    y, weight = [1.0, -5.0, 3.0, 0.0], [9.0, 1.0, 1.0, 9.0]
    X = np.zeros((4, 1))
    assert list(net.backprop(X, y).most_influential(3)) == [1, 2, 0]
    assert list(net.backprop(X, y, weight).most_influential()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "n_samples, error",
    [
        (0, ValueError),
        (-1, ValueError),
        (2.0, TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_most_influential_wants_a_number_of_samples(n_samples, error):
    net = Network((1, 1), params=[0.0, 0.0])
    with pytest.raises(error, match=f"n_samples={n_samples}"):
        net.backprop([[1.0]], [1.0]).most_influential(n_samples)


def test_wrong_labels_are_among_the_most_influential():
    X, y = load_digits(return_X_y=True)
    X, y = X / 16, y.copy()
    wrong = np.random.default_rng(0).choice(len(y), 30, replace=False)
    y[wrong] = (y[wrong] + 1) % 10
    clf = MLPClassifier((32,), alpha=1.0, max_iter=30, random_state=0).fit(X, y)
    suspects = clf.backprop(X, y).most_influential(30)
    assert np.isin(suspects, wrong).mean() > 0.5  # by chance 1 in 60


@pytest.mark.parametrize("method", ["activation_slopes", "sample_coef_grads"])
def test_layers_that_do_not_exist_are_refused(method):
    result = draw_network().backprop(*draw_samples())
    for layer in (-1, 0, 4):
        with pytest.raises(IndexError, match=f"layer={layer} .* from 1 to 3"):
            getattr(result, method)(layer)
    with pytest.raises(IndexError, match=r"layer=4 .* from 0 to 3"):
        result.activation_grads(4)
    with pytest.raises(IndexError, match=r"layer=0 .* from 1 to 3"):
        result.sample_grad_norms(0)


def test_result_keeps_what_it_was_computed_with():
    net, (X, y) = draw_network(alpha=0.5), draw_samples()
    weight = np.linspace(1, 2, len(X))
    result = net.backprop(X, y, weight)
    before = result.chain_rule(3, 0, 0).grad, result.wanted_changes()
    net.params_ = np.zeros(net.n_params)
    y[:], weight[:] = 0, 0
    assert result.chain_rule(3, 0, 0).grad == before[0]
    np.testing.assert_array_equal(result.wanted_changes(), before[1])


# -- estimators ----------------------------------------------------------------------

TARGETS = {
    "multiclass": ("MLPClassifier", lambda y, est: y[:, None] == est.classes_),
    "binary": ("MLPClassifier", lambda y, est: (y == est.classes_[1])[:, None]),
    "multilabel": ("MLPClassifier", lambda y, est: y),
    "regression": ("MLPRegressor", lambda y, est: y[:, None]),
    "multi-output": ("MLPRegressor", lambda y, est: y),
}


@pytest.mark.parametrize("general", [False, True], ids=["special", "general"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("task", TARGETS)
def test_estimators_take_y_as_users_know_it(task, dtype, general):
    name, encode = TARGETS[task]
    known_as = "MLPEstimator" if general else name
    classifies = name == "MLPClassifier"
    make = (CLASSIFIERS if classifies else REGRESSORS)[known_as]
    X, y = samples(task)
    X = X.astype(dtype)
    est = make(hidden_layer_sizes=(5,), random_state=0, max_iter=5).fit(X, y)
    weight = np.linspace(0.5, 2, len(X))
    ours = est.backprop(X, y, weight)
    expected = est.network_.backprop(X, encode(y, est).astype(dtype), weight)
    assert ours.loss == expected.loss
    np.testing.assert_array_equal(ours.y, expected.y)
    for layer in (1, 2):
        np.testing.assert_array_equal(ours.delta[layer], expected.delta[layer])
        np.testing.assert_array_equal(
            ours.coef_grads[layer - 1], expected.coef_grads[layer - 1]
        )
    half = est.backprop(X, y, 0.5)
    np.testing.assert_array_equal(half.sample_weight, np.full(len(X), 0.5, dtype))


def test_backprop_of_a_subset_may_lack_classes():
    X, y = samples("multiclass")
    clf = MLPClassifier((5,), max_iter=5, random_state=0).fit(X, y)
    few = y == "b"
    np.testing.assert_array_equal(
        clf.backprop(X[few], y[few]).delta[2], clf.backprop(X, y).delta[2][few]
    )


def test_converted_estimators_can_be_looked_into():
    X, y = samples("multiclass")
    theirs = TheirClassifier((5,), max_iter=5, random_state=0).fit(X, y)
    result = cbp.from_sklearn(theirs).backprop(X, y)
    np.testing.assert_allclose(result.a[-1], theirs.predict_proba(X), rtol=1e-10)


BAD_SAMPLES = {
    "unknown label": (lambda X, y: (X, np.where(y == "a", "z", y)), "classes not in"),
    "too many columns": (lambda X, y: (np.hstack((X, X)), y), "8 features"),
    "nan in X": (lambda X, y: (np.where(X > 1, np.nan, X), y), "NaN"),
    "other length": (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
    "empty": (lambda X, y: (X[:0], y[:0]), "minimum of 1 is required"),
    "one dimension": (lambda X, y: (X[0], y[:1]), "Expected 2D array"),
    "matrix of labels": (
        lambda X, y: (X, (y[:, None] == ["a", "b"]) * 1),
        "multilabel",
    ),
}


@pytest.mark.parametrize("case", BAD_SAMPLES)
def test_bad_samples_are_refused_and_change_nothing(case):
    spoil, message = BAD_SAMPLES[case]
    X, y = samples("multiclass")
    clf = MLPClassifier((5,), max_iter=5, random_state=0).fit(X, y)
    before = clf.predict_proba(X)
    with pytest.raises(ValueError, match=message):
        clf.backprop(*spoil(X, y))
    np.testing.assert_array_equal(clf.predict_proba(X), before)


@pytest.mark.parametrize(
    "call",
    [
        lambda est, X, y: est.backprop(X, y),
        lambda est, X, y: est.hidden_activations(X, 1),
        lambda est, X, y: est.decision_function(X),
    ],
    ids=["backprop", "hidden_activations", "decision_function"],
)
def test_an_estimator_must_be_fitted_first(call):
    with pytest.raises(NotFittedError):
        call(MLPClassifier(), *samples("multiclass"))


@pytest.mark.parametrize("as_X", [np.asarray, csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hidden_activations_are_those_of_the_forward_pass(dtype, as_X):
    X, y = samples("regression")
    X = X.astype(dtype)
    est = MLPRegressor(
        hidden_layer_sizes=(5, 3), activation="tanh", max_iter=5, random_state=0
    ).fit(X, y)
    est.coefs_[0] = est.coefs_[0] * 2  # as the user has it now
    hidden = [est.hidden_activations(as_X(X), layer) for layer in (1, 2)]
    result = est.backprop(as_X(X), y)
    for a, expected in zip(hidden, result.a[1:3], strict=True):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, expected)


def test_hidden_activations_of_no_hidden_layer_are_refused():
    X, y = samples("regression")
    est = MLPRegressor(hidden_layer_sizes=(5, 3), max_iter=5).fit(X, y)
    for layer in (0, 3, -1):
        with pytest.raises(IndexError, match=f"layer={layer} .* from 1 to 2"):
            est.hidden_activations(X, layer)
    linear = MLPRegressor(hidden_layer_sizes=(), max_iter=5).fit(X, y)
    with pytest.raises(IndexError, match="no hidden layer"):
        linear.hidden_activations(X, 1)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_decision_function_gives_the_logits_of_the_probabilities(task, name):
    X, y = samples(task)
    clf = CLASSIFIERS[name](hidden_layer_sizes=(5,), max_iter=20, random_state=0)
    z, p = clf.fit(X, y).decision_function(X), clf.predict_proba(X)
    if task == "binary":
        assert z.shape == (len(X),)
        np.testing.assert_allclose(expit(z), p[:, 1], rtol=1e-12)
        np.testing.assert_array_equal(clf.classes_[(z > 0) * 1], clf.predict(X))
    elif task == "multiclass":
        np.testing.assert_allclose(softmax(z, axis=1), p, rtol=1e-12)
    else:
        np.testing.assert_allclose(expit(z), p, rtol=1e-12)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_has_no_decision_function(name):
    est = REGRESSORS[name](max_iter=5)
    assert not hasattr(est, "decision_function")
    assert not hasattr(est.fit(*samples("regression")), "decision_function")
