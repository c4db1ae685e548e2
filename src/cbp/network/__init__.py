"""`Network`: sizes, functions and one vector of parameters; the door to the kernels.

    network     checks all that comes in, makes passes
    parameters  one vector of all parameters, its views, and how users' arrays get in
    lending     propagators: which implementation, and who may use one now
    backprop    the result of `Network.backprop`, and what follows from its arrays

Above the door everything is checked, below it nothing can fail. A network owns its
parameters, a propagator its workspace, the caller everything that is passed in.
"""
