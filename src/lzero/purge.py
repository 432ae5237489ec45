"""The small model and its certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lzero.constraints import Budget, Constraint
from lzero.cost import Cost
from lzero.errors import StructureError
from lzero.gates.gate import Gate
from lzero.gates.gates import Gates
from lzero.settle import Settled
from lzero.settle import settle as settle_gates
from lzero.structure.copies import deep_copy
from lzero.structure.forward import ModulePath, map_tensors
from lzero.structure.gated import accept_plain_checkpoint, gated_leaves, gates_of
from lzero.structure.recurrent import unfollow_gates
from lzero.structure.run import largest_difference, run
from lzero.structure.shrink import scale_consumers, shrink

# Of the largest output that differs, by dtype; what remains is rounding in another order of summation.
_TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3}
_LOW_PRECISION = 5e-2


@dataclass(frozen=True)
class Certificate:
    """What was asked for and what is shipped, as plain numbers.

    Attributes:
        requested: budget name -> target density; empty where no budget was given.
        expected: budget name -> expected density of the gates at the end of training.
        trained: budget name -> density with the median gates, before settling.
        deployed: budget name -> density of the purged model: requested - deployed is >= 0 and below one unit.
        threshold: tau of :class:`Settled`.
        moved: gates that settling decided against their median.
        parameters: parameters of the purged model that are not purged to zero.
        parameters_before: parameters of the ungated model.
        largest_difference: largest |gated eval output - purged output| on the example inputs; None if not verified.
    """

    requested: Mapping[str, float]
    expected: Mapping[str, float]
    trained: Mapping[str, float]
    deployed: Mapping[str, float]
    threshold: float
    moved: int
    parameters: int
    parameters_before: int
    largest_difference: float | None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts and numbers, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        rows = [
            f"{name}: asked {self.requested[name]:.2%}, " if name in self.requested else f"{name}: "
            for name in self.deployed
        ]
        lines = [
            f"{row}shipped {self.deployed[name]:.2%} (expected {self.expected[name]:.2%}, "
            f"before settling {self.trained[name]:.2%})"
            for row, name in zip(rows, self.deployed, strict=True)
        ]
        lines.append(f"parameters: {self.parameters:,} of {self.parameters_before:,}")
        lines.append(f"threshold {self.threshold:.3f}, {self.moved} gates settled")
        if self.largest_difference is not None:
            lines.append(f"largest difference to the gated model: {self.largest_difference:.1e}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class PurgeResult:
    """A smaller plain module with its certificate.

    Attributes:
        model: a new module without gates or parametrizations.
        certificate: what it costs and how it was checked.
        kept: group name -> bool mask [k] of the units that live on.
    """

    model: nn.Module
    certificate: Certificate
    kept: Mapping[str, Tensor]


@torch.no_grad()
def purge(
    model: nn.Module,
    *,
    constraints: Sequence[Constraint] | None = None,
    settle: bool = True,
    verify: bool = True,
) -> PurgeResult:
    """A new, smaller, plain module that meets its budgets; ``model`` is left as it was.

    Args:
        model: a model with gates attached.
        constraints: the budgets; by default those of the Solver that was last built on the gates.
        settle: choose the deployed set so that every budget is met with less than one unit to spare; without it, or
            without a budget, the median gates decide.
        verify: run the gated and the purged model on the example inputs, count parameters, and compare.

    Raises:
        StructureError: ``model`` has no gates, or the purged model does not run, or does not give the same outputs.
        BudgetError: an infeasible budget.
    """
    gates = gates_of(model)
    if gates is None:
        raise StructureError(
            f"{type(model).__name__}: no gates to purge; call lzero.attach_gates(model, inputs) and train first"
        )
    if not any(getattr(hook, "__self__", None) is gates for hook in model._forward_pre_hooks.values()):
        raise StructureError(
            f"{type(model).__name__}: its gates belong to a part of it; purge the module that attach_gates was given"
        )
    budgets = gates.budgets if constraints is None else [Budget(constraint, gates) for constraint in constraints]
    settled = settle_gates(gates, budgets) if settle else Settled(gates.open_mask(), 0.5, 0)
    z = gates.evaluate(settled.open)
    kept = {name: mask.cpu() for name, mask in gates.split(settled.open).items()}
    small = without_gates(model)
    scale_consumers(small, gates.plan.groups, gates.split(z))
    shrink(small, gates.plan.groups, kept)
    difference = _verify(model, z, small, settled.open, gates) if verify else None
    return PurgeResult(small, _certify(gates, budgets, settled, difference), kept)


def without_gates(model: nn.Module) -> nn.Module:
    """A copy of ``model`` without its gates, holding the ungated weights."""
    plain = deep_copy(model)
    gates = gates_of(plain)
    for module in list(plain.modules()):
        gated = gated_leaves(module)
        if gated:
            _own_class(module)
            for leaf in gated:
                parametrize.remove_parametrizations(module, leaf, leave_parametrized=False)
            if isinstance(module, nn.RNNBase):
                unfollow_gates(module)
            for key in [k for k, hook in module._forward_pre_hooks.items() if _is_gate(hook)]:
                del module._forward_pre_hooks[key]
                module._forward_pre_hooks_with_kwargs.pop(key, None)
    for hooks in (plain._forward_pre_hooks, plain._load_state_dict_pre_hooks):
        for key, hook in list(hooks.items()):
            function = getattr(hook, "hook", hook)
            if getattr(function, "__self__", None) is gates or function is accept_plain_checkpoint:
                del hooks[key]
    return plain


def _is_gate(hook: object) -> bool:
    return isinstance(getattr(hook, "__self__", None), Gate)


def _own_class(module: nn.Module) -> None:
    """Give a copied module its own class: a parametrization lives on the class, which copies share."""
    shared = type(module)
    attributes = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(shared.__name__, shared.__bases__, attributes)


def _verify(model: nn.Module, z: Tensor, small: nn.Module, open_: Tensor, gates: Gates) -> float:
    """Largest difference of outputs; raises where outputs or parameter counts do not agree."""
    counted = Cost(gates, "params")
    weightless = all(group.kind != "weight" for group in gates.plan.groups)
    found, expected = sum(p.numel() for p in small.parameters()), int(counted.value(open_))
    if weightless and found != expected:
        raise StructureError(f"{type(model).__name__}: the purged model has {found} parameters, expected {expected}")
    twin = deep_copy(model)
    twin_gates = gates_of(twin)
    if twin_gates is None or gates.plan.example_inputs is None:
        raise StructureError(f"{type(model).__name__}: no example inputs on the plan; pass verify=False")
    inputs = map_tensors(gates.plan.example_inputs, lambda tensor: tensor.to(gates.log_alpha.device))
    with twin_gates.fixed(z):
        before = run(twin, inputs)
    trial = deep_copy(small)
    where = ModulePath(trial)
    try:
        after = run(trial, inputs)
    except Exception as error:
        raise StructureError(
            f"{type(model).__name__}: the purged model does not run: {where.current or 'its forward'} raised "
            f"{type(error).__name__}: {error}. A size is written out there; make it follow the tensors, or pass the "
            "module to ignore="
        ) from error
    difference, scale = largest_difference(before, after)
    tolerance = max(_TOLERANCES.get(p.dtype, _LOW_PRECISION) for p in small.parameters() if p.is_floating_point())
    if not difference <= tolerance * scale:
        raise StructureError(
            f"{type(model).__name__}: purged and gated outputs differ by {difference:.2e} (the largest "
            f"that differs is {scale:.2e}); pass the layer that causes it to ignore="
        )
    return difference


def _certify(gates: Gates, budgets: Sequence[Budget], settled: Settled, difference: float | None) -> Certificate:
    requested: dict[str, float] = {}
    columns: list[dict[str, float]] = [{}, {}, {}]
    sets = [gates.probability(), gates.open_mask(), settled.open]
    whole = Cost(gates, "params")
    parts = [(budget.names, budget.cost) for budget in budgets]
    for budget in budgets:
        requested.update(zip(budget.names, budget.targets.tolist(), strict=True))
    if "params" not in requested:
        parts.append((["params"], whole))
    for names, cost in parts:
        for column, p in zip(columns, sets, strict=True):
            column.update(zip(names, cost.fraction(p).tolist(), strict=True))
    return Certificate(
        requested=requested,
        expected=columns[0],
        trained=columns[1],
        deployed=columns[2],
        threshold=settled.threshold,
        moved=settled.moved,
        parameters=int(whole.value(settled.open)),
        parameters_before=int(whole.total),
        largest_difference=difference,
    )
