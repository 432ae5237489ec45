"""What a recipe's method is made of: the gates, and what steps between backward and the optimizer's step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

from torch import Tensor, nn

from lzero.attach import attach_gates
from lzero.baselines.magnitude import Magnitude
from lzero.constraints import Constraint
from lzero.gates import AR, ARM, Deterministic, Estimator, HardConcrete, LogNormal, Mask, StraightThrough
from lzero.gates.gates import Gates
from lzero.solver import Elbo, Penalty, Solver
from lzero.solver.gate_trainer import GateTrainer
from lzero_lab.errors import DataError
from lzero_lab.training.recipe import Recipe, is_of_type, type_in_words

ESTIMATORS: Mapping[str, Estimator] = {
    "hard_concrete": HardConcrete(),
    "arm": ARM(),
    "ar": AR(),
    "straight_through": StraightThrough(),
    "log_normal": LogNormal(),
    "deterministic": Deterministic(),
    "deterministic_logistic": Deterministic(count="logistic"),
    "mask": Mask(),
}


_SEAMS: Mapping[str, type[GateTrainer]] = {"constrained": Solver, "magnitude": Magnitude, "elbo": Elbo}
_OF_THE_RECIPE = {"gates", "target_density", "measure", "constraints", "model", "examples", "gate_lr", "finetune"}
_NO_PLAIN_VALUES = {"optimizer", "process_group", "fresh", "return"}


def check(recipe: Recipe) -> None:
    """Raise where ``recipe`` names what its method does not have; no model is needed for that.

    Raises:
        DataError: no estimator has that name, or the method takes no such argument of a solver.
    """
    if recipe.estimator not in ESTIMATORS:
        raise DataError(f"estimator: no {recipe.estimator!r}; there are: {', '.join(ESTIMATORS)}")
    hints = get_type_hints(_SEAMS[recipe.method].__init__) if recipe.method in _SEAMS else {}
    types = {name: type_ for name, type_ in hints.items() if name not in _OF_THE_RECIPE | _NO_PLAIN_VALUES}
    for name, value in recipe.solver:
        if name not in types:
            takes = ", ".join(sorted(types)) or "nothing there"
            raise DataError(f"solver: {recipe.method!r} has no argument {name!r}; it takes {takes}")
        if not is_of_type(value, types[name]):
            raise DataError(f"solver, {name}: expected {type_in_words(types[name])}, found {value!r}")


def attach(recipe: Recipe, model: nn.Module, example: Tensor) -> Gates:
    """The gates of ``model`` by ``recipe``.

    Raises:
        DataError: see :func:`check`.
    """
    check(recipe)
    return attach_gates(
        model,
        example,
        granularity=recipe.granularity,
        estimator=ESTIMATORS[recipe.estimator],
        per_example=recipe.per_example,
        open_probability=recipe.open_probability,
        round_to=recipe.round_to,
        ignore=recipe.ignore,
    )


def trainer(recipe: Recipe, model: nn.Module, gates: Gates, steps: int, examples: int) -> GateTrainer:
    """The solver or baseline of ``recipe``, for a training of so many ``steps`` on so many ``examples``."""
    options = dict(recipe.solver)
    rates: dict[str, Any] = {"total_steps": steps, "gate_lr": recipe.gate_lr}
    if recipe.method == "elbo":
        return Elbo(gates, examples, measure=recipe.measure, **(rates | options))
    if recipe.method == "penalized":
        return Penalty(gates, recipe.coefficient, measure=recipe.measure, **rates)
    constraints = recipe.constraints
    if not constraints:
        raise DataError(f"target: a {recipe.method} training needs one; give a density in (0, 1], such as 0.1")
    if recipe.method == "magnitude":
        return Magnitude(gates, constraints=constraints, model=model, **({"total_steps": steps} | options))
    return Solver(gates, constraints=constraints, finetune=0.0, **(rates | options))  # Training settles for all


def asked_at_the_end(recipe: Recipe) -> list[Constraint] | None:
    """The budget that a penalized training with a target is settled on, for comparison at equal size; else None."""
    return recipe.constraints or None if recipe.method in ("penalized", "elbo") else None
