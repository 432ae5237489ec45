"""The contract of the design: these names, with these parameters."""

import importlib
import inspect
import subprocess
import sys

import pytest

import lzero

SIGNATURES = {
    "discover": (["model", "example_inputs"], {"granularity": "unit", "ignore": ()}),
    "attach_gates": (["model", "example_inputs"], {"granularity": "unit", "estimator": None, "rescale": True}),
    "gates_of": (["model"], {}),
    "detach_gates": (["model"], {}),
    "Constraint": (
        ["target", "measure", "within", "each_layer", "uniform"],
        {"measure": "params", "within": None, "each_layer": False, "uniform": False, "table": None},
    ),
    "Solver": (
        ["gates", "target_density"],
        {"target_density": None, "measure": "params", "constraints": None, "total_steps": None, "optimizer": None},
    ),
    "Penalty": (["gates", "coefficient"], {"measure": "params"}),
    "compact": (["model"], {"copies": ()}),
    "Compaction": (["model"], {"copies": ()}),
    "Descent": (["gates", "targets"], {"measure": "params", "finetune": None, "fresh": False}),
    "front": (["model", "targets", "evaluate"], {"measure": "params", "calibrate": None, "inputs": None}),
    "purge": (["model"], {"settle": True, "verify": True, "measure": True, "constraints": None}),
    "save_purged": (["result", "folder"], {}),
    "load_purged": (["model", "saved"], {}),
    "HardConcrete": (
        ["temperature", "gamma", "zeta", "evaluate"],
        {"temperature": 2 / 3, "gamma": -0.1, "zeta": 1.1, "evaluate": "mean"},
    ),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_public_callables_take_what_the_design_says(name):
    positional, defaults = SIGNATURES[name]
    parameters = inspect.signature(getattr(lzero, name)).parameters
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    assert [p.name for p in parameters.values() if p.kind in kinds] == positional
    for option, default in defaults.items():
        assert parameters[option].default == default


def test_all_names_exist_are_documented_and_sorted():
    assert lzero.__all__ == sorted(lzero.__all__)
    for name in lzero.__all__:
        assert inspect.getdoc(getattr(lzero, name)), name
    promised = ["Plan", "Gates", "Recorder", "PurgeResult", "Front", *SIGNATURES]
    assert set(promised) <= set(lzero.__all__)
    assert lzero.__version__


@pytest.mark.parametrize("trainer", [lzero.Solver, lzero.Penalty])
def test_both_trainers_have_the_same_methods(trainer):
    for method in ("step", "metrics"):
        assert callable(getattr(trainer, method))
    for value in ("steps", "skipped"):
        assert isinstance(getattr(trainer, value), property)
    assert isinstance(lzero.Solver.multipliers, property)
    assert not hasattr(trainer, "state_dict")  # the model's has it all


@pytest.mark.parametrize("room", ["gates", "baselines", "latency", "solver"])
def test_every_room_exports_documented_names_by_one_path(room):
    module = importlib.import_module(f"lzero.{room}")
    assert module.__all__ == sorted(module.__all__) and inspect.getdoc(module)
    for name in module.__all__:
        value = getattr(module, name)
        assert inspect.getdoc(value), name
        assert getattr(value, "__module__", f"lzero.{room}").startswith(("lzero.", "typing")), name


def test_dir_is_the_public_names_and_no_files():
    assert dir(lzero) == sorted([*lzero.__all__, "__version__", "integrations", "latency", "plots"])
    for name in dir(lzero):
        assert getattr(lzero, name) is not None
    assert dir(lzero.integrations) == sorted(lzero.integrations.STACKS)


def test_what_dir_leaves_out_is_still_imported_as_ever():
    names = {}
    exec("from lzero import *", names)
    assert names.keys() - {"__builtins__"} == {*lzero.__all__}
    exec("import lzero.errors; from lzero import gates, plots; from lzero.purge import purge", names)
    assert names["purge"] is lzero.purge and names["gates"].Gates is lzero.Gates is names["Gates"]
    assert lzero.errors.LzeroError is lzero.LzeroError


def test_importing_lzero_loads_no_baseline():
    code = "import sys, lzero; print([name for name in sys.modules if name.startswith('lzero.baselines')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_there_are_few_public_names_and_no_more():
    kinds = [name for name in lzero.__all__ if not issubclass(type(getattr(lzero, name)), type)]
    assert kinds == [
        "attach_gates",
        "compact",
        "detach_gates",
        "discover",
        "front",
        "gates_of",
        "load_purged",
        "purge",
        "save_purged",
    ]
    assert not hasattr(lzero, "parameter_groups")


def test_the_warning_is_a_users_warning_and_no_error():
    assert issubclass(lzero.LzeroWarning, UserWarning) and not issubclass(lzero.LzeroWarning, lzero.LzeroError)


@pytest.mark.parametrize("error", ["StructureError", "BudgetError", "SolverError", "RecordError", "NonFiniteError"])
def test_every_error_is_an_lzero_error(error):
    assert issubclass(getattr(lzero, error), lzero.LzeroError)
