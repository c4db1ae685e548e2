"""X, y and weights: as users give them, and as networks read them.

    arrays      arrays as the kernels read them: dtype, layout, finite
    samples     the checks that estimators make
    targets     labels or numbers outside, rows of outputs inside
    splitting   which rows early stopping sets aside
    rows        `Rows`: which train, in their running order, and which are set aside
    chunks      rows in chunks, so that millions of them take little memory
    _shuffle    NumPy's legacy shuffle of the rows' order, at full speed

Nothing here knows how networks are trained. Arrays stay the caller's.
"""
