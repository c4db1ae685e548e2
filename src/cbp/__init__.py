"""Multilayer perceptrons at the speed of the hardware, open to the last delta.

`MLPClassifier` and `MLPRegressor` stand in for scikit-learn's; `MLPEstimator` is
both, by its loss; `from_sklearn` takes over what is fitted already, `to_sklearn` hands
it back; `Network` computes z, a and delta and hands them out; what is in `inspection`
looks at them.
"""

from typing import TYPE_CHECKING

from cbp.estimators.base import MLPEstimator
from cbp.estimators.classifier import MLPClassifier
from cbp.estimators.regressor import MLPRegressor
from cbp.export.scikit_learn import from_sklearn, to_sklearn
from cbp.functions import activations, losses
from cbp.network.backprop import Backprop
from cbp.network.network import Network
from cbp.training import schedules, solvers
from cbp.training.record import Record

if TYPE_CHECKING:
    from cbp.formulas.chain_rule import ChainRule
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
    "activations",
    "check_gradients",
    "diagnose",
    "explore",
    "from_sklearn",
    "losses",
    "schedules",
    "solvers",
    "to_sklearn",
]


def __getattr__(name):
    """What looks at models is imported when it is first asked for."""
    if name == "ChainRule":
        from cbp.formulas.chain_rule import ChainRule

        return ChainRule
    if name in __all__ or name == "inspection":
        import cbp.inspection as inspection

        return inspection if name == "inspection" else getattr(inspection, name)
    raise AttributeError(f"module 'cbp' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
