"""Imports go down only; matplotlib, cooper and torch stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lzero.errors

ROOT = Path(lzero.errors.__file__).parent

# Lowest first. Modules of one layer may import each other.
LAYERS = [
    {"errors"},
    {"checks", "_torch"},
    {"recorder"},
    {"plan"},
    {"host"},
    {"gates"},
    {"surgery"},
    {"tracing"},
    {"proving"},
    {"discover"},
    {"attach", "detach"},
    {"cost", "decay"},
    {"constraints"},
    {"settle"},
    {"solver"},
    {"certificate", "verify"},
    {"purge", "reload"},
    {"baselines", "integrations", "plots"},
    {"__init__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# Where a third-party package may be imported; what is not listed may be imported anywhere.
HOMES = {
    "matplotlib": {"plots"},
    "cooper": {"constraints", "solver"},
}
WITHOUT_TORCH = {"errors", "checks", "recorder", "plots"}


def imported(source, package):
    """The absolute dotted names that `source`, a module inside `package`, imports anywhere, also in functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from lzero import x` names the module x, and `from lzero.x import y` something in x.
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "lzero" else {module}
    return names


def violations(place, source, package="lzero"):
    """What a module of the part `place` imports and must not, in words."""
    found = []
    for name in sorted(imported(source, package)):
        top, _, rest = name.partition(".")
        # A name that is no part of the package, such as Solver, comes out of its __init__.
        first = rest.partition(".")[0]
        part = first if first in RANK else "__init__"
        if top == "lzero_lab":
            found.append(f"{place} imports {name}: the lab uses the library, never the other way round")
        if top == "lzero" and RANK[part] > RANK[place]:
            found.append(f"{place} imports {name}, which lies above it")
        if place not in HOMES.get(top, {place}):
            found.append(f"{place} imports {top}, which belongs to {' and '.join(sorted(HOMES[top]))}")
        if place in WITHOUT_TORCH and (top == "torch" or (top == "lzero" and part not in WITHOUT_TORCH)):
            found.append(f"{place} imports {name}, but knows no tensors")
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    place = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert place in RANK, f"{path.name} is on no layer yet: add {place!r} to LAYERS in this test and to the design"
    package = ".".join(["lzero", *path.relative_to(ROOT).parent.parts])
    assert violations(place, path.read_text(encoding="utf-8"), package) == []


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("gates", "from lzero.solver import Solver"),
        ("gates", "import lzero.cost"),
        ("cost", "def late():\n    from lzero import constraints"),
        ("solver", "from .baselines import magnitude"),
        ("tracing", "import matplotlib.pyplot as plt"),
        ("cost", "from cooper import Constraint"),
        ("purge", "import cooper"),
        ("plots", "import torch.nn"),
        ("plots", "from lzero.gates.gates import Gates"),
        ("recorder", "from torch import Tensor"),
        ("experiments", "from lzero_lab.cli import main"),
        ("errors", "from lzero.recorder import Recorder"),
        ("gates", "from lzero import Solver"),
        ("baselines", "import lzero"),
    ],
)
def test_an_import_that_goes_up_is_noticed(place, source):
    assert violations(place, source)


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("solver", "import cooper\nfrom lzero.gates.gates import Gates\nfrom lzero.errors import SolverError"),
        (
            "integrations",
            "from lzero import plots\nfrom lzero.recorder import Recorder\nimport lzero.baselines.bisection",
        ),
        ("plots", "import matplotlib\nfrom lzero.recorder import Recorder\nfrom .style import styled"),
        ("__init__", "import lzero\nimport torch\nfrom lzero import Solver"),
    ],
)
def test_an_import_that_goes_down_is_allowed(place, source):
    package = f"lzero.{place}" if place == "plots" else "lzero"
    assert violations(place, source, package) == []


def test_importing_the_library_loads_neither_a_compiler_nor_a_plotting_library():
    heavy = ("torch._dynamo", "torch._inductor", "torch.distributed.fsdp", "matplotlib", "sklearn", "transformers")
    code = f"import sys, lzero; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
