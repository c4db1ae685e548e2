"""Looking at a fitted model: is its gradient right, does it learn, what does it do?

Everything here is above the estimators, reads them through their public methods, and
changes nothing: `estimator.backprop(X, y)` gives the arrays, these show them.

    diagnosis       what keeps a network from learning, with advice
    evidence        the measures that it rests on
    gradient_check  the gradient against difference quotients of the loss
    samples         what any function here takes, a Network or a fitted estimator with X
                    and y, as a Network and its samples
"""

from cbp.inspection.diagnosis import Diagnosis, Finding, diagnose
from cbp.inspection.evidence import LayerReport
from cbp.inspection.gradient_check import GradientCheck, TensorCheck, check_gradients

__all__ = [
    "Diagnosis",
    "Finding",
    "GradientCheck",
    "LayerReport",
    "TensorCheck",
    "check_gradients",
    "diagnose",
]
