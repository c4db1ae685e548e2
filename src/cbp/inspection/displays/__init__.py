"""Pictures in scikit-learn's way.

`XDisplay.from_estimator(estimator, ...)` finds the data and draws them,
`XDisplay(data=...).plot(ax)` draws what is there already. matplotlib is imported when
something is drawn, not before.

    loss_curve       the loss of each epoch
    error_signal     how large delta is in each layer, over samples or epochs
    gradient_flow    how large the gradient is in each layer, and what its steps change
    network_display  the network itself, as nodes and edges; with network_graph (which
                     of them, and what they show), network_layout (where they lie) and
                     network_picture (how they look)
    plotting         what these have in common: axes, colours, lines, labels
    wording          and the words for numbers and changes
"""

from cbp.inspection.displays.error_signal import ErrorSignalDisplay
from cbp.inspection.displays.gradient_flow import GradientFlowDisplay
from cbp.inspection.displays.loss_curve import LossCurveDisplay
from cbp.inspection.displays.network_display import NetworkDisplay

__all__ = [
    "ErrorSignalDisplay",
    "GradientFlowDisplay",
    "LossCurveDisplay",
    "NetworkDisplay",
]
