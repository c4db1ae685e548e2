"""Training of a network: who orders the steps, by which rule, and when they end.

    trainer         the loop over the epochs
    solvers         state of Adam and SGD, and the schedule of their learning rate
    early_stopping  scores the epochs and keeps the best parameters
    history         what the finished epochs have led to, and when they stop improving
    lbfgs           the loop for scipy's L-BFGS-B: iterations in the place of epochs
    record          `Record`: what the layers went through in each epoch
    measures        how large numbers are, and how much they have changed
    threads         how many threads a call may use

Above `network`, below `estimators`, of which nothing here knows. The solvers own their
moments; the parameters are the network's.
"""
