"""Which cases of a test run where the code is many times slower than on its own."""

import pytest


def slow(cases):
    """These cases are left out under an emulator or sanitizers."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow
        )
        for case in cases
    ]
