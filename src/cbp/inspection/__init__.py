"""Looking at a fitted model: is its gradient right, does it learn, what does it do?

Everything here is above the estimators, reads them through their public methods, and
changes nothing: `estimator.backprop(X, y)` gives the arrays, these show them.

    samples       what any function here takes, a Network or a fitted estimator with X
                  and y, as a Network and its samples
"""
