"""Whether a purged model is what its gated model was: as many parameters as were counted, and the same outputs."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from lzero.cost import Cost
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.host.copies import private_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.module_path import ModulePath
from lzero.host.promoted import Promoted
from lzero.host.run import ForwardError, run
from lzero.proving.compare import difference, tolerance_of
from lzero.surgery.attached import require_gates


class Verification:
    """What a gated model gives on its example inputs, for the purged one to be held against.

    Args:
        model: with gates attached; it is left as it is.
        open_: bool [G], the gates that it is purged by.

    Raises:
        StructureError: there are no example inputs.
    """

    def __init__(self, model: nn.Module, open_: Tensor) -> None:
        self._model, self._gates, self._open = model, require_gates(model), open_
        if self._gates.plan.example_inputs is None:
            raise StructureError(f"{type(model).__name__}: no example inputs on the plan; pass verify=False")
        kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
        self._inputs = ExampleInputs.of(self._gates.plan.example_inputs).to(
            self._gates.log_alpha.device, kinds.pop() if len(kinds) == 1 else None
        )
        self._expected = self._outputs()

    def largest_difference(self, small: nn.Module) -> float:
        """The largest |gated output - output of ``small``|, what purging has made of the model.

        Where rounding may have added up beyond the tolerance of the model's dtype, both are looked at in float64 too.

        Raises:
            StructureError: outputs or numbers of parameters do not agree, or ``small`` does not run.
        """
        _check_count(self._gates, small, self._open, type(self._model).__name__)
        gap, tolerance = difference(self._expected, self._outputs_of(small)), tolerance_of(small)
        if not gap.relative <= tolerance and not self._precise_gap(small) <= tolerance:
            raise StructureError(
                f"{type(self._model).__name__}: purged and gated outputs differ by {gap.absolute:.2e}, "
                f"{gap.relative:.0e} of what they are; pass the layer that causes it to ignore="
            )
        return gap.absolute

    def _outputs(self, dtype: torch.dtype | None = None) -> list[Tensor]:
        twin = private_copy(self._model)
        gates = require_gates(twin)
        z = gates.evaluate(self._open)
        if dtype is not None:
            twin.to(dtype)
        with gates.fixed(z.to(gates.log_alpha)), nullcontext() if dtype is None else Promoted():
            return run(twin, self._inputs.to(dtype=dtype))

    def _outputs_of(self, small: nn.Module) -> list[Tensor]:
        trial = private_copy(small)
        try:
            return run(trial, self._inputs, ModulePath(trial))
        except ForwardError as failure:
            error = failure.error
            raise StructureError(
                f"{type(self._model).__name__}: the purged model does not run: {failure.path or 'its forward'} raised "
                f"{type(error).__name__}: {error}. A size is written out there; make it follow the tensors, or pass "
                "the module to ignore="
            ) from error

    def _precise_gap(self, small: nn.Module) -> float:
        """The relative difference of both in float64; infinite where they do not run in it."""
        try:
            expected, precise = self._outputs(torch.float64), private_copy(small).double()
            with Promoted():
                found = run(precise, self._inputs.to(dtype=torch.float64))
            return difference(expected, found).relative
        except ForwardError:
            return math.inf


def _check_count(gates: Gates, small: nn.Module, open_: Tensor, name: str) -> None:
    if any(group.kind == "weight" for group in gates.plan.groups):
        return  # what is closed is 0, and stays
    found, expected = sum(p.numel() for p in small.parameters()), round(float(Cost(gates, "params").value(open_)))
    if found != expected:
        raise StructureError(
            f"{name}: the purged model has {found} parameters, expected {expected}; were some added, removed or tied "
            "since the gates were attached? Attach them to the model as it is now"
        )
