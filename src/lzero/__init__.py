"""Train neural networks to a budget: ask for a density, get exactly that density, in one training.

gates = lzero.attach_gates(model, example_inputs)
solver = lzero.Solver(gates, target_density=0.10)
optimizer = torch.optim.Adam(lzero.parameter_groups(model, lr=7e-4, gate_lr=5e-3))
...
solver.step()  # between loss.backward() and optimizer.step()
...
result = lzero.purge(model)
"""

import importlib
from typing import TYPE_CHECKING

from lzero.constraints import Constraint
from lzero.errors import BudgetError, DataError, LzeroError, NonFiniteError, SolverError, StructureError
from lzero.gates.gates import Gates
from lzero.gates.hard_concrete import HardConcrete
from lzero.purge import PurgeResult, purge
from lzero.recorder import Recorder
from lzero.solver import Penalty, Solver
from lzero.structure.attach import attach_gates, parameter_groups
from lzero.structure.discover import discover
from lzero.structure.plan import Plan
from lzero.structure.reload import load_purged

__version__ = "0.1.0"

__all__ = [
    "BudgetError",
    "Constraint",
    "DataError",
    "Gates",
    "HardConcrete",
    "LzeroError",
    "NonFiniteError",
    "Penalty",
    "Plan",
    "PurgeResult",
    "Recorder",
    "Solver",
    "SolverError",
    "StructureError",
    "attach_gates",
    "discover",
    "load_purged",
    "parameter_groups",
    "purge",
]


if TYPE_CHECKING:
    from lzero import plots as plots
else:  # unseen by type checkers: to them it would make every misspelt name a thing of type Any

    def __getattr__(name: str) -> object:
        """``lzero.plots``, imported on first use: it alone needs matplotlib."""
        if name == "plots":
            return importlib.import_module("lzero.plots")
        raise AttributeError(f"module 'lzero' has no attribute {name!r}")
