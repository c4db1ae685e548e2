"""Multilayer perceptrons at the speed of the hardware, open to the last delta.

`MLPClassifier` and `MLPRegressor` stand in for scikit-learn's; `MLPEstimator` is
both, by its loss; `Network` computes z, a and delta and hands them out.
"""

from cbp.estimators import MLPClassifier, MLPEstimator, MLPRegressor
from cbp.network import Backprop, Network

__version__ = "0.1.0"

__all__ = ["Backprop", "MLPClassifier", "MLPEstimator", "MLPRegressor", "Network"]
