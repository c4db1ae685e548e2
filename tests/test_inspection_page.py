"""What docs/inspection.md prints is what the code prints."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parent.parent / "docs" / "inspection.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_sessions_print_what_the_page_says():
    source = "\n".join(block for block in BLOCKS if block.startswith(">>>"))
    test = doctest.DocTestParser().get_doctest(source, {}, PAGE.name, str(PAGE), 0)
    complaints = []
    with np.printoptions():
        doctest.DocTestRunner().run(test, out=complaints.append)
    assert test.examples
    assert not "".join(complaints)
