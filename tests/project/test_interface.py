"""The stubs, the compiled kernels and the reference agree on one interface."""

import ast
import inspect
import os
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import cbp
from cbp.kernels import propagator as kernels
from cbp.reference import propagator as reference

STUB = ast.parse(
    files("cbp.kernels").joinpath("propagator.pyi").read_text(encoding="utf-8")
)


def stubbed(body):
    """name -> names of the parameters, for the functions in a stub's body."""
    return {
        node.name: [argument.arg for argument in node.args.args]
        for node in body
        if isinstance(node, ast.FunctionDef)
    }


def public_names(namespace):
    return {name for name in vars(namespace) if not name.startswith("_")}


PROPAGATOR = next(
    node for node in STUB.body if getattr(node, "name", None) == "Propagator"
)
METHODS = stubbed(PROPAGATOR.body)
PROPERTIES = {
    node.name
    for node in PROPAGATOR.body
    if isinstance(node, ast.FunctionDef) and node.decorator_list
}


@pytest.mark.parametrize(
    "implementation", [kernels, reference], ids=["kernels", "reference"]
)
@pytest.mark.parametrize("method", sorted(set(METHODS) - PROPERTIES - {"__init__"}))
def test_methods_have_the_parameters_of_the_stub(implementation, method):
    signature = inspect.signature(getattr(implementation.Propagator, method))
    assert list(signature.parameters) == METHODS[method]


@pytest.mark.parametrize(
    "implementation", [kernels, reference], ids=["kernels", "reference"]
)
def test_propagators_are_made_from_the_parameters_of_the_stub(implementation):
    arguments = ((2, 1), "tanh", "identity", "squared_error", 0.0, np.dtype(float))
    names = METHODS["__init__"][1:]
    assert len(names) == len(arguments)
    implementation.Propagator(**dict(zip(names, arguments, strict=True)))


def test_the_stub_leaves_out_nothing_public():
    assert set(METHODS) - {"__init__"} == public_names(kernels.Propagator)
    functions = stubbed(STUB.body)
    for name, arguments in functions.items():
        signature = inspect.signature(getattr(kernels, name))
        assert list(signature.parameters) == arguments
    here = {
        name
        for name in public_names(kernels)
        if getattr(getattr(kernels, name), "__module__", None)
        == "cbp.kernels.propagator"
    }
    assert here == {*functions, "Propagator"}


def test_classes_say_where_they_come_from():
    assert kernels.Propagator.__module__ == "cbp.kernels.propagator"


def test_the_package_offers_what_it_promises():
    promised = {"MLPEstimator", "MLPClassifier", "MLPRegressor", "Network", "Backprop"}
    promised |= {"ChainRule", "Diagnosis", "GradientCheck", "Record"}
    promised |= {"from_sklearn", "to_sklearn"}
    promised |= {"ErrorSignalDisplay", "GradientFlowDisplay", "LossCurveDisplay"}
    promised |= {"NetworkDisplay", "check_gradients", "diagnose", "explore"}
    promised |= {"activations", "losses", "solvers", "schedules"}
    assert set(cbp.__all__) == promised
    assert all(hasattr(cbp, name) for name in promised)


def test_the_page_for_migrants_names_the_versions_that_are_supported():
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    page = " ".join((root / "docs" / "migrating.md").read_text("utf-8").split())
    bounds = [f"Python{project['requires-python']}", *project["dependencies"]]
    for name, oldest in (bound.split(">=") for bound in bounds):
        assert f"{name} >= {oldest}".lower() in page.lower()


def test_the_reference_can_stand_in_for_the_kernels():
    program = (
        "import sys, warnings, numpy as np; warnings.simplefilter('ignore');"
        "from cbp import MLPRegressor;"
        "X = np.arange(8.0).reshape(4, 2) / 8;"
        "fitted = MLPRegressor(max_iter=3, random_state=0).fit(X, X[:, 0]);"
        "print('cbp.kernels.propagator' in sys.modules, *fitted.predict(X).round(10))"
    )
    printed = {}
    for implementation in ("kernels", "reference"):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"CBP_IMPLEMENTATION": implementation},
            capture_output=True,
            text=True,
            check=True,
        )
        is_compiled, *predictions = run.stdout.split()
        assert is_compiled == str(implementation == "kernels")
        printed[implementation] = predictions
    assert printed["kernels"] == printed["reference"]
