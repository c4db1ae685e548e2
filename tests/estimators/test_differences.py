"""Where cbp is not scikit-learn: what the latter does, and what cbp does instead.

Each test shows both, so that it fails as well when scikit-learn changes its ways and
docs/differences.md has to be rewritten.
"""

import re
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.base import clone
from sklearn.utils import get_tags

import cbp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

MODULES = {"scikit-learn": neural_network, "cbp": cbp}
QUICK = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}
X = np.random.RandomState(0).normal(size=(40, 3))
Y = X[:, 0] * X[:, 1]


def both(name, **params):
    """scikit-learn's estimator of that name and ours, unfitted."""
    return [getattr(module, name)(**{**QUICK, **params}) for module in MODULES.values()]


# -- defects that are not copied ---------------------------------------------------


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_a_batch_whose_weights_are_all_zero(name):
    theirs, ours = both(name, batch_size=10, shuffle=False)
    weight = np.repeat([1.0, 0.0, 2.0, 1.0], 10)
    y = Y > 0
    with pytest.raises(ZeroDivisionError):
        theirs.fit(X, y, weight)
    ours.fit(X, y, weight)
    # The batch makes no update and does not count in the loss.
    kept = clone(ours).fit(X[weight > 0], y[weight > 0], weight[weight > 0])
    np.testing.assert_array_equal(ours.coefs_[0], kept.coefs_[0])
    assert ours.loss_curve_ == kept.loss_curve_


@pytest.mark.parametrize("n_outputs", [1, 2, 3])
def test_the_loss_of_several_outputs_is_the_one_whose_gradient_is_used(n_outputs):
    y = np.column_stack([Y, X[:, 1], X[:, 2]])[:, :n_outputs]
    y = y.ravel() if n_outputs == 1 else y
    # One step of gradient descent from the same weights, tiny and without penalty:
    # the loss falls by rate * ||gradient||^2, if it is that gradient's loss.
    rate = 1e-7
    setting = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "batch_size": 40}
    falls = []
    for model in both("MLPRegressor", learning_rate_init=rate, max_iter=2, **setting):
        model.fit(X, y)
        start = clone(model).set_params(learning_rate_init=1e-300, max_iter=1)
        start.fit(X, y)
        moved = sum(
            ((after - before) ** 2).sum()
            for after, before in zip(
                [*model.coefs_, *model.intercepts_],
                [*start.coefs_, *start.intercepts_],
                strict=True,
            )
        )
        # Two steps of rate * gradient were made, which hardly differs between them.
        squared_gradient = moved / (2 * rate) ** 2
        fall = model.loss_curve_[0] - model.loss_curve_[1]
        falls.append(fall / (rate * squared_gradient))
    assert falls == pytest.approx([1 / n_outputs, 1.0], rel=1e-2)


def test_lbfgs_keeps_float32():
    theirs, ours = both("MLPRegressor", solver="lbfgs")
    for model, dtype in ((theirs, np.float64), (ours, np.float32)):
        model.fit(X.astype(np.float32), Y.astype(np.float32))
        assert {w.dtype for w in model.coefs_} == {np.dtype(dtype)}


def test_y_in_float64_does_not_take_the_training_out_of_float32():
    theirs, ours = both("MLPRegressor")
    for model in (theirs, ours):
        model.fit(X.astype(np.float32), Y)
    assert theirs._optimizer.ms[0].dtype == np.float64
    assert {moment.dtype for moment in ours._state.moments} == {np.dtype("f4")}
    same = clone(ours).fit(X.astype(np.float32), Y.astype(np.float32))
    np.testing.assert_array_equal(ours.coefs_[0], same.coefs_[0])


def test_predictions_are_in_the_dtype_of_the_model():
    theirs, ours = both("MLPRegressor")
    for model, dtype in ((theirs, np.float64), (ours, np.float32)):
        assert model.fit(X.astype(np.float32), Y).predict(X).dtype == dtype


def test_training_after_convergence():
    stops_at_once = {"tol": 1e3, "n_iter_no_change": 2, "max_iter": 50}
    theirs, ours = both("MLPRegressor", warm_start=True, **stops_at_once)
    for model, n_iter in ((theirs, 1), (ours, 3)):
        assert model.fit(X, Y).n_iter_ == 4
        assert model.fit(X, Y).n_iter_ == n_iter


def test_two_fits_with_warm_start_are_one_long_fit():
    for model, is_one in zip(both("MLPRegressor"), (False, True), strict=True):
        whole = clone(model).set_params(max_iter=6).fit(X, Y)
        model.set_params(warm_start=True).fit(X, Y).fit(X, Y)
        assert np.array_equal(model.coefs_[0], whole.coefs_[0]) is is_one


def test_the_best_weights_of_early_stopping_survive_a_second_fit():
    early = {"early_stopping": True, "warm_start": True, "max_iter": 30}
    for model, survive in zip(
        both("MLPRegressor", **early), (False, True), strict=True
    ):
        best = model.fit(X, Y).coefs_[0].copy()
        model.set_params(learning_rate_init=5.0, max_iter=1).fit(X, Y)
        assert model.validation_scores_[-1] < model.best_validation_score_
        assert np.array_equal(model.coefs_[0], best) is survive


def test_sizes_changed_under_warm_start():
    theirs, ours = both("MLPRegressor", warm_start=True)
    for model in (theirs, ours):
        model.fit(X, Y).set_params(hidden_layer_sizes=(7,))
    assert theirs.fit(X, Y).coefs_[0].shape == (3, 4)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=\(7,\)"):
        ours.fit(X, Y)


def test_partial_fit_counts_its_epochs():
    for model, n_iter in zip(both("MLPRegressor"), (1, 3), strict=True):
        for _ in range(3):
            model.partial_fit(X, Y)
        assert model.n_iter_ == n_iter


def test_parameters_changed_between_calls_of_partial_fit():
    for model, takes_effect in zip(both("MLPRegressor"), (False, True), strict=True):
        same = clone(model).partial_fit(X, Y).partial_fit(X, Y)
        model.partial_fit(X, Y).set_params(learning_rate_init=0.5).partial_fit(X, Y)
        assert np.array_equal(model.coefs_[0], same.coefs_[0]) is not takes_effect


def test_partial_fit_of_a_regressor_with_lbfgs():
    theirs, ours = both("MLPRegressor", solver="lbfgs")
    assert hasattr(theirs, "partial_fit")
    assert not hasattr(ours, "partial_fit")


def test_partial_fit_with_warm_start_takes_some_of_the_classes():
    y = np.digitize(Y, [-0.5, 0.5])
    theirs, ours = both("MLPClassifier", warm_start=True)
    for model in (theirs, ours):
        model.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="same classes as in the previous call to fit"):
        theirs.partial_fit(X[y < 2], y[y < 2])
    ours.partial_fit(X[y < 2], y[y < 2])


def test_poisson_refuses_negative_counts():
    theirs, ours = both("MLPRegressor", loss="poisson")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert np.isnan(theirs.fit(X, Y).loss_)
    with pytest.raises(ValueError, match="y must not be negative for loss='poisson'"):
        ours.fit(X, Y)


@pytest.mark.parametrize(
    "target",
    [lambda y: y > 0, lambda y: np.digitize(y, [0, 1])],
    ids=["binary", "multiclass"],
)
def test_log_probabilities_are_finite(target):
    theirs, ours = both("MLPClassifier")
    for model, is_finite in ((theirs, False), (ours, True)):
        model.fit(X, target(Y))
        model.coefs_[-1] *= 1e4
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            log_p = model.predict_log_proba(X)
        assert np.isfinite(log_p).all() == is_finite


def test_the_log_loss_is_not_clipped():
    y = (Y > 0).astype(int)
    theirs, ours = both("MLPClassifier", max_iter=1, learning_rate_init=1e-300)
    losses = []
    for model in (theirs, ours):
        model.fit(X * 1e6, y)
        losses.append(model.loss_)
    # Where a probability of the right class is less than 2^-52, -ln of it is more.
    z = ours.network_.weighted_outputs(X * 1e6).ravel()
    exact = np.logaddexp(0, np.where(y, -z, z))
    penalty = 1e-4 / 2 * sum((w**2).sum() for w in ours.coefs_) / 40
    assert losses[1] == pytest.approx(exact.mean() + penalty)
    assert losses[0] == pytest.approx(
        np.minimum(exact, 52 * np.log(2)).mean() + penalty
    )
    assert losses[1] > 10 * losses[0]


def test_divergence_is_noticed_at_once(capsys):
    diverges = {"solver": "sgd", "learning_rate_init": 1e200, "max_iter": 30}
    for model, soon in zip(
        both("MLPRegressor", verbose=True, **diverges), (False, True), strict=True
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            with pytest.raises(ValueError, match="Solver produced non-finite param"):
                model.fit(X, Y)
        n_epochs = capsys.readouterr().out.count("Iteration")
        assert (n_epochs < 5) is soon


def test_a_failed_fit_leaves_the_fitted_model_alone():
    theirs, ours = both("MLPRegressor", solver="sgd")
    for model, stays in ((theirs, False), (ours, True)):
        before = model.fit(X, Y).coefs_[0].copy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            with pytest.raises(ValueError):
                model.set_params(learning_rate_init=1e200).fit(X, Y)
        assert np.array_equal(model.coefs_[0], before) is stays


class _InterruptedAtEpoch:
    """A number that is sent as Ctrl-C when it is asked for the n-th time."""

    def __init__(self, n):
        self.left = n

    def __bool__(self):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return False


def test_ctrl_c_ends_the_program_unless_it_is_caught():
    theirs, ours = both("MLPRegressor", max_iter=50)
    for model in (theirs, ours):
        # `verbose` is looked at once an epoch.
        model._validate_params = lambda: None
        model.verbose = _InterruptedAtEpoch(5)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        theirs.__class__.fit.__wrapped__(theirs, X, Y)
    with pytest.raises(KeyboardInterrupt):
        ours.fit(X, Y)
    assert 0 < ours.n_iter_ < 50
    assert ours.predict(X).shape == (40,)


def test_the_regressor_says_that_it_takes_several_outputs():
    theirs, ours = both("MLPRegressor")
    assert not get_tags(theirs).target_tags.multi_output
    assert get_tags(ours).target_tags.multi_output


# -- decisions ---------------------------------------------------------------------


def test_negative_weights_are_refused():
    weight = np.where(Y > 0, 1.0, -0.1)
    theirs, ours = both("MLPRegressor")
    theirs.fit(X, Y, weight)
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        ours.fit(X, Y, weight)


def test_parameters_changed_after_fit_leave_predictions_as_they_were():
    for model, changes in zip(both("MLPRegressor"), (True, False), strict=True):
        before = model.fit(X, Y).predict(X)
        after = model.set_params(activation="tanh").predict(X)
        assert np.array_equal(before, after) is not changes


def test_training_does_not_write_into_arrays_of_the_user():
    for model, writes in zip(both("MLPRegressor"), (True, False), strict=True):
        mine = np.full((3, 4), 0.25)
        model.fit(X, Y).coefs_[0] = mine
        model.set_params(warm_start=True).fit(X, Y)
        assert bool((mine == 0.25).all()) is not writes


def test_lbfgs_records_its_losses():
    theirs, ours = both("MLPRegressor", solver="lbfgs")
    assert not hasattr(theirs.fit(X, Y), "loss_curve_")
    assert ours.fit(X, Y).loss_curve_[-1] == pytest.approx(theirs.loss_)


def _words(act):
    """What a call says: in its error, or in its first warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            act()
        except ValueError as error:
            return str(error)
    return str(caught[0].message)


@pytest.mark.parametrize(
    "name, params, call",
    [
        ("MLPRegressor", {}, "fit"),
        ("MLPRegressor", {"solver": "lbfgs"}, "fit"),
        ("MLPRegressor", {"batch_size": 50}, "fit"),
        ("MLPRegressor", {"hidden_layer_sizes": (3, 0)}, "fit"),
        ("MLPRegressor", {"activation": "sigmoid"}, "fit"),
        ("MLPRegressor", {"solver": "sgd", "learning_rate_init": 1e200}, "fit"),
        ("MLPRegressor", {"early_stopping": True}, "partial_fit"),
        ("MLPRegressor", {"early_stopping": True, "validation_fraction": 0.01}, "fit"),
        ("MLPClassifier", {}, "partial_fit"),
        ("MLPClassifier", {}, "fit on floats"),
    ],
    ids=str,
)
def test_errors_and_warnings_begin_with_the_words_of_scikit_learn(name, params, call):
    def act(model):
        if call == "partial_fit":
            model.partial_fit(X, Y > 0)
        else:
            model.fit(X, Y)

    theirs, ours = (_words(lambda m=m: act(m)) for m in both(name, **params))
    words = 3 if call == "fit on floats" else 5
    for our_word, their_word in zip(ours.split()[:words], theirs.split(), strict=False):
        assert our_word.strip(".") == their_word.strip(".")


def test_every_test_that_the_page_names_exists():
    tests = Path(__file__).parents[1]
    page = tests.parent / "docs" / "differences.md"
    named = re.findall(r"`(test_\w+)\.py::(test_\w+)`", page.read_text("utf-8"))
    assert len(named) > 20
    for file, test in named:
        (path,) = tests.rglob(f"{file}.py")
        source = path.read_text("utf-8")
        assert f"def {test}(" in source, f"{file}.py has no {test}"


def test_the_page_names_every_test_of_this_file():
    page = Path(__file__).parents[2] / "docs" / "differences.md"
    text = page.read_text("utf-8")
    tests = [name for name in globals() if name.startswith("test_")]
    for test in tests:
        if "the_page" not in test:
            assert f"`test_differences.py::{test}`" in text
