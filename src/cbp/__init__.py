"""Multilayer perceptrons at the speed of the hardware, open to the last delta.

`Network` computes z, a and delta and hands them out.
"""

from cbp.network import Backprop, Network

__version__ = "0.1.0"

__all__ = ["Backprop", "Network"]
