"""The estimators' parameters: signatures, table, constraints and docstrings agree."""

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.utils._param_validation import StrOptions, validate_parameter_constraints

from cbp import MLPClassifier, MLPEstimator, MLPRegressor
from cbp.estimators.parameters import PARAMETERS, ROWS
from cbp.functions.activations import ACTIVATIONS
from cbp.functions.losses import LOSSES, REGRESSION_LOSSES

CLASSES = [MLPEstimator, MLPClassifier, MLPRegressor]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def defaults(cls):
    return {name: p.default for name, p in inspect.signature(cls).parameters.items()}


def section(cls, title):
    """name -> (what stands after the colon, the text) in a section of the docstring."""
    doc = inspect.cleandoc(cls.__doc__)
    sections = re.split(r"^(.+)\n-+\n", doc, flags=re.MULTILINE)
    bodies = dict(zip(sections[1::2], sections[2::2], strict=True))
    entries = re.split(r"^(\S.*?) : (.*)\n", bodies[title], flags=re.MULTILINE)
    assert not entries[0].strip()
    names, kinds, texts = entries[1::3], entries[2::3], entries[3::3]
    assert len(set(names)) == len(names)
    return dict(zip(names, zip(kinds, texts, strict=True), strict=True))


def test_each_parameter_has_one_row_in_the_order_of_the_signature():
    assert len(PARAMETERS) == len(ROWS)
    assert list(PARAMETERS) == list(defaults(MLPEstimator))


def test_the_classes_differ_in_the_loss_only():
    general = defaults(MLPEstimator)
    assert defaults(MLPRegressor) == general
    assert defaults(MLPClassifier) == {k: v for k, v in general.items() if k != "loss"}


@pytest.mark.parametrize("cls", CLASSES)
def test_the_docstring_lists_the_signature_in_its_order_with_its_defaults(cls):
    entries = section(cls, "Parameters")
    assert list(entries) == list(defaults(cls))
    for name, (kind, text) in entries.items():
        assert kind.endswith(f", default={defaults(cls)[name]!r}"), name
        assert kind.startswith(PARAMETERS[name].kind) or name == "loss"
        lines = text.rstrip("\n").split("\n")
        assert lines[0].startswith("    ") and lines[0].strip(), name
        assert all(not line or line.startswith("    ") for line in lines), name
        assert max(map(len, lines)) <= 88, name


@pytest.mark.parametrize("cls", CLASSES)
def test_constraints_are_those_of_the_rows_and_take_the_defaults(cls):
    constraints = cls._parameter_constraints
    assert list(constraints) == list(defaults(cls))
    for name, constraint in constraints.items():
        assert constraint == PARAMETERS[name].constraint or name == "loss"
    validate_parameter_constraints(constraints, defaults(cls), cls.__name__)


@pytest.mark.parametrize("cls", CLASSES)
def test_names_that_are_documented_are_those_that_are_taken(cls):
    for name, (kind, _) in section(cls, "Parameters").items():
        taken = {
            option
            for constraint in cls._parameter_constraints[name]
            if isinstance(constraint, StrOptions)
            for option in constraint.options
        }
        written = set(re.findall(r"'(\w+)'", kind.partition(", default=")[0]))
        assert written == taken, name


@pytest.mark.parametrize(
    "cls, name, options",
    [
        (MLPEstimator, "loss", LOSSES),
        (MLPRegressor, "loss", REGRESSION_LOSSES),
        *((cls, "activation", ACTIVATIONS) for cls in CLASSES),
    ],
)
def test_each_function_is_an_option_with_a_meaning(cls, name, options):
    constraint, *records = cls._parameter_constraints[name]
    assert constraint.options == set(options)
    assert records == list(options.values())
    _, text = section(cls, "Parameters")[name]
    meanings = dict(re.findall(r"^    - '(\w+)': (\S.*)$", text, flags=re.MULTILINE))
    assert list(meanings) == list(options)


def test_each_argument_is_kept_under_its_name():
    for cls in CLASSES:
        given = {name: object() for name in defaults(cls)}
        assert cls(**given).get_params(deep=False) == given
    assert MLPClassifier().loss == "log_loss"


@pytest.mark.parametrize("params", [{"early_stopping": True}, {"record": "summary"}])
@pytest.mark.parametrize("cls", CLASSES)
def test_what_a_fit_leaves_is_documented(cls, params):
    X, y = np.eye(20), np.arange(20) % 2
    fitted = cls(max_iter=2, random_state=0, **params).fit(X, y)
    left = {name for name in dir(fitted) if name.endswith("_") and name[0] != "_"}
    documented = set(section(cls, "Attributes"))
    assert documented >= left
    if cls is not MLPEstimator:
        assert documented - left <= {"feature_names_in_", "record_"}


def test_the_classes_work_without_docstrings():
    program = "import cbp; print(cbp.MLPClassifier.__doc__, cbp.MLPRegressor())"
    run = subprocess.run(
        [sys.executable, "-OO", "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["None", "MLPRegressor()"]
