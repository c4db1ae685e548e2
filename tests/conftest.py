"""Fixtures that several modules use."""

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="module")
def one_thread():
    """Threads make nothing of small products but spin for the cores of others."""
    with threadpool_limits(1):
        yield
