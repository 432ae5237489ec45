"""Whether a purged model is what its gated model was: as many parameters as were counted, and the same outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lzero.cost import Cost
from lzero.errors import StructureError
from lzero.host.copies import private_copy
from lzero.host.module_path import ModulePath
from lzero.host.run import ForwardError, run
from lzero.host.tensors import map_tensors
from lzero.proving.compare import difference, tolerance_of
from lzero.surgery.attached import require_gates


def verify_purged(model: nn.Module, small: nn.Module, open_: Tensor) -> float:
    """The largest difference between the outputs of a gated model and of its purged one, on the example inputs.

    Args:
        model: with gates attached; it is left as it is.
        small: what purging has made of it.
        open_: bool [G], the gates that it was purged by.

    Raises:
        StructureError: outputs or numbers of parameters do not agree, or ``small`` does not run.
    """
    _check_count(model, small, open_)
    twin = private_copy(model)
    gates = require_gates(twin)
    if gates.plan.example_inputs is None:
        raise StructureError(f"{type(model).__name__}: no example inputs on the plan; pass verify=False")
    inputs = map_tensors(gates.plan.example_inputs, _as_the_model_takes(small, gates.log_alpha.device))
    with gates.fixed(gates.evaluate(open_)):
        before = run(twin, inputs)
    trial = private_copy(small)
    where = ModulePath(trial)
    try:
        after = run(trial, inputs)
    except ForwardError as failure:
        error = failure.error
        raise StructureError(
            f"{type(model).__name__}: the purged model does not run: {where.current or 'its forward'} raised "
            f"{type(error).__name__}: {error}. A size is written out there; make it follow the tensors, or pass the "
            "module to ignore="
        ) from error
    gap = difference(before, after)
    if not gap.relative <= tolerance_of(small):
        raise StructureError(
            f"{type(model).__name__}: purged and gated outputs differ by {gap.absolute:.2e}, "
            f"{gap.relative:.0e} of what they are; pass the layer that causes it to ignore="
        )
    return gap.absolute


def _check_count(model: nn.Module, small: nn.Module, open_: Tensor) -> None:
    gates = require_gates(model)
    if any(group.kind == "weight" for group in gates.plan.groups):
        return  # what is closed is 0, and stays
    found, expected = sum(p.numel() for p in small.parameters()), round(float(Cost(gates, "params").value(open_)))
    if found != expected:
        raise StructureError(f"{type(model).__name__}: the purged model has {found} parameters, expected {expected}")


def _as_the_model_takes(model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A conversion of example inputs to ``device``, and to the dtype that the whole model has been cast to since."""
    kinds = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    cast = kinds.pop() if len(kinds) == 1 else None

    def convert(tensor: Tensor) -> Tensor:
        floats = tensor.is_floating_point() and cast is not None
        return tensor.to(device, cast) if floats else tensor.to(device)

    return convert
