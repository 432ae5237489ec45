"""What a recipe's method is made of: gates, what steps between backward and step, and optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from lzero.baselines.magnitude import Magnitude
from lzero.constraints import Constraint
from lzero.errors import DataError
from lzero.experiments.kinds import expected, fits
from lzero.experiments.recipe import Recipe
from lzero.gates import AR, ARM, Estimator, HardConcrete, LogNormal, Mask, StraightThrough
from lzero.gates.gates import Gates
from lzero.solver import Elbo, Penalty, Solver
from lzero.solver.seam import Seam
from lzero.structure.attach import attach_gates, parameter_groups
from lzero.structure.gated import gates_of

ESTIMATORS: Mapping[str, Estimator] = {
    "hard_concrete": HardConcrete(),
    "arm": ARM(),
    "ar": AR(),
    "straight_through": StraightThrough(),
    "log_normal": LogNormal(),
    "mask": Mask(),
}


_SEAMS: Mapping[str, type[Seam]] = {"constrained": Solver, "magnitude": Magnitude, "elbo": Elbo}
_OF_THE_RECIPE = {"gates", "target_density", "measure", "constraints", "model", "examples", "return"}


def check(recipe: Recipe) -> None:
    """Raise where ``recipe`` names what its method does not have; no model is needed for that.

    Raises:
        DataError: no estimator has that name, or the method takes no such argument of a solver.
    """
    if recipe.estimator not in ESTIMATORS:
        raise DataError(f"estimator: no {recipe.estimator!r}; there are: {', '.join(ESTIMATORS)}")
    hints = get_type_hints(_SEAMS[recipe.method].__init__) if recipe.method in _SEAMS else {}
    kinds = {name: kind for name, kind in hints.items() if name not in _OF_THE_RECIPE}
    for name, value in recipe.solver:
        if name not in kinds:
            takes = ", ".join(sorted(kinds)) or "nothing there"
            raise DataError(f"solver: {recipe.method!r} has no argument {name!r}; it takes {takes}")
        if not fits(value, kinds[name]):
            raise DataError(f"solver, {name}: expected {expected(kinds[name])}, found {value!r}")


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
        ignore=recipe.ignore,
    )


def seam(recipe: Recipe, model: nn.Module, gates: Gates, steps: int, examples: int) -> Seam:
    """The solver or baseline of ``recipe``, for a training of so many ``steps`` on so many ``examples``."""
    options = dict(recipe.solver)
    if recipe.method == "elbo":
        return Elbo(gates, examples, measure=recipe.measure, **options)
    if recipe.method == "penalized":
        return Penalty(gates, recipe.coefficient, measure=recipe.measure)
    constraints = [Constraint(recipe.target, recipe.measure, recipe.scope)]
    options = {"total_steps": steps} | options
    if recipe.method == "magnitude":
        return Magnitude(gates, constraints=constraints, model=model, **options)
    return Solver(gates, constraints=constraints, **options)


def optimizers(recipe: Recipe, model: nn.Module) -> list[torch.optim.Optimizer]:
    """Adam over weights and gates; or SGD over the weights beside Adam over the gates."""
    if gates_of(model) is None:
        groups: list[dict[str, Any]] = [
            {"params": list(model.parameters()), "lr": recipe.lr, "weight_decay": recipe.weight_decay}
        ]
    else:
        groups = parameter_groups(model, recipe.lr, recipe.gate_lr, weight_decay=recipe.weight_decay)
    if recipe.optimizer == "adam":
        return [torch.optim.Adam(groups)]
    sgd: torch.optim.Optimizer = torch.optim.SGD(groups[:1], momentum=0.9, nesterov=recipe.nesterov)
    return [sgd, torch.optim.Adam(groups[1:])] if groups[1:] else [sgd]


def asked_at_the_end(recipe: Recipe) -> list[Constraint] | None:
    """The budget that a penalized training with a target is settled on, for comparison at equal size; else None."""
    if recipe.method not in ("penalized", "elbo") or (recipe.target is None and isinstance(recipe.scope, str)):
        return None
    return [Constraint(recipe.target, recipe.measure, recipe.scope)]
