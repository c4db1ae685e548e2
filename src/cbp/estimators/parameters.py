"""The estimators' parameters in one table: what each takes and what it means.

A row of `PARAMETERS` and the entry in the signatures are all that a parameter needs:
`documented` makes the constraints and the docstring of a class from the rows that its
signature names, with the defaults of the signature. What a fit leaves is described here
as well, once for all classes.
"""

import inspect
from inspect import cleandoc
from numbers import Integral, Real
from textwrap import fill, indent
from typing import NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from cbp.functions.activations import ACTIVATIONS
from cbp.functions.losses import LOSSES
from cbp.training.schedules import SCHEDULES
from cbp.training.solvers import SOLVERS

#: Of a line of a docstring, without its indentation.
WIDTH = 80


class Parameter(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    name : str
    constraint : list
        What it may be, any of these, as scikit-learn's validation has it.
    kind : str
        The same in words, as numpydoc has it before the default.
    text : str
        What it means, for the docstring.
    """

    name: str
    constraint: list
    kind: str
    text: str

    def entry(self, default):
        """Its entry in a numpydoc section."""
        text = indent(cleandoc(self.text), "    ")
        return f"{self.name} : {self.kind}, default={default!r}\n{text}"


def choice(name, introduction, options, note="", records=()):
    """The row of a parameter that takes one of several names, each with its meaning.

    Parameters
    ----------
    name : str
    introduction : str
        What is chosen, before the list of the options.
    options : dict of {str: str}
    note : str, default=""
        What is to be said after the list.
    records : iterable of type, default=()
        Classes of objects that it takes besides: names are shorthands of these.
    """
    meanings = [
        fill(f"- {option!r}: {meaning}", WIDTH, subsequent_indent="  ")
        for option, meaning in options.items()
    ]
    parts = [cleandoc(introduction), "\n".join(meanings), cleandoc(note)]
    return Parameter(
        name,
        [StrOptions(set(options)), *records],
        "{" + ", ".join(map(repr, options)) + "}" + (" or record" if records else ""),
        "\n\n".join(part for part in parts if part),
    )


def loss(losses):
    """The row of the loss for a class that takes `losses`, records by name."""
    return choice(
        "loss",
        "C_0, the loss of one sample with outputs a, summed over the outputs:",
        {name: record.text for name, record in losses.items()},
        "Or a record of `cbp.losses`, with parameters of its own.",
        losses.values(),
    )


def activation():
    return choice(
        "activation",
        "Activation function g(z) of the hidden layers:",
        {name: record.formula for name, record in ACTIVATIONS.items()},
        "Or a record of `cbp.activations`, with parameters of its own.",
        ACTIVATIONS.values(),
    )


def solver():
    return choice(
        "solver",
        "What minimises the loss:",
        {name: record.text for name, record in SOLVERS.items()},
        """Or a record of `cbp.solvers`, with parameters of its own. A name takes those
        of the parameters below that are its solver's.""",
        SOLVERS.values(),
    )


def learning_rate():
    return choice(
        "learning_rate",
        "Schedule of the learning rate:",
        {
            name: record.text + _acts_with(record.solvers)
            for name, record in SCHEDULES.items()
        },
        "Or a record of `cbp.schedules`, with parameters of its own.",
        SCHEDULES.values(),
    )


def _acts_with(solvers):
    return f" (with {' and '.join(map(repr, solvers))} only)" if solvers else ""


AT_LEAST_1 = Interval(Integral, 1, None, closed="left")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
BELOW_1 = Interval(Real, 0, 1, closed="left")

ROWS = (
    loss(LOSSES),
    Parameter(
        "hidden_layer_sizes",
        ["array-like", AT_LEAST_1],
        "array-like of int, or int",
        """Number of nodes of each hidden layer; ``()`` for a generalised linear
        model.""",
    ),
    activation(),
    solver(),
    Parameter(
        "alpha",
        [NOT_NEGATIVE],
        "float",
        """Strength of the L2 penalty: a batch of S samples (or with weights that sum to
        S) adds alpha/2 ||W||^2 / S to its loss. Intercepts are not penalised.""",
    ),
    Parameter(
        "batch_size",
        [StrOptions({"auto"}), AT_LEAST_1],
        "int or 'auto'",
        "Samples per update; 'auto' is min(200, n_samples).",
    ),
    learning_rate(),
    Parameter("learning_rate_init", [POSITIVE], "float", "Initial learning rate."),
    Parameter("power_t", [NOT_NEGATIVE], "float", "Exponent of 'invscaling'."),
    Parameter(
        "max_iter",
        [AT_LEAST_1],
        "int",
        "Largest number of epochs, or of iterations of 'lbfgs'.",
    ),
    Parameter(
        "shuffle",
        ["boolean"],
        "bool",
        "Whether to shuffle the samples before each epoch.",
    ),
    Parameter(
        "random_state",
        ["random_state"],
        "int, RandomState instance or None",
        """Source of the initial parameters and of the shuffling. Pass an int for the
        same model in every call.""",
    ),
    Parameter(
        "tol",
        [NOT_NEGATIVE],
        "float",
        """An epoch improves if its loss falls below the best one by at least this, or
        with early stopping its score rises by as much. 'lbfgs' has converged when no
        component of the gradient is larger, or an iteration lowers the loss by less
        than 2e-9 of it (1e-7 in float32).""",
    ),
    Parameter(
        "verbose", ["verbose"], "bool", "Whether to print the loss of each epoch."
    ),
    Parameter(
        "warm_start",
        ["boolean"],
        "bool",
        """Whether `fit` goes on exactly where the last one stopped: with its weights,
        or what was put into `coefs_` and `intercepts_` since, the moments of the
        solver, the learning rate, the random stream, the rows set aside.""",
    ),
    Parameter(
        "momentum",
        [Interval(Real, 0, 1, closed="both")],
        "float",
        "Momentum of SGD, from 0 to 1.",
    ),
    Parameter(
        "nesterovs_momentum",
        ["boolean"],
        "bool",
        "Whether the momentum of SGD is Nesterov's.",
    ),
    Parameter(
        "early_stopping",
        ["boolean"],
        "bool",
        """Whether to set samples aside, score them after each epoch (accuracy or R^2),
        stop when the score no longer improves and keep the weights of the best one.
        Not for 'lbfgs'.""",
    ),
    Parameter(
        "validation_fraction",
        [BELOW_1],
        "float",
        """Share of the samples set aside for early stopping; of each class the same,
        unless y is multilabel.""",
    ),
    Parameter(
        "beta_1",
        [BELOW_1],
        "float",
        "Decay of Adam's mean of the gradient, in [0, 1).",
    ),
    Parameter(
        "beta_2",
        [BELOW_1],
        "float",
        "Decay of Adam's mean of the squared gradient, in [0, 1).",
    ),
    Parameter("epsilon", [POSITIVE], "float", "Keeps Adam from dividing by zero."),
    Parameter(
        "n_iter_no_change",
        [AT_LEAST_1, Options(Real, {np.inf})],
        "int or numpy.inf",
        """Training stops (or the adaptive rate falls) after more epochs than this
        without improvement.""",
    ),
    Parameter(
        "max_fun",
        [AT_LEAST_1],
        "int",
        "Largest number of evaluations of the solver 'lbfgs'.",
    ),
    Parameter(
        "n_jobs",
        [None, AT_LEAST_1, Interval(Integral, None, -1, closed="right")],
        "int or None",
        """Threads at most; the model is bitwise the same for any number. A step takes
        as many as its work is worth. None is all cores that this process may use (by
        its affinity, its container, OMP_NUM_THREADS) or n_jobs of
        ``joblib.parallel_config``, -1 all cores, -2 all but one; these are one thread
        within a worker of joblib or multiprocessing, whose siblings use the others.""",
    ),
    Parameter(
        "record",
        [None, StrOptions({"summary"})],
        "{'summary'} or None",
        """Whether to record each epoch in `record_`: for each layer the norms of error
        signals and gradients, the size of a step beside that of the weights, and the
        share of dead nodes. That takes no further pass over the data, and leaves the
        model bitwise as it is.""",
    ),
)

#: name -> row, in the order of the signatures.
PARAMETERS = {row.name: row for row in ROWS}

#: What every fitted estimator has, as a numpydoc section.
ATTRIBUTES = cleandoc(
    """
    coefs_ : list of ndarray of shape (n_{l-1}, n_l)
        w^l_jk is ``coefs_[l-1][k, j]``. Arrays may be changed, or replaced by others,
        with effect on the next prediction or warm-started fit.

    intercepts_ : list of ndarray of shape (n_l,)
        b^l_j is ``intercepts_[l-1][j]``.

    network_ : Network
        The network itself, with its gradients and error signals.

    loss_ : float
        Loss of the last epoch (nan if training was interrupted before the end of the
        first).

    best_loss_ : float or None
        Smallest loss of an epoch; None with early stopping.

    loss_curve_ : list of float
        Loss of each epoch: the mean over its samples of the loss of their batch
        before the update, penalty included; with 'lbfgs', the loss after each
        iteration. Goes on growing with `partial_fit` and `warm_start`.

    validation_scores_ : list of float or None
        Score of the samples set aside after each epoch; None without early stopping.

    best_validation_score_ : float or None
        Largest of these scores, that of the weights that were kept.

    n_iter_ : int
        Number of epochs of the last `fit` and of every `partial_fit` since.

    t_ : int
        Number of samples seen in training.

    record_ : Record
        What happened in each epoch, layer by layer. Only with ``record="summary"``;
        goes on growing with `partial_fit` and `warm_start` as long as it is on.

    n_layers_ : int
        Number of layers, input and output included.

    n_outputs_ : int
        Number of nodes of the output layer.

    out_activation_ : str
        Activation function of the output layer.

    n_features_in_ : int
        Number of columns of X.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of X, if all are strings.
    """
)


def documented(**rows):
    """A decorator of estimators: their constraints and the sections of their docstring.

    In the docstring it fills in the lines ``%(parameters)s`` and ``%(attributes)s``.

    Parameters
    ----------
    **rows : Parameter
        Rows in the place of those of `PARAMETERS`, where a class takes something else.
    """

    def document(cls):
        signature = inspect.signature(cls).parameters
        of_class = [(PARAMETERS | rows)[name] for name in signature]
        cls._parameter_constraints = {row.name: row.constraint for row in of_class}
        if cls.__doc__ is not None:  # as it is under python -OO
            entries = (row.entry(signature[row.name].default) for row in of_class)
            doc = cleandoc(cls.__doc__)
            doc = doc.replace("%(parameters)s", "\n\n".join(entries))
            cls.__doc__ = doc.replace("%(attributes)s", ATTRIBUTES)
        return cls

    return document
