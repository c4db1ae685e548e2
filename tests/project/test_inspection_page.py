"""What docs/inspection.md prints is what the code prints."""

from pathlib import Path

import pytest
from sessions import run_sessions

PAGE = Path(__file__).parents[2] / "docs" / "inspection.md"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_sessions_print_what_the_page_says():
    _, complaints = run_sessions(PAGE)
    assert not complaints
