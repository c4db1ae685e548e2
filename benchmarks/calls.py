"""Benchmarks of whole calls beside scikit-learn: predictions, lbfgs, a grid search."""

from functools import partial

import peers
from cases import PREDICTION_SHARE, PREDICTIONS, STEPS
from joblib.externals.loky import get_reusable_executor
from measure import GEMM, Gemm, PerCall, ratio, seconds, take_turns
from report import Figure, Result
from sklearn import neural_network
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    make_classification,
)
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale

import cbp

PACKAGES = {"cbp": cbp, "scikit-learn": neural_network}

#: dtype -> how many times as fast as scikit-learn an iteration of lbfgs is to be.
LBFGS_RATIO = {"float64": 1.3, "float32": 2.5}

#: 24 candidates, and how many times as fast as scikit-learn the search is to be.
GRID = {
    "hidden_layer_sizes": [(32,), (100,), (64, 32)],
    "alpha": [1e-5, 1e-4, 1e-3, 1e-2],
    "learning_rate_init": [1e-3, 1e-2],
}
GRID_RATIO = 5
GRID_JOBS = 2


def beside_sklearn(repeats, goal=None):
    return {
        "scikit-learn / cbp": Figure(
            ratio(repeats["scikit-learn"], repeats["cbp"]), goal
        )
    }


# --- predictions ---------------------------------------------------------------------


def predictors(net, X, y):
    """Name -> predict(X) of a model that has seen a few rows; one thread for cbp."""
    fits = {"cbp": peers.with_cbp, "scikit-learn": peers.with_sklearn}
    models = {name: how(net, X[:1000], y[:1000])(1) for name, how in fits.items()}
    method = "predict" if net.regression else "predict_proba"
    return {name: getattr(model, method) for name, model in models.items()}


def predict(settings):
    """Predicting 100,000 rows in one call, beside the floor of the products."""
    gemm = Gemm(settings.dtype)
    for name, net in settings.chosen(PREDICTIONS).items():
        X, y = net.data(settings.dtype)
        calls = {
            who: PerCall(partial(method, X), settings.aim)
            for who, method in predictors(net, X, y).items()
        }
        repeats = take_turns(calls | {GEMM: gemm}, settings.repeats)
        for who in calls:
            repeats[who] = [us / net.rows for us in repeats[who]]
        floor = [net.row_floor(gflops) for gflops in repeats[GEMM]]
        goal = PREDICTION_SHARE if net.activation == "relu" else None
        share = Figure(ratio(floor, repeats["cbp"]), goal)
        figures = {"floor / cbp": share, **beside_sklearn(repeats)}
        yield Result("predict", name, "us/row", repeats, figures, net)


def latency(settings):
    """Predicting one row."""
    nets = {name: case.net for name, case in STEPS.items()}
    for name, net in settings.chosen(nets).items():
        X, y = net.data(settings.dtype)
        calls = {
            who: PerCall(partial(method, X[:1]), settings.aim)
            for who, method in predictors(net, X, y).items()
        }
        repeats = take_turns(calls, settings.repeats)
        yield Result("latency", name, "us/call", repeats, beside_sklearn(repeats), net)


# --- lbfgs ---------------------------------------------------------------------------

#: Name -> (X, y) as they come, the class, the hidden layers.
LBFGS = {
    "digits": (partial(load_digits, return_X_y=True), "MLPClassifier", (100,)),
    "breast cancer": (
        partial(load_breast_cancer, return_X_y=True),
        "MLPClassifier",
        (100,),
    ),
    "diabetes": (partial(load_diabetes, return_X_y=True), "MLPRegressor", (100,)),
    "5000 rows": (
        partial(
            make_classification,
            n_samples=5000,
            n_features=40,
            n_informative=20,
            n_classes=4,
            random_state=0,
        ),
        "MLPClassifier",
        (100, 50),
    ),
}


#: Of a short and a long fit: few enough that nobody has converged.
ITERATIONS = (4, 24)


def lbfgs(settings):
    """An iteration of lbfgs: the difference of a long and a short fit."""
    for name, (load, estimator, hidden) in settings.chosen(LBFGS).items():
        X, y = load()
        X = scale(X).astype(settings.dtype)
        if estimator == "MLPRegressor":
            y = scale(y).astype(settings.dtype)
        models = {
            who: [
                getattr(module, estimator)(
                    hidden_layer_sizes=hidden,
                    solver="lbfgs",
                    max_iter=max_iter,
                    tol=0.0,
                    random_state=0,
                    **({"n_jobs": 1} if module is cbp else {}),
                )
                for max_iter in ITERATIONS
            ]
            for who, module in PACKAGES.items()
        }
        turns = {
            who: PerIteration([partial(model.fit, X, y) for model in pair], settings)
            for who, pair in models.items()
        }
        repeats = take_turns(turns, settings.repeats)
        figures = beside_sklearn(repeats, LBFGS_RATIO[settings.dtype])
        for who, (_, model) in models.items():
            figures[f"iterations, {who}"] = Figure(model.n_iter_)
        yield Result("lbfgs", name, "us/iteration", repeats, figures)


class PerIteration:
    """Called, gives the microseconds of an iteration."""

    def __init__(self, fits, settings):
        self.short, self.long = (PerCall(fit, settings.aim) for fit in fits)

    def __call__(self):
        few, many = ITERATIONS
        return (self.long() - self.short()) / (many - few)


# --- grid search ---------------------------------------------------------------------


def grid(settings):
    """A grid search of 24 candidates and 3 folds, in 2 processes."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(settings.dtype)
    for name, max_iter in settings.chosen({"digits": 50}).items():
        searches = {
            who: GridSearchCV(
                module.MLPClassifier(
                    max_iter=10 if settings.quick else max_iter, random_state=0
                ),
                GRID,
                cv=3,
                n_jobs=GRID_JOBS,
            )
            for who, module in PACKAGES.items()
        }
        turns = {who: partial(seconds, s.fit, X, y) for who, s in searches.items()}
        take_turns(turns, 1)  # starts the processes, which stay
        repeats = take_turns(turns, 3)
        # At its end this process would wait for them, and they for more work.
        get_reusable_executor().shutdown()
        yield Result(
            "grid", name, "s/search", repeats, beside_sklearn(repeats, GRID_RATIO)
        )
