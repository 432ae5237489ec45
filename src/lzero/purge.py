"""The small model: settle, remove the gates, shrink, verify, certify."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lzero.certificate import Certificate, asked_of, certify
from lzero.checks import flag, shown
from lzero.constraints import Budgets, Constraint
from lzero.cost import Cost
from lzero.errors import LzeroWarning, StructureError
from lzero.gates.gates import Gates
from lzero.host.copies import private_copy
from lzero.host.module_path import ModulePath
from lzero.host.run import run
from lzero.host.tensors import map_tensors
from lzero.host.wrappers import check_unsharded, unwrap
from lzero.proving.compare import largest_difference
from lzero.settle import Settled
from lzero.settle import settle as settle_gates
from lzero.surgery.attached import gates_of
from lzero.surgery.remove import without_gates
from lzero.surgery.shrink import scale_consumers, shrink

# Of the largest output that differs, by dtype; what remains is rounding in another order of summation.
_TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-3}
_LOW_PRECISION = 5e-2


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
        model: a model with gates attached; also one inside DistributedDataParallel, ``torch.compile`` or
            ``AveragedModel``.
        constraints: the budgets; by default those that the gates were trained for, which ride in the state dict.
        settle: choose the deployed set so that every budget is met with less than one unit to spare; False ships
            the gates that are open.
        verify: run the gated and the purged model on the example inputs, count parameters, and compare.

    Raises:
        StructureError: ``model`` has no gates or is sharded over processes, or the purged model does not run, or does
            not give the same outputs.
        BudgetError: an infeasible budget.

    Warns:
        LzeroWarning: settling, and not the training, has chosen what is shipped; or there is no budget. The certificate
            says the same.
    """
    if not isinstance(model, nn.Module):
        raise StructureError(f"purge: expected a model with gates attached, found {shown(model)}")
    flag("settle", settle, error=StructureError)
    flag("verify", verify, error=StructureError)
    model = unwrap(model)
    gates = _gates_of_root(model)
    check_unsharded(model, "purge")
    asked = asked_of(gates) if constraints is None else constraints
    budgets = Budgets(asked, gates, "purge") if constraints is not None or asked else None
    settled = _settled(gates, budgets, given=constraints is not None, settle=settle)
    z = gates.evaluate(settled.open)
    kept = {name: mask.cpu() for name, mask in gates.split(settled.open).items()}
    small = without_gates(model)
    scale_consumers(small, gates.plan.groups, gates.split(z))
    shrink(small, gates.plan.groups, kept)
    difference = _verify(model, z, small, settled.open, gates) if verify else None
    certificate = certify(gates, budgets, settled, difference, asked=settle)
    for text in certificate.warnings:
        warnings.warn(f"{type(model).__name__}: {text}", LzeroWarning, stacklevel=3)
    return PurgeResult(small, certificate, kept)


def _gates_of_root(model: nn.Module) -> Gates:
    gates = gates_of(model)
    if gates is None:
        raise StructureError(
            f"{type(model).__name__}: no gates to purge; call lzero.attach_gates(model, inputs) and train first"
        )
    for path, module in model.named_modules():
        if any(getattr(hook, "__self__", None) is gates for hook in module._forward_pre_hooks.values()):
            if not path:
                return gates
            raise StructureError(
                f"{type(model).__name__}: its gates belong to a part of it, {path!r}; purge that: "
                f"lzero.purge(model.{path})"
            )
    raise StructureError(
        f"{type(model).__name__}: is a part of the model that its gates were attached to; purge the module that "
        "attach_gates was given"
    )


def _settled(gates: Gates, budgets: Budgets | None, *, given: bool, settle: bool) -> Settled:
    """The set to ship: what the training holds already, or the largest one that meets the budgets."""
    open_ = gates.open_mask()
    if settle and (given or gates.held is None):
        settled = settle_gates(gates, budgets)
        if gates.held is None or not torch.equal(settled.open, open_):
            return settled
    found = gates.ledger.latest.get("settled") if gates.held is not None else None
    threshold, moved = (0.5, 0.0) if found is None else found[-2:].tolist()
    return Settled(open_, threshold, int(moved), open_)


def _verify(model: nn.Module, z: Tensor, small: nn.Module, open_: Tensor, gates: Gates) -> float:
    """Largest difference of outputs; raises where outputs or parameter counts do not agree."""
    counted = Cost(gates, "params")
    weightless = all(group.kind != "weight" for group in gates.plan.groups)
    found, expected = sum(p.numel() for p in small.parameters()), round(float(counted.value(open_)))
    if weightless and found != expected:
        raise StructureError(f"{type(model).__name__}: the purged model has {found} parameters, expected {expected}")
    twin = private_copy(model)
    twin_gates = gates_of(twin)
    if twin_gates is None or gates.plan.example_inputs is None:
        raise StructureError(f"{type(model).__name__}: no example inputs on the plan; pass verify=False")
    inputs = map_tensors(gates.plan.example_inputs, _as_the_model_takes(small, gates.log_alpha.device))
    with twin_gates.fixed(z):
        before = run(twin, inputs)
    trial = private_copy(small)
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


def _as_the_model_takes(model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A conversion of example inputs to ``device``, and to the dtype that the whole model has been cast to since."""
    kinds = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    cast = kinds.pop() if len(kinds) == 1 else None

    def convert(tensor: Tensor) -> Tensor:
        floats = tensor.is_floating_point() and cast is not None
        return tensor.to(device, cast) if floats else tensor.to(device)

    return convert
