"""Training follows scikit-learn's rules: order of the samples, schedules, stopping."""

import copy
import pickle
import tracemalloc
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from drop_in import samples
from problems import SOLVERS
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import shuffle as sklearn_shuffle

import cbp
from cbp.training.schedules import Adaptive, Constant, InverseScaling
from cbp.training.solvers import SGD, Adam
from cbp.training.state import TrainingState
from cbp.training.trainer import Trainer

N_SAMPLES, N_FEATURES = 45, 4
RTOL, ATOL = 1e-7, 1e-10


# -- the same model as scikit-learn ----------------------------------------------


def data(task, seed):
    """X, y and the pair of classes (ours, scikit-learn's) of a task."""
    X, y = samples(task, N_SAMPLES, seed, N_FEATURES)
    kind = "Classifier" if task.startswith(("bin", "multic", "multil")) else "Regressor"
    classes = getattr(cbp, f"MLP{kind}"), getattr(neural_network, f"MLP{kind}")
    return X, y, classes


def fit_both(task, seed, sample_weight=None, **params):
    """Our estimator and scikit-learn's, fitted with the same parameters."""
    X, y, (Ours, Theirs) = data(task, seed)
    params = {"hidden_layer_sizes": (5, 3), "max_iter": 8, "batch_size": 7, **params}
    if task == "poisson":
        # The gradient of exp(z) is steep.
        rate = params.get("learning_rate_init", 0.001) / 20
        params |= {"loss": "poisson", "learning_rate_init": rate}
    theirs = dict(params)
    if task == "multi-output":
        # scikit-learn reports the mean over the outputs of the function whose sum it
        # differentiates; the penalty is not divided.
        params["alpha"] = theirs["alpha"] = 0.0
        theirs["tol"] = params.get("tol", 1e-4) / y.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return (
            Ours(random_state=seed, **params).fit(X, y, sample_weight),
            Theirs(random_state=seed, **theirs).fit(X, y, sample_weight),
        )


def assert_same_model(ours, theirs):
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    assert ours.out_activation_ == theirs.out_activation_
    for name in ("coefs_", "intercepts_"):
        for mine, yours in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(mine, yours, rtol=RTOL, atol=ATOL)
    outputs = theirs.n_outputs_ if theirs.out_activation_ == "identity" else 1
    np.testing.assert_allclose(
        ours.loss_curve_, outputs * np.array(theirs.loss_curve_), rtol=RTOL
    )
    np.testing.assert_allclose(ours.best_loss_, outputs * theirs.best_loss_, rtol=RTOL)


SETTINGS = {
    "adam": {"learning_rate_init": 0.01},
    "adam other constants": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.1},
    "momentum": {
        "solver": "sgd",
        "learning_rate_init": 0.1,
        "momentum": 0.6,
        "nesterovs_momentum": False,
    },
    "plain sgd": {"solver": "sgd", "learning_rate_init": 0.2, "momentum": 0.0},
    "invscaling": {
        "solver": "sgd",
        "learning_rate": "invscaling",
        "learning_rate_init": 0.3,
        "power_t": 0.3,
    },
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.1,
        "tol": 0.2,
        "n_iter_no_change": 1,
    },
}
TASKS = ("binary", "multiclass", "multilabel", "regression", "multi-output", "poisson")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_solver_gives_the_model_of_scikit_learn(settings, task):
    seed = TASKS.index(task) + 10 * list(SETTINGS).index(settings)
    assert_same_model(*fit_both(task, seed, **SETTINGS[settings]))


OPTIONS = {
    "no shuffle": {"shuffle": False},
    "batch of one": {"batch_size": 1, "max_iter": 3},
    "odd last batch of one": {"batch_size": 44},
    "one batch": {"batch_size": 45},
    "auto batch": {"batch_size": "auto"},
    "no penalty": {"alpha": 0.0},
    "large penalty": {"alpha": 3.0},
    "identity": {"activation": "identity"},
    "logistic": {"activation": "logistic"},
    "tanh": {"activation": "tanh"},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "int hidden layer": {"hidden_layer_sizes": 6},
    "three hidden layers": {"hidden_layer_sizes": [4, 3, 2]},
    "one wide": {"hidden_layer_sizes": (1,)},
    "converges": {"tol": 0.5, "n_iter_no_change": 2, "max_iter": 10},
    "never converges": {"tol": 0.5, "n_iter_no_change": np.inf},
}


@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize("option", OPTIONS)
def test_option_gives_the_model_of_scikit_learn(option, task):
    params = {"learning_rate_init": 0.02, **OPTIONS[option]}
    assert_same_model(*fit_both(task, len(option), **params))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("task", TASKS)
def test_sample_weight_gives_the_model_of_scikit_learn(task, solver):
    weight = np.random.RandomState(1).uniform(0.0, 3.0, N_SAMPLES)
    assert_same_model(*fit_both(task, 1, weight, solver=solver, alpha=0.1))


@pytest.mark.parametrize("settings", ["adam", "adaptive"])
def test_verbose_prints_what_scikit_learn_prints(capsys, settings):
    X, y, (Ours, Theirs) = data("binary", 0)
    params = {**SETTINGS[settings], "tol": 0.5, "n_iter_no_change": 1, "max_iter": 40}
    printed = []
    for Estimator in (Ours, Theirs):
        Estimator((3,), random_state=0, verbose=True, **params).fit(X, y)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "Stopping." in printed[0]


def test_batch_of_zero_weight_is_left_out():
    X, y, (Ours, _) = data("regression", 3)
    params = dict(hidden_layer_sizes=(3,), shuffle=False, random_state=0, max_iter=4)
    weight = np.ones(N_SAMPLES)
    weight[:5] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        left_out = Ours(batch_size=5, **params).fit(X, y, weight)
        absent = Ours(batch_size=5, **params).fit(X[5:], y[5:], weight[5:])
    for mine, yours in zip(left_out.coefs_, absent.coefs_, strict=True):
        np.testing.assert_allclose(mine, yours, rtol=1e-12)


# -- the loop by itself ----------------------------------------------------------


class Script:
    """A network and its propagator that play given losses and note what happens."""

    C_0 = cbp.losses.SquaredError()

    def __init__(self, losses, interrupt_in=None):
        self.losses = losses
        self.interrupt_in = interrupt_in
        self.params_ = np.zeros(3)
        self.epochs, self.ended, self.rates = [], 0, []
        self.in_training, self.trainings = False, 0

    def make_propagator(self, n_threads):
        return self

    def use_solver(self, solver, moments, steps):
        pass

    def begin_training(self, params, X, y, sample_weight, batch_size):
        self.batch_size = batch_size
        self.in_training, self.trainings = True, self.trainings + 1

    def begin_epoch(self, order, rates):
        self.epochs.append(SimpleNamespace(order=order, batch_size=self.batch_size))
        self.rates.append(rates)

    def advance(self, seconds):
        if len(self.epochs) == self.interrupt_in:
            raise KeyboardInterrupt
        return True

    def end_epoch(self):
        self.ended += 1
        return self.losses[len(self.epochs) - 1], 10 * self.ended

    def end_training(self):
        self.in_training = False


def begin(script, solver=None, **fields):
    """The state before training on a script."""
    fields = {"rng": np.random.RandomState(0), **fields}
    return TrainingState.begin(script.params_, solver or Adam(), **fields)


def play(losses, n_samples=9, state=None, interrupt_in=None, **options):
    """The script and the trainer after training on it."""
    script = Script(losses, interrupt_in)
    options = {"max_iter": len(losses), **options}
    trainer = Trainer(script, begin(script, **(state or {})), **options)
    X = np.zeros((n_samples, 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            trainer.train(X, X)
    except KeyboardInterrupt:
        pass
    return script, trainer


@pytest.mark.parametrize(
    "losses, tol, patience, n_iter",
    [
        pytest.param([4, 3, 2, 1, 0], 0.1, 1, 5, id="improves"),
        pytest.param([1, 1, 1, 1, 1], 0.1, 1, 3, id="constant"),
        pytest.param([4, 3.9, 3.8, 3.7, 3.6], 0.1, 1, 5, id="by tol"),
        pytest.param([4, 3.95, 3.9, 3.85, 3.8], 0.1, 1, 3, id="by less than tol"),
        pytest.param([4, 5, 3, 5, 5, 5], 0.1, 1, 5, id="improves in between"),
        pytest.param([1, 1, 1, 1, 1], 0.0, 1, 5, id="tol of zero"),
        pytest.param([1, 2, 2, 2, 2], 0.0, 3, 5, id="patience of three"),
        pytest.param([1, 2, 2, 2, 2], 0.0, np.inf, 5, id="endless patience"),
    ],
)
def test_stops_after_more_epochs_without_improvement_than_allowed(
    losses, tol, patience, n_iter
):
    script, trainer = play(losses, tol=tol, n_iter_no_change=patience)
    assert trainer.state.history.n_iter == len(script.epochs) == script.ended == n_iter
    assert trainer.state.history.loss_curve == losses[:n_iter]
    assert trainer.state.history.best_loss == min(losses[:n_iter])
    assert trainer.state.history.t == 9 * n_iter


WATCHERS = {
    "on_epoch": {"on_epoch": lambda: False},
    "on_epoch_begin": {"on_epoch_begin": lambda: None},
    "score": {"score": lambda: 0.5},
}


@pytest.mark.parametrize("watcher", WATCHERS.values(), ids=WATCHERS)
def test_parameters_are_written_back_as_often_as_somebody_looks(watcher):
    script, _ = play([3.0, 2.0, 1.0])
    assert script.trainings == 1
    script, _ = play([3.0, 2.0, 1.0], **watcher)
    assert script.trainings == 3


@pytest.mark.parametrize("interrupt_in", [None, 2])
def test_parameters_are_written_back_however_training_ends(interrupt_in):
    script, _ = play([3.0, 2.0, 1.0], interrupt_in=interrupt_in)
    assert script.trainings == 1
    assert not script.in_training


@pytest.mark.parametrize(
    "schedule, losses, rates",
    [
        (Constant(), [3, 2, 1], [0.5] * 3),
        (InverseScaling(0.5), [3, 2, 1], [0.5, 0.5 / 10**0.5, 0.5 / 19**0.5]),
        (Adaptive(), [1, 1, 1, 1, 1, 1], [0.5, 0.5, 0.5, 0.1, 0.1, 0.1 / 5]),
    ],
    ids=repr,
)
def test_learning_rate_follows_its_schedule(schedule, losses, rates):
    state = {"schedule": schedule, "learning_rate_init": 0.5}
    script, _ = play(losses, state=state, tol=0.1, n_iter_no_change=1, batch_size=4)
    np.testing.assert_allclose(script.rates, np.outer(rates, np.ones(3)))


def test_adaptive_schedule_stops_at_its_smallest_rate():
    state = {"schedule": Adaptive(), "learning_rate_init": 0.5}
    script, trainer = play([1.0] * 100, state=state, tol=0.1, n_iter_no_change=1)
    assert len(script.epochs) < 100
    assert 1e-6 / 5 < trainer.state.learning_rate <= 1e-6


def test_order_is_scikit_learns():
    orders = []
    n_samples = 50
    rng = np.random.RandomState(7)
    script = Script([3.0, 2.0, 1.0])

    def note():
        orders.append(script.epochs[-1].order.copy())

    trainer = Trainer(script, begin(script, rng=rng), max_iter=3, on_epoch=note)
    with pytest.warns(ConvergenceWarning, match="Maximum iterations \\(3\\) reached"):
        trainer.train(np.zeros((n_samples, 1)), None)
    expected, rng = np.arange(n_samples), np.random.RandomState(7)
    for order in orders:
        expected = sklearn_shuffle(expected, random_state=rng)
        assert order.dtype == np.intp
        np.testing.assert_array_equal(order, expected)


def test_without_shuffle_the_rows_come_in_order():
    script, _ = play([2.0, 1.0], shuffle=False)
    for epoch in script.epochs:
        np.testing.assert_array_equal(epoch.order, np.arange(9))


@pytest.mark.parametrize(
    "n_samples, batch_size, rows",
    [(9, "auto", 9), (999, "auto", 200), (9, 4, 4), (9, 9, 9), (9, np.int32(2), 2)],
)
def test_batch_size(n_samples, batch_size, rows):
    script, _ = play([1.0], n_samples, batch_size=batch_size)
    assert script.epochs[0].batch_size == rows


def test_batch_larger_than_the_data_is_clipped_with_a_warning():
    with pytest.warns(UserWarning, match="clipped from 10 to 9"):
        script, _ = play([1.0], batch_size=10)
    assert script.epochs[0].batch_size == 9


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_loss_that_is_not_finite_stops_training_in_its_epoch(bad):
    with pytest.raises(ValueError, match=r"epoch 2\. Scale X and y.*_init=0\.001"):
        play([1.0, bad, 1.0])


def test_weight_that_is_not_finite_in_the_end_is_an_error():
    script = Script([1.0])
    script.params_[1] = np.inf
    trainer = Trainer(script, begin(script), max_iter=1)
    with pytest.raises(ValueError, match="a weight is not finite in epoch 1"):
        trainer.train(np.zeros((2, 1)), None)


def test_hooks_surround_every_epoch_and_can_stop():
    calls = []
    script, _ = play(
        [4.0, 3.0, 2.0, 1.0],
        on_epoch_begin=lambda: calls.append("begin"),
        on_epoch=lambda: calls.append("end") or len(calls) == 4,
    )
    assert calls == ["begin", "end"] * 2
    assert script.ended == 2


def test_hook_hears_of_the_epoch_at_which_training_converges():
    ends = []
    script, _ = play([1.0] * 9, n_iter_no_change=1, on_epoch=lambda: ends.append(1))
    assert len(ends) == len(script.epochs) == 3


def test_interrupted_epoch_is_ended_but_not_recorded():
    script, trainer = play([3.0, 2.0, 1.0], interrupt_in=2)
    assert script.ended == 2
    assert trainer.state.steps == 20
    assert trainer.state.history.n_iter == 1
    assert trainer.state.history.loss_curve == [3.0]


def test_only_the_order_takes_memory_proportional_to_the_samples():
    n_samples = 1_000_000
    X = np.broadcast_to(0.0, (n_samples, 1))
    script = Script([2.0, 1.0])
    trainer = Trainer(script, begin(script), max_iter=2)
    tracemalloc.start()
    with pytest.warns(ConvergenceWarning):
        trainer.train(X, X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * n_samples * np.intp().itemsize


# -- state that can be saved -----------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_training_resumed_from_saved_state_ends_at_the_same_weights(solver):
    X, y, _ = data("regression", 5)
    y = np.ascontiguousarray(y[:, np.newaxis])

    def train(network, state, epochs):
        trainer = Trainer(network, state, batch_size=10, max_iter=epochs)
        with pytest.warns(ConvergenceWarning):
            trainer.train(X, y)

    def begin(network):
        rng = np.random.RandomState(0)
        schedule = InverseScaling()
        return TrainingState.begin(network.params_, solver, schedule=schedule, rng=rng)

    at_once = cbp.Network((N_FEATURES, 5, 1), alpha=0.1, random_state=0)
    in_two = copy.deepcopy(at_once)
    state, resumed = begin(at_once), begin(in_two)
    train(at_once, state, 6)

    train(in_two, resumed, 2)
    resumed = pickle.loads(pickle.dumps(resumed))
    train(in_two, resumed, 4)

    np.testing.assert_array_equal(in_two.params_, at_once.params_)
    assert resumed.history == state.history
    assert resumed.learning_rate == state.learning_rate


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_moments_are_flat_arrays_of_the_dtype_of_the_parameters(solver):
    params = cbp.Network((2, 1), dtype=np.float32, random_state=0).params_
    moments = TrainingState.begin(params, solver).moments
    assert len(moments) == len(solver.moments)
    for moment in moments:
        assert moment.dtype == params.dtype
        assert moment.shape == params.shape
        assert not moment.any()


@pytest.mark.parametrize("before, taken_up", [(Adam(0.5), True), (SGD(), False)])
def test_moments_of_the_same_solver_are_taken_up_only(before, taken_up):
    params = np.zeros(3)
    reached = TrainingState.begin(params, before, steps=5)
    for moment in reached.moments:
        moment[:] = 1.0
    state = TrainingState.begin(params, Adam())
    state.take_up(reached)
    assert state.steps == (5 if taken_up else 0)
    assert [moment.all() for moment in state.moments] == [taken_up] * 2
    for mine, theirs in zip(state.moments, reached.moments, strict=False):
        assert not np.shares_memory(mine, theirs)


def test_moments_of_other_parameters_are_left_behind():
    state = TrainingState.begin(np.zeros(3), Adam())
    state.take_up(TrainingState.begin(np.zeros(4), Adam(), steps=5))
    assert state.steps == 0
    assert [moment.size for moment in state.moments] == [3, 3]


@pytest.mark.parametrize(
    "schedule, rate_init, rate",
    [(Adaptive(), 0.5, 0.1), (Constant(), 0.5, 0.5), (Adaptive(), 0.4, 0.4)],
)
def test_the_rate_is_taken_up_under_the_same_plan_only(schedule, rate_init, rate):
    plan = {"schedule": schedule, "learning_rate_init": rate_init}
    before = {"schedule": Adaptive(), "learning_rate_init": 0.5, "learning_rate": 0.1}
    state = TrainingState(solver=SGD(), **plan)
    state.take_up(TrainingState(solver=SGD(), **before))
    assert state.learning_rate == rate
