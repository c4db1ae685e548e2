"""Looking at a fitted model: is its gradient right, does it learn, what does it do?

Everything here is above the estimators, reads them through their public methods, and
changes nothing: `estimator.backprop(X, y)` gives the arrays, these show them.

    gradient_check  the gradient against difference quotients of the loss
    samples         what any function here takes, a Network or a fitted estimator with X
                    and y, as a Network and its samples
"""

from cbp.inspection.gradient_check import GradientCheck, TensorCheck, check_gradients

__all__ = ["GradientCheck", "TensorCheck", "check_gradients"]
