"""Multilayer perceptrons at the speed of the hardware, open to the last delta.

`MLPClassifier` and `MLPRegressor` stand in for scikit-learn's; `MLPEstimator` is
both, by its loss; `from_sklearn` takes over what is fitted already; `Network`
computes z, a and delta and hands them out; what is in `inspection` looks at them.
"""

from cbp.backprop import Backprop
from cbp.chain_rule import ChainRule
from cbp.classifier import MLPClassifier
from cbp.conversion import from_sklearn
from cbp.estimator import MLPEstimator
from cbp.inspection import (
    Diagnosis,
    ErrorSignalDisplay,
    GradientCheck,
    GradientFlowDisplay,
    LossCurveDisplay,
    NetworkDisplay,
    check_gradients,
    diagnose,
    explore,
)
from cbp.network import Network
from cbp.recording import Record
from cbp.regressor import MLPRegressor

__version__ = "0.1.0"

__all__ = [
    "Backprop",
    "ChainRule",
    "Diagnosis",
    "ErrorSignalDisplay",
    "GradientCheck",
    "GradientFlowDisplay",
    "LossCurveDisplay",
    "MLPClassifier",
    "MLPEstimator",
    "MLPRegressor",
    "Network",
    "NetworkDisplay",
    "Record",
    "check_gradients",
    "diagnose",
    "explore",
    "from_sklearn",
]
