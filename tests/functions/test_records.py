"""Records of functions: objects that hold their parameters, and what asks them."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import cbp
from cbp.functions.activations import OUTPUT_ACTIVATIONS
from cbp.functions.losses import LOSSES
from cbp.kernels import propagator as kernels
from cbp.reference import propagator as reference
from cbp.training.schedules import SCHEDULES
from cbp.training.solvers import SOLVERS

#: Those that a network is made of, and those that it is trained by.
FUNCTIONS = [record() for record in (*OUTPUT_ACTIVATIONS.values(), *LOSSES.values())]
RECORDS = FUNCTIONS + [record() for record in (*SOLVERS.values(), *SCHEDULES.values())]
MODULES = (cbp.activations, cbp.losses, cbp.solvers, cbp.schedules)
PARAMETERS = [(record, name) for record in RECORDS for name in record.ranges]

#: What no parameter may be.
OUT_OF_RANGE = [-1.0, np.nan, np.inf, "1", None]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.linspace(-2, 2, 40).reshape(20, 2)
y = X[:, 0] ** 2 - X[:, 1]


# -- by themselves -----------------------------------------------------------------


@pytest.mark.parametrize("record", RECORDS, ids=repr)
def test_a_record_shows_itself_as_the_call_that_makes_it(record):
    names = {name: what for module in MODULES for name, what in vars(module).items()}
    assert eval(repr(record), names) == record


@pytest.mark.parametrize("record", RECORDS, ids=repr)
def test_copies_pickles_and_clones_are_equal_objects_of_their_own(record):
    for other in (copy.copy(record), pickle.loads(pickle.dumps(record)), clone(record)):
        assert other == record and other is not record


@pytest.mark.parametrize("record, name", PARAMETERS, ids=str)
def test_other_parameters_make_another_record(record, name):
    kind = record.ranges[name].partition(" ")[0]
    value = {"bool": not getattr(record, name), "int": 3}.get(kind, 0.25)
    other = clone(record).set_params(**{name: value})
    assert other != record
    assert other.get_params()[name] == value


@pytest.mark.parametrize("value", [*OUT_OF_RANGE, "of the other kind"])
@pytest.mark.parametrize("record, name", PARAMETERS, ids=str)
def test_a_value_out_of_range_is_refused_and_changes_nothing(record, name, value):
    if value == "of the other kind":
        value = 1 if record.ranges[name] == "bool" else True
    before = copy.copy(record)
    message = rf"{name}=.* of {type(record).__name__} must be "
    with pytest.raises(ValueError, match=message):
        record.set_params(**{name: value})
    with pytest.raises(ValueError, match=message):
        type(record)(**{name: value})
    assert record == before


def test_a_parameter_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(AttributeError, match=r"no parameter 'beta'; it has alpha\."):
        cbp.activations.LeakyReLU().set_params(beta=1.0)
    with pytest.raises(AttributeError, match=r"it has none\."):
        cbp.activations.ReLU().alpha = 1.0


@pytest.mark.parametrize(
    "value, message",
    [(1.5, "must be an integer in"), (0, r"must be an integer in \[1, inf\)\.")],
)
def test_what_is_counted_must_be_whole(value, message):
    with pytest.raises(ValueError, match=f"max_fun={value} of LBFGS {message}"):
        cbp.solvers.LBFGS(max_fun=value)


def test_parameters_may_be_scalars_of_numpy():
    solver = cbp.solvers.SGD(np.float32(0.5), np.bool_(True))
    assert solver.hyperparameters == (0.5, 1.0)
    assert cbp.solvers.LBFGS(np.int64(7)).max_fun == 7


@pytest.mark.parametrize("record", FUNCTIONS, ids=repr)
def test_formulas_are_there_to_be_read(record):
    assert record.formula and record.latex
    assert record.latex.count("{") == record.latex.count("}")


# -- in use ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "Propagator",
    [kernels.Propagator, reference.Propagator],
    ids=["kernels", "reference"],
)
def test_every_record_has_its_case_in_kernels_and_reference(Propagator):
    for loss in map(type, FUNCTIONS):
        for output in getattr(loss, "outputs", ()):
            Propagator((1, 1), "relu", output, loss(), 0.0, np.float64)
    for name in cbp.activations.ACTIVATIONS:
        Propagator((1, 1, 1), name, "identity", "squared_error", 0.0, np.float64)


@pytest.mark.parametrize(
    "Propagator",
    [kernels.Propagator, reference.Propagator],
    ids=["kernels", "reference"],
)
def test_a_loss_is_refused_for_an_output_that_it_is_not_defined_for(Propagator):
    with pytest.raises(ValueError, match=r"'poisson' is not defined for .*'tanh'"):
        Propagator((1, 1), "relu", "tanh", "poisson", 0.0, np.float64)


def test_a_record_without_a_case_in_the_kernels_is_refused():
    class Unknown(cbp.activations.ReLU):
        name = "unknown"

    with pytest.raises(ValueError, match="kernels have no case for"):
        kernels.Propagator((1, 1, 1), Unknown(), "identity", "huber", 0.0, np.float64)


def test_a_name_is_a_shorthand_of_the_record_with_default_parameters():
    by_name = cbp.Network((2, 3, 1), activation="leaky_relu", loss="huber")
    records = {"activation": cbp.activations.LeakyReLU(), "loss": cbp.losses.Huber()}
    by_record = cbp.Network((2, 3, 1), **records, params=by_name.params_)
    assert by_name.g == by_record.g and by_name.C_0 == by_record.C_0
    np.testing.assert_array_equal(
        by_name.loss_and_grad(X, y)[1], by_record.loss_and_grad(X, y)[1]
    )


@pytest.mark.parametrize("what", ["activation", "loss"])
@pytest.mark.parametrize("given", ["nonsense", cbp.activations.Softmax, 3, None])
def test_what_names_no_record_is_refused_with_those_there_are(what, given):
    with pytest.raises(ValueError, match=f"{what}=.* is unknown; it must be one of"):
        cbp.Network((2, 3, 1), **{what: given})


def test_a_fitted_model_keeps_the_parameters_that_it_was_trained_with():
    record = cbp.activations.LeakyReLU(0.5)
    model = cbp.MLPRegressor("huber", (4,), record, max_iter=3, random_state=0)
    before = model.fit(X, y).predict(X)
    record.alpha = 0.0
    np.testing.assert_array_equal(model.predict(X), before)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), before)


def test_a_search_tries_parameters_of_records():
    model = cbp.MLPRegressor(
        cbp.losses.Huber(), (4,), cbp.activations.LeakyReLU(), max_iter=3
    )
    grid = {"loss__delta": [0.5, 2.0], "activation__alpha": [0.1, 0.3]}
    search = GridSearchCV(model, grid, cv=2).fit(X, y)
    best = search.best_estimator_.network_
    assert best.C_0 == cbp.losses.Huber(search.best_params_["loss__delta"])
    assert best.g[1].alpha == search.best_params_["activation__alpha"]
    assert model.loss == cbp.losses.Huber()


def test_a_loss_of_classes_is_refused_by_the_regressor():
    with pytest.raises(ValueError, match="'loss' parameter of MLPRegressor"):
        cbp.MLPRegressor(cbp.losses.LogLoss()).fit(X, y)


def test_huber_counts_outliers_less():
    far = y.copy()
    far[0] = 1e3
    params = {"hidden_layer_sizes": (), "solver": "lbfgs", "random_state": 0}
    robust, squares = (
        cbp.MLPRegressor(loss, **params).fit(X, far)
        for loss in ("huber", "squared_error")
    )
    errors = [abs(model.predict(X) - far)[1:].mean() for model in (robust, squares)]
    assert errors[0] < 0.2 * errors[1]
