"""A dense network of the same size: what the budget buys without any pruning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lzero._torch import RESETS, fused_projections
from lzero.attach import attach_gates
from lzero.constraints import Budgets, Constraint
from lzero.cost import Measure
from lzero.errors import LzeroWarning, StructureError
from lzero.gates.gates import Gates
from lzero.gates.mask import Mask
from lzero.host.copies import deep_copy
from lzero.purge import purge


def same_size(model: nn.Module, example_inputs: Any, density: float, measure: Measure = "params") -> nn.Module:
    """A new, smaller and freshly initialised copy of ``model`` that costs at most ``density`` of it.

    Every group of units that :func:`lzero.discover` finds keeps the same share of its units, rounded down but at least
    one: the largest share whose cost is within the budget. What cannot be gated keeps its size. All parameters are
    drawn anew by the ``reset_parameters`` of their modules, from torch's global generators; an initialisation that
    the model's constructor adds to that is not repeated. ``model`` is left as it was.

    Args:
        model: an ungated model.
        example_inputs: as for ``attach_gates``.
        density: target density in (0, 1].
        measure: ``"params"``, ``"macs"`` or ``"gates"``.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> same_size(model, torch.zeros(1, 8), 0.5)
        Sequential(
          (0): Linear(in_features=8, out_features=7, bias=True)
          (1): ReLU()
          (2): Linear(in_features=7, out_features=2, bias=True)
        )

    Raises:
        BudgetError: a malformed or infeasible density; the message has the smallest feasible one.
        StructureError: ``model`` has gates, nothing in it can be gated, or modules with parameters of their own do not
            say how to draw them.
    """
    constraint = Constraint(density, measure)
    _check_resets(model)
    twin = deep_copy(model)
    gates = attach_gates(twin, example_inputs, estimator=Mask())
    keep = _largest_share(gates, Budgets([constraint], gates, "same_size"))
    with torch.no_grad():
        gates.log_alpha.copy_(keep.to(gates.log_alpha) * 2 - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LzeroWarning)  # nothing was trained, as intended
        small = purge(twin, settle=False, verify=False).model
    for module in reversed(list(small.modules())):  # parts before the whole, as constructors do
        _redraw(module)
    return small


def _largest_share(gates: Gates, budgets: Budgets) -> Tensor:
    """bool [G]: the first units of every group, at the largest share of them that meets ``budgets``."""
    sizes = {name: where.stop - where.start for name, where in gates.slices.items()}
    steps = sorted({(count / size, count, size) for size in set(sizes.values()) for count in range(1, size + 1)})

    def kept(position: int) -> Tensor:
        _, count, size = steps[position]
        mask = torch.zeros(len(gates), dtype=torch.bool, device=gates.log_alpha.device)
        for name, where in gates.slices.items():
            mask[where.start : where.start + max(1, sizes[name] * count // size)] = True
        return mask

    low, high = 0, len(steps) - 1  # the lowest step leaves one unit a group, which a feasible budget allows
    while low < high:
        middle = (low + high + 1) // 2
        fits = budgets.met(kept(middle))
        low, high = (middle, high) if fits else (low, middle - 1)
    return kept(low)


def _redraw(module: nn.Module) -> None:
    reset = _reset_of(module)
    if reset is None:
        return
    if not isinstance(module, nn.MultiheadAttention):
        reset()
        return
    # After purging heads it says that its weights are separate, and torch's method would look for such.
    with fused_projections(module, module.in_proj_weight is not None):
        reset()


def _reset_of(module: nn.Module) -> Callable[[], object] | None:
    """What draws the parameters of ``module`` anew, if it has such a method."""
    for name in RESETS:
        found: Callable[[], object] | None = getattr(module, name, None)
        if callable(found):
            return found
    return None


def _check_resets(model: nn.Module) -> None:
    stuck = [
        f"{path or 'the model itself'} ({type(module).__name__})"
        for path, module in model.named_modules()
        if _reset_of(module) is None and any(p is not None for p in module._parameters.values())
    ]
    if stuck:
        raise StructureError(
            f"same_size: no reset_parameters() on {', '.join(stuck)}, which own parameters; give each a method of that "
            "name that draws them anew, in place"
        )
