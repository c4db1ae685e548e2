"""Training of a network: who orders the steps, by which rule, and when they end.

    trainer     the loop over the epochs, stopping rules, schedules, Adam and SGD
    lbfgs       the same for scipy's L-BFGS-B, with iterations in the place of epochs
    record      `Record`: what the layers went through in each epoch
    measures    how large numbers are, and how much they have changed
    threads     how many threads a call may use

Above `network`, below `estimators`, of which nothing here knows. The solvers own their
moments; the parameters are the network's.
"""
