"""Training of a network: who orders the steps, by which rule, and when they end.

    trainer         the loop over the epochs
    solvers         one record each: by which rule a batch changes the parameters
    schedules       one record each: how the learning rate changes
    state           `TrainingState`: what the next epoch depends on
    history         what the finished epochs have led to, and when they stop improving
    early_stopping  the score of held-out rows
    lbfgs           the loop for scipy's L-BFGS-B: iterations in the place of epochs
    record          `Record`: what the layers went through in each epoch, and measures
    threads         how many threads a call may use

Above `network`, below `estimators`, of which nothing here knows. Moments are the
state's, parameters the network's.
"""
