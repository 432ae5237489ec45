"""Imports go down only, in the library and in the lab; third-party packages stay where they belong."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lzero.errors
import lzero_lab.errors

ROOT = Path(lzero.errors.__file__).parent
LAB = Path(lzero_lab.errors.__file__).parent

PAGE = Path(__file__).parent.parent / "docs" / "architecture.md"

# Lowest first, as the page of the architecture states it. Modules of one layer may import each other.
BLOCK = re.search(r"```layers\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
LAYERS = [set(line.split()) for line in BLOCK[1].splitlines()]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# The lab uses the whole library, and its parts use each other in this order, lowest first.
LAB_LAYERS = [
    {"__init__"},
    {"errors"},
    {"files"},
    {"lock"},
    {"datasets"},
    {"models"},
    {"training"},
    {"runs", "studies"},
    {"watching"},
    {"cli"},
    {"__main__"},
]
LAB_RANK = {name: rank for rank, names in enumerate(LAB_LAYERS) for name in names}
LAB_HOMES = {"rich": "cli", "PIL": "datasets", "sklearn": "datasets", "distributed": "studies"}  # of its extras

# Where a third-party package may be imported; what is not listed may be imported anywhere.
HOMES = {
    "matplotlib": {"plots"},
    "jinja2": {"report"},
    "cooper": {"constraints", "solver"},
    "safetensors": {"shipped", "integrations"},
}
WITHOUT_TORCH = {"errors", "checks", "files", "recorder", "plots"}


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
    assert place in RANK, f"{path.name} is on no layer yet: add {place!r} to docs/architecture.md"
    package = ".".join(["lzero", *path.relative_to(ROOT).parent.parts])
    assert violations(place, path.read_text(encoding="utf-8"), package) == []


def modules_imported(path):
    """The modules of lzero that a file names in its imports; ``from lzero.x import y`` names y where it is a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "lzero":
            for dotted in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                place = ROOT.joinpath(*dotted.split(".")[1:])
                if place.with_suffix(".py").exists():
                    found.add(dotted)
    return found


def test_no_files_of_the_library_import_each_other():
    graph = {}
    for path in ROOT.rglob("*.py"):
        if path.name != "__init__.py":
            dotted = ".".join(("lzero", *path.relative_to(ROOT).with_suffix("").parts))
            graph[dotted] = modules_imported(path) - {dotted}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the circle
    assert order.index("lzero.plan.group") < order.index("lzero.gates.gates") < order.index("lzero.purge")
    assert {"lzero.plan.plan", "lzero.gates.draw"} <= graph["lzero.gates.gates"] | graph["lzero.gates.drawing"]


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
        ("purge", "from lzero_lab.cli import main"),
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
    heavy = (
        "torch._dynamo",
        "torch._inductor",
        "torch.distributed.fsdp",
        "matplotlib",
        "jinja2",
        "sklearn",
        "transformers",
    )
    code = f"import sys, lzero; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def lab_imports(source, package):
    """The modules of the lab that ``source``, in ``package``, imports: ``training.recipe``, or a package as a whole."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in getattr(node, "names", [])] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        found |= {name.removeprefix("lzero_lab.") for name in names if name.startswith("lzero_lab.")}
    return {MODULES.get(name) or MODULES.get(name.rpartition(".")[0]) or name for name in found}


def lab_modules():
    """Dotted name below the lab -> the same, packages by their __init__."""
    paths = [path.relative_to(LAB).with_suffix("") for path in LAB.rglob("*.py")]
    return {".".join(path.parts).removesuffix(".__init__"): ".".join(path.parts) for path in paths}


MODULES = lab_modules()


def lab_violations(place, source, package="lzero_lab"):
    """What a module of the lab's part ``place`` imports and must not, in words."""
    found = []
    for name in sorted(lab_imports(source, package)):
        part = name.partition(".")[0]
        if LAB_RANK.get(part, len(LAB_LAYERS)) > LAB_RANK[place]:
            found.append(f"{place} imports {name}, which lies above it")
        if part != place and LAB_RANK.get(part) == LAB_RANK[place]:
            found.append(f"{place} imports {name}, which lies beside it")
    for name in sorted(imported(source, package)):
        top = name.partition(".")[0]
        if LAB_HOMES.get(top, place) != place:
            found.append(f"{place} imports {top}, which belongs to {LAB_HOMES[top]}")
    return found


@pytest.mark.parametrize("path", sorted(LAB.rglob("*.py")), ids=lambda path: str(path.relative_to(LAB)))
def test_imports_of_the_lab_go_down_only(path):
    place = path.relative_to(LAB).parts[0].removesuffix(".py")
    assert place in LAB_RANK, f"{path.name} is on no layer yet: add {place!r} to LAB_LAYERS in this test"
    package = ".".join(["lzero_lab", *path.relative_to(LAB).parent.parts])
    assert lab_violations(place, path.read_text(encoding="utf-8"), package) == []


def test_no_module_of_the_lab_imports_itself_by_way_of_others():
    graph = {}
    for path in LAB.rglob("*.py"):
        parts = path.relative_to(LAB).with_suffix("").parts
        package = ".".join(["lzero_lab", *parts[:-1]])
        graph[".".join(parts)] = lab_imports(path.read_text(encoding="utf-8"), package)
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the circle
    assert order.index("training.recipe") < order.index("training.training") < order.index("cli.main")
    assert {"cli.console", "studies.cells"} <= graph["cli.study"] and graph["errors"] == set()


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("datasets", "from lzero_lab.models import build"),
        ("training", "def late():\n    from lzero_lab import runs"),
        ("training", "from lzero_lab.studies.cell import Cell"),
        ("studies", "import lzero_lab.runs.run"),
        ("files", "from .cli import main"),
        ("errors", "from lzero_lab import files"),
        ("training", "from lzero_lab import nothing_of_that_name"),
        ("studies", "from rich.console import Console"),
        ("training", "import sklearn.datasets"),
        ("cli", "from PIL import Image"),
    ],
)
def test_an_import_of_the_lab_that_goes_up_is_noticed(place, source):
    assert lab_violations(place, source)


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("training", "import lzero\nfrom lzero_lab import models\nfrom lzero_lab.datasets import Dataset"),
        ("cli", "import rich\nfrom lzero_lab.studies.cells import run_cells\nfrom lzero_lab import datasets"),
        ("datasets", "def late():\n    from PIL import Image\n    from sklearn.datasets import load_digits"),
    ],
)
def test_an_import_of_the_lab_that_goes_down_is_allowed(place, source):
    assert lab_violations(place, source) == []
