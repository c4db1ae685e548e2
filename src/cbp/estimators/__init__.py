"""scikit-learn's door: what users call, and what becomes of their parameters and data.

    classifier, regressor   scikit-learn's signatures
    parameters              what they take and what it means: constraints, docstrings
    base                    `MLPEstimator`: parameters, `fit`, `partial_fit`
    fit                     one call of them: what it goes on from, what it leaves
    fitted                  what a fitted estimator can be asked; how it is pickled
    callbacks               scikit-learn's callbacks around a fit and its epochs

Above `training`, `network` and `data`; no arithmetic of networks here. An estimator
owns its attributes; X, y and weights stay the user's and are read in place.
"""
