# ruff: noqa: E741 - l is the layer, as in the equations
"""What docs/backpropagation.md quotes, prints and computes is what the code has.

The page is read from the source tree, as are the files that it quotes; what it runs is
the installed package.
"""

import re
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import worked_example as worked
from sessions import blocks_of, run_sessions

from cbp.functions.activations import OUTPUT_ACTIVATIONS, Logistic
from cbp.functions.losses import LOSSES
from cbp.reference.equations import Net, output_error

CANONICAL_PAIRS = {
    (name, output) for name, loss in LOSSES.items() for output in loss.canonical
}
logistic = Logistic().g

PAGE = Path(__file__).parents[2] / "docs" / "backpropagation.md"
TEXT = PAGE.read_text("utf-8")

BLOCKS = blocks_of(TEXT)
#: (file, lines) of the blocks that follow a link to a file and a colon.
QUOTES = re.findall(r"\]\(([^)]+)\):\n\n```\w+\n(.*?)^```$", TEXT, re.M | re.S)

#: The page without its code, in which no $ begins a formula.
PROSE = re.sub(r"^```.*?^```$|`[^`\n]+`", "", TEXT, flags=re.M | re.S)
DISPLAY, INLINE = re.compile(r"^\$\$\n(.+)\n\$\$$", re.M), re.compile(r"\$([^$\n]+)\$")
FORMULAS = DISPLAY.findall(PROSE) + INLINE.findall(DISPLAY.sub("", PROSE))

#: Formulas with a number to be checked: those of the example, "symbol = ... = number".
CHAINS = [
    formula
    for formula in FORMULAS
    if re.search(r"\d\.\d", formula) or re.fullmatch(r"\w_\d = \d", formula)
]
#: Results are rounded to four decimals; what is computed from such is less exact.
HALF_UNIT, UNIT = 0.5e-4, 1e-4

#: What may stand outside formulas and code and have a digit.
NAMES_WITH_DIGITS = {"BP1", "BP2", "BP3", "BP4", "2-2-2"}

#: The rows of the table of losses and outputs.
PAIRS = re.findall(
    r"^\| `(\w+)` \$.+\$ \| (\w+) \| \$(.+)\$ \| (?:\$(.+)\$|Jacobian) \| \$(.+)\$ "
    r"\| (canonical)? ?\|$",
    TEXT,
    re.M,
)


@pytest.fixture(scope="module")
def session():
    """(names, complaints) after the page's Python has run from top to bottom."""
    return run_sessions(PAGE)


def quantities(net, result, eta):
    """The symbols of the example and their values, nodes and layers as in formulas."""
    values = {"C_0": result.sample_losses[0], r"\eta": eta}
    for l in (1, 2):
        for j in (1, 2):
            for name, array in (("z", result.z), ("a", result.a)):
                values[f"{name}_{j}^{l}"] = array[l][0, j - 1]
            values[rf"\delta_{j}^{l}"] = result.delta[l][0, j - 1]
            values[f"b_{j}^{l}"] = net.intercepts_[l - 1][j - 1]
            values[slope(f"b_{j}^{l}")] = result.intercept_grads[l - 1][j - 1]
            for k in (1, 2):
                weight = f"w_{{{j}{k}}}^{l}"
                values[weight] = net.coefs_[l - 1][k - 1, j - 1]
                values[slope(weight)] = result.coef_grads[l - 1][k - 1, j - 1]
    slopes_of_a = net.coefs_[1] @ result.delta[2][0]
    for k in (1, 2):
        values[f"x_{k}"] = result.a[0][0, k - 1]
        values[f"y_{k}"] = worked.Y[0][k - 1]
        values[slope(f"a_{k}^1")] = slopes_of_a[k - 1]
        values[slope(f"x_{k}")] = result.input_grads[0, k - 1]
    return {name: float(value) for name, value in values.items()}


def slope(symbol):
    return rf"\frac{{\partial C_0}}{{\partial {symbol}}}"


def evaluate(tex, values):
    """The number that a formula comes to; `values` has those of its symbols."""
    longest_first = sorted(map(re.escape, values), key=len, reverse=True)
    symbol = rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)"
    code = re.sub(symbol, lambda match: f"({values[match[0]]!r})", tex)
    code = re.sub(r"\\frac\{(.+?)\}\{(.+?)\}", r"((\1) / (\2))", code)
    code = code.replace(r"\cdot", "*").replace(r"\sigma", "sigma").replace("^2", "**2")
    code = re.sub(r"(?<=[\d)])\s*(?=\()", "*", code)
    return eval(code, {"sigma": logistic})


# -------------------------------------------------------------------------- the code


def test_every_block_of_code_is_a_session_or_a_quotation():
    quoted = {lines for _, lines in QUOTES}
    sessions = {block for block in BLOCKS if block.startswith(">>>")}
    assert quoted and sessions and quoted | sessions == set(BLOCKS)


@pytest.mark.parametrize(
    ("file", "quotation"),
    QUOTES,
    ids=[f"{Path(file).name}-{n}" for n, (file, _) in enumerate(QUOTES)],
)
def test_quoted_lines_stand_in_the_file_in_this_order(file, quotation):
    lines = (PAGE.parent / file).read_text("utf-8").splitlines()
    at = 0
    for stretch in re.split(r"^\.\.\.\n", quotation, flags=re.M):
        n, wanted = len(stretch.splitlines()), dedent(stretch).rstrip("\n")
        while dedent("\n".join(lines[at : at + n])) != wanted:
            at += 1
            assert at < len(lines), f"{file} has no such lines, or not here:\n{stretch}"
        at += n


def test_the_sessions_print_what_the_page_says(session):
    _, complaints = session
    assert not complaints


# ----------------------------------------------------------------------- the numbers


def test_the_session_works_the_example_that_the_kernels_are_tested_with(session):
    names, _ = session
    net, result = names["net"], names["result"]
    assert (net.activation, net.output_activation, net.loss) == (
        worked.ACTIVATION,
        worked.OUTPUT_ACTIVATION,
        worked.LOSS,
    )
    for on_the_page, by_hand in (
        (names["x"], worked.X),
        (names["y"], worked.Y),
        (net.params_, worked.PARAMS),
        (result.z[1], worked.Z1),
        (result.z[2], worked.Z2),
        (result.a[1], worked.A1),
        (result.a[2], worked.A2),
        (result.sample_losses, [worked.C_0]),
        (result.delta[2], worked.DELTA2),
        (result.delta[1], worked.DELTA1),
        (result.input_grads, worked.DX),
        (names["gradient"], worked.GRADIENT),
    ):
        np.testing.assert_allclose(on_the_page, by_hand, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("chain", CHAINS, ids=[c.split(" = ")[0] for c in CHAINS])
def test_every_number_by_hand_is_the_computed_one(chain, session):
    names, _ = session
    values = quantities(names["net"], names["result"], names["eta"])
    symbol, *steps = chain.split(" = ")
    exact = evaluate(symbol, values)
    for step in steps:
        assert evaluate(step, values) == pytest.approx(exact, rel=0, abs=UNIT)
    assert float(steps[-1]) == pytest.approx(exact, rel=0, abs=HALF_UNIT)


def test_every_quantity_of_the_example_is_worked_by_hand(session):
    names, _ = session
    values = quantities(names["net"], names["result"], names["eta"])
    parameters = {name for name in values if name[0] in "wb"}
    by_hand = {chain.split(" = ")[0] for chain in CHAINS}
    assert values.keys() - parameters <= by_hand


def test_there_are_no_numbers_but_in_code_and_formulas():
    body, _ = PROSE.split("## Sources")
    words = INLINE.sub("", DISPLAY.sub("", body))
    words = re.sub(r"\]\([^)]+\)|^\d\. ", "", words, flags=re.M)  # links, list markers
    assert set(re.findall(r"[\w-]*\d[\w-]*", words)) == NAMES_WITH_DIGITS


# ---------------------------------------------------------------------- the formulas


@pytest.mark.parametrize(
    ("loss", "output", "dC0_da", "da_dz", "delta", "canonical"),
    PAIRS,
    ids=[f"{loss}-{output}" for loss, output, *_ in PAIRS],
)
def test_delta_of_each_pair_is_that_of_the_reference(
    loss, output, dC0_da, da_dz, delta, canonical
):
    z, y = [0.3, -0.4], [1.0, 0.0]
    a = OUTPUT_ACTIVATIONS[output]().layer(z)
    at = [{"a": a_j, "y": y_j} for a_j, y_j in zip(a, y, strict=True)]
    net = Net.of((2,), "identity", output, loss, alpha=0.0)
    expected = pytest.approx(output_error(net, z, a, y), rel=1e-12)
    assert [evaluate(delta, values) for values in at] == expected
    assert bool(canonical) == ((loss, output) in CANONICAL_PAIRS)
    slopes = np.array([evaluate(dC0_da, values) for values in at])
    if output == "softmax":
        jacobian = np.diag(a) - np.outer(a, a)
    else:
        jacobian = np.diag([float(evaluate(da_dz, values)) for values in at])
    assert (jacobian @ slopes).tolist() == expected


def test_every_canonical_pair_is_in_the_table():
    assert {(loss, output) for loss, output, *_ in PAIRS} > CANONICAL_PAIRS


def test_formulas_mean_nothing_else_to_markdown():
    """GitHub renders $...$ if no mark of Markdown is in it and no word touches it."""
    assert "$" not in INLINE.sub("", DISPLAY.sub("", PROSE))
    for formula in FORMULAS:
        assert not re.search(r"\\[^A-Za-z]|[*|<>`]|[})]_|\]\(", formula), formula
        assert formula.count("{") == formula.count("}"), formula
        assert formula == formula.strip()
    for before, after in re.findall(r"(.?)\$[^$\n]+\$(.?)", DISPLAY.sub("", PROSE)):
        assert before in " (" and after in " ,.:;)"
