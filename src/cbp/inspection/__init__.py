"""Looking at a fitted model: is its gradient right, does it learn, what does it do?

Everything here is above the estimators, reads them through their public methods, and
changes nothing: `estimator.backprop(X, y)` gives the arrays, these show them.

    samples         what any function here takes, a Network or a fitted estimator with X
                    and y, as a Network and its samples; or what a fit has recorded
    gradient_check  the gradient against difference quotients of the loss
    diagnosis       what keeps a network from learning, with advice
    evidence        the measures that it rests on
    displays/       pictures, in scikit-learn's way
    explorer        a page for the browser: backpropagation step by step
    page_data       what that page shows, chosen and written as JSON; its program: page/
"""

from cbp.inspection.diagnosis import Diagnosis, Finding, diagnose
from cbp.inspection.displays import (
    ErrorSignalDisplay,
    GradientFlowDisplay,
    LossCurveDisplay,
    NetworkDisplay,
)
from cbp.inspection.evidence import LayerReport
from cbp.inspection.explorer import Explorer, explore
from cbp.inspection.gradient_check import GradientCheck, TensorCheck, check_gradients

__all__ = [
    "Diagnosis",
    "ErrorSignalDisplay",
    "Explorer",
    "Finding",
    "GradientCheck",
    "GradientFlowDisplay",
    "LayerReport",
    "LossCurveDisplay",
    "NetworkDisplay",
    "TensorCheck",
    "check_gradients",
    "diagnose",
    "explore",
]
