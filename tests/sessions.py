"""The Python sessions of a page of docs/, run as doctest runs them."""

import doctest
import re

import numpy as np


def blocks_of(text):
    """The blocks of code of a page in Markdown."""
    return re.findall(r"^```\w+\n(.*?)^```$", text, re.M | re.S)


def run_sessions(path):
    """(names, complaints) after the page's Python has run from top to bottom."""
    blocks = blocks_of(path.read_text("utf-8"))
    source = "\n".join(block for block in blocks if block.startswith(">>>"))
    test = doctest.DocTestParser().get_doctest(source, {}, path.name, str(path), 0)
    assert test.examples
    complaints = []
    with np.printoptions():
        doctest.DocTestRunner().run(test, out=complaints.append, clear_globs=False)
    return test.globs, "".join(complaints)
