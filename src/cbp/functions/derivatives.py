"""The factors of the chain rule, each by itself, over whole arrays.

Training never needs them apart: where a loss meets its canonical activation, dC_0/da
has a pole that g'(z) cancels, and only delta^L = a^L - y is computed. Whoever looks at
a gradient term by term does. What can be computed from z is, so that nothing is lost
where a has been rounded to 0 or 1, and all in float64, because dC_0/da leaves the range
of float32 early. The formulas are those of `reference/equations.py`.
"""

import numpy as np
from scipy.special import expit, logsumexp, softmax

#: g'(z) of every activation that acts on each node by itself.
SLOPES = {
    "identity": np.ones_like,
    "logistic": lambda z: expit(z) * expit(-z),
    "tanh": lambda z: 1.0 / np.cosh(z) ** 2,
    "relu": lambda z: (z > 0).astype(np.float64),
    "exp": np.exp,
}


def activation_slopes(activation, z):
    """da_j/dz_j of every node j.

    Parameters
    ----------
    activation : str
        One of `functions.OUTPUT_ACTIVATIONS`. Of softmax, whose nodes are coupled,
        this is the diagonal of the Jacobian.
    z : ndarray of shape (n, n_l)

    Returns
    -------
    slopes : ndarray of shape (n, n_l), float64
    """
    z = np.asarray(z, np.float64)
    with np.errstate(over="ignore"):  # e^710 is inf, cosh of it too: 1/inf is right
        if activation == "softmax":
            # 1 - a_j is the sum of the others: the difference would lose its digits.
            return np.stack(
                [softmax_row(z, j)[:, j] for j in range(z.shape[1])], axis=1
            )
        return SLOPES[activation](z)


def softmax_row(z, j):
    """da_m/dz_j for every node m: a row of the (symmetric) Jacobian of softmax.

    Parameters
    ----------
    z : ndarray of shape (n, n_L)
    j : int

    Returns
    -------
    row : ndarray of shape (n, n_L), float64
        a_m (1 - a_j) for m = j, else -a_m a_j.
    """
    a = softmax(np.asarray(z, np.float64), axis=1)
    row = -a * a[:, [j]]
    row[:, j] = a[:, j] * np.delete(a, j, axis=1).sum(axis=1)
    return row


def loss_slopes(loss, output_activation, z, a, y):
    """dC_0/da^L_j of every output node j.

    Parameters
    ----------
    loss, output_activation : str
        A pair of `functions.LOSSES`.
    z, a, y : ndarray of shape (n, n_L)
        z^L, a^L and the targets, which are 0 or 1 for log_loss.

    Returns
    -------
    slopes : ndarray of shape (n, n_L), float64
        Infinite where e^|z| is.
    """
    z, a, y = (np.asarray(values, np.float64) for values in (z, a, y))
    with np.errstate(over="ignore"):
        if loss == "poisson":  # 1 - y/a, and 1 where y is 0
            inverse = np.exp(-z, out=np.zeros_like(z), where=y > 0)
            return 1.0 - y * inverse
        if loss == "log_loss" and output_activation == "softmax":  # -y/a
            return np.where(
                y > 0, -np.exp(logsumexp(z, axis=1, keepdims=True) - z), 0.0
            )
        if loss == "log_loss":  # -1/a where y is 1, 1/(1 - a) where it is 0
            return np.where(y > 0, -1.0 - np.exp(-z), 1.0 + np.exp(z))
    return {"squared_error": 1.0, "sum_of_squares": 2.0}[loss] * (a - y)
