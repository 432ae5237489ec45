"""Whether a forward takes gated weights for its weights: some look at the types and names that gates change."""

from __future__ import annotations

import torch
from torch import nn

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.host.copies import private_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.run import ForwardError, run
from lzero.plan.plan import Plan
from lzero.proving.compare import comparable, difference, tolerance_of
from lzero.surgery.shrink import scale_consumers


def check_unnoticed(gated: nn.Module, gates: Gates, model: nn.Module, plan: Plan) -> None:
    """Raise where gates in a model are not the same as factors on its weights.

    Args:
        gated: a copy of ``model`` that nobody needs, with ``gates`` attached.
        gates: its gates.
        model: the model without gates.
        plan: what they were attached by; without example inputs, or with outputs that are NaN, nothing is checked.

    Raises:
        StructureError: the gated model fails, or gives other outputs.
    """
    if plan.example_inputs is None:
        return
    z = torch.linspace(0.5, 1.0, len(gates), dtype=gates.log_alpha.dtype, device=gates.log_alpha.device)
    inputs = ExampleInputs.of(plan.example_inputs).to(z.device)
    scaled = private_copy(model)
    scale_consumers(scaled, plan.groups, gates.split(z))
    try:
        expected = run(scaled, inputs)
    except ForwardError:  # the model has got another dtype since the plan was made
        return
    if not comparable(expected):  # inputs or weights that are not finite are for the training loop to tell of
        return
    del scaled
    try:
        with gates.fixed(z):
            gap = difference(expected, run(gated, inputs)).relative
        problem = "" if gap <= tolerance_of(gated) else "gives other outputs"
    except ForwardError as error:
        problem = f"raises {type(error.error).__name__}: {error.error}"
    if problem:
        raise StructureError(
            f"{type(model).__name__}: with gates its forward {problem}. Gated layers are of a type of their own "
            "(isinstance still holds), their weights go by other names in named_parameters, _parameters and "
            "state_dict, and modules() finds more; let the forward use isinstance, attributes and children() instead"
        )
