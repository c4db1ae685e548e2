"""The folders of the package are layers, and its modules import no circles.

What is imported within functions counts as well: it only comes later.
"""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

#: The folders from below; those in one row know nothing of each other.
LAYERS = (
    ("functions", "formulas"),
    ("data",),
    ("kernels", "reference"),
    ("network",),
    ("training",),
    ("estimators",),
    ("export",),
    ("inspection",),
    ("cbp",),  # what lies in no folder: the public names
)
HEIGHT = {folder: height for height, row in enumerate(LAYERS) for folder in row}

#: What people look at models with; a program that trains need not load it.
NOT_LOADED = ("cbp.formulas", "cbp.inspection", "matplotlib")

ROOT = Path(__file__).parents[2] / "src" / "cbp"
CYTHON = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", re.M)


def sources(folder=ROOT, name="cbp"):
    """(module, path) of each source; a module in Cython may have two."""
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").is_file():
            yield from sources(path, f"{name}.{path.name}")
        elif path.suffix in (".py", ".pyx", ".pxd"):
            yield name if path.stem == "__init__" else f"{name}.{path.stem}", path


def imported(path):
    """The names of what a source imports: modules, or what is in them."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        for from_, plain in CYTHON.findall(source):
            yield from_ or plain
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "name modules in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph():
    """module -> the modules of the package that it imports."""
    edges = {module: set() for module, _ in sources()}
    for module, path in sources():
        for name in imported(path):
            owner = name if name in edges else name.rpartition(".")[0]
            edges[module] |= {owner} & edges.keys()
    return edges


IMPORTS = graph()


def folder_of(module):
    """The folder right below `cbp` that a module lies in, or "cbp"."""
    name = module.split(".")[1:2]
    return name[0] if name and (ROOT / name[0]).is_dir() else "cbp"


def test_each_folder_has_its_place():
    assert {folder_of(module) for module in IMPORTS} == HEIGHT.keys()


def test_the_imports_that_are_known_are_found():
    assert "cbp.data.arrays" in IMPORTS["cbp.data.samples"]
    assert "cbp.kernels.steps" in IMPORTS["cbp.kernels.propagator"]
    assert "cbp.inspection" in IMPORTS["cbp"]
    assert "cbp.formulas.chain_rule" in IMPORTS["cbp.network.backprop"]  # in a method


@pytest.mark.parametrize("module", IMPORTS)
def test_a_module_imports_from_its_folder_or_from_below(module):
    here = folder_of(module)
    wrong = {
        other
        for other in IMPORTS[module]
        if folder_of(other) != here and HEIGHT[folder_of(other)] >= HEIGHT[here]
    }
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError, naming the circle


def test_what_looks_at_models_is_not_loaded_until_it_is_used():
    program = "import sys, cbp; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = run.stdout.split()
    assert "cbp.estimators.base" in loaded
    wrong = [name for name in loaded if name.startswith(NOT_LOADED)]
    assert not wrong
