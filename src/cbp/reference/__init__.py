"""The same passes as in `kernels`, in plain Python, to be read beside a textbook.

equations   the equations, index by index
propagator  `Propagator`: from arrays to them and back
"""
