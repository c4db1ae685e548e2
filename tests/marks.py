"""Which cases of a test run every time, and which only when all are asked for."""

import pytest


def slow(cases):
    """These cases are left out under an emulator or sanitizers."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow
        )
        for case in cases
    ]


def by_design(cases, usual, quick=lambda *case: True):
    """The cases, those that are not `usual` marked exhaustive, those not `quick` slow.

    A grid keeps all its combinations this way, and runs those that the code can tell
    apart.
    """
    return [
        pytest.param(
            *case,
            marks=[
                *([] if usual(*case) else [pytest.mark.exhaustive]),
                *([] if quick(*case) else [pytest.mark.slow]),
            ],
        )
        for case in cases
    ]
