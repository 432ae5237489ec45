"""Train neural networks to a budget: ask for a density, get exactly that density, in one training.

gates = lzero.attach_gates(model, example_inputs)
solver = lzero.Solver(gates, target_density=0.10, total_steps=epochs * len(loader))
optimizer = torch.optim.AdamW(model.parameters())  # as it was
...
solver.step()  # anywhere between loss.backward() and the next forward
...
result = lzero.purge(model)
"""

import importlib
from typing import TYPE_CHECKING

from lzero import latency as latency
from lzero.attach import attach_gates
from lzero.compact import compact
from lzero.compaction import Compaction
from lzero.constraints import Constraint
from lzero.detach import detach_gates
from lzero.discover import discover
from lzero.errors import (
    BudgetError,
    LzeroError,
    LzeroWarning,
    NonFiniteError,
    RecordError,
    SolverError,
    StructureError,
)
from lzero.front import Front, front
from lzero.gates.gates import Gates
from lzero.gates.hard_concrete import HardConcrete
from lzero.plan.plan import Plan
from lzero.purge import PurgeResult, purge
from lzero.recorder import Recorder
from lzero.reload import load_purged
from lzero.save import save_purged
from lzero.solver import Descent, Penalty, Solver
from lzero.surgery.attached import gates_of
from lzero.version import __version__ as __version__

if TYPE_CHECKING:
    from lzero import integrations as integrations
    from lzero import plots as plots

__all__ = [
    "BudgetError",
    "Compaction",
    "Constraint",
    "Descent",
    "Front",
    "Gates",
    "HardConcrete",
    "LzeroError",
    "LzeroWarning",
    "NonFiniteError",
    "Penalty",
    "Plan",
    "PurgeResult",
    "RecordError",
    "Recorder",
    "Solver",
    "SolverError",
    "StructureError",
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


def __dir__() -> list[str]:
    """The public names alone: what a prompt should offer, and none of the files that they come from."""
    return sorted([*__all__, "__version__", "integrations", "latency", "plots"])


if not TYPE_CHECKING:  # a checker must see every name that is not there

    def __getattr__(name: str) -> object:
        """``lzero.plots``, which alone needs matplotlib, and ``lzero.integrations``: imported on first use."""
        if name in ("integrations", "plots"):
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module 'lzero' has no attribute {name!r}")
