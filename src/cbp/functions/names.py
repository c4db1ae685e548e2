"""The vocabulary of a network: its activation functions and its losses.

For everyone who has to know which names exist and which of them go together.
The formulas behind the names are in `reference/equations.py` (as documentation) and in
`simd/` (as code that runs fast).
"""

#: g of the hidden layers, g(z) per node.
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")

#: g of the output layer; softmax is the only one that couples the nodes of a layer.
OUTPUT_ACTIVATIONS = (*ACTIVATIONS, "softmax", "exp")

#: Loss -> the output activations for which it is defined. A logarithm wants
#: probabilities (log_loss) or a mean that cannot reach zero (poisson).
LOSSES = {
    "squared_error": OUTPUT_ACTIVATIONS,
    "sum_of_squares": OUTPUT_ACTIVATIONS,
    "log_loss": ("logistic", "softmax"),
    "poisson": ("exp",),
}
