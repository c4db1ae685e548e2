"""`Network`: sizes, functions and one vector of parameters; the door to the kernels.

    network     checks all that comes in, lends propagators, makes passes
    backprop    the result of `Network.backprop`, and what follows from its arrays

Above the door everything is checked, below it nothing can fail. A network owns its
parameters, a propagator its workspace, the caller everything that is passed in.
"""
