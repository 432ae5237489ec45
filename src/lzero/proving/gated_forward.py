"""Whether a forward takes gated weights for its weights: some look at the types and names that gates change."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.host.copies import linked_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.run import ForwardError, run
from lzero.plan.plan import Plan
from lzero.proving.compare import comparable, difference, tolerance_of
from lzero.surgery.attached import require_gates
from lzero.surgery.remove import strip
from lzero.surgery.shrink import scale_consumers


def check_gated_forward(trial: nn.Module, gates: Gates, plan: Plan) -> None:
    """Raise where gates in a model are not the same as factors on its weights.

    Args:
        trial: a private copy of the model with ``gates`` attached; its gates are taken off, and its weights multiplied.
        gates: its gates.
        plan: what they were attached by; without example inputs, or with outputs that are NaN, nothing is checked.

    Raises:
        StructureError: the gated model fails, or gives other outputs.
    """
    if plan.example_inputs is None:
        return
    z = torch.linspace(0.5, 1.0, len(gates), dtype=gates.log_alpha.dtype, device=gates.log_alpha.device)
    inputs = ExampleInputs.of(plan.example_inputs).to(z.device)
    found, failure = list[Tensor](), None
    gated = linked_copy(trial, private=True)  # what one forward leaves behind for the next must not reach the other
    try:
        with require_gates(gated).fixed(z):
            found = run(gated, inputs)
    except ForwardError as error:
        failure = error.error
    del gated
    strip(trial, gates)
    scale_consumers(trial, plan.groups, gates.split(z))
    try:
        expected = run(trial, inputs)
    except ForwardError:  # the model has got another dtype since the plan was made
        return
    if not comparable(expected):  # inputs or weights that are not finite are for the training loop to tell of
        return
    if failure is not None:
        problem = f"raises {type(failure).__name__}: {failure}"
    elif difference(expected, found).relative > tolerance_of(trial):
        problem = "gives other outputs"
    else:
        return
    raise StructureError(
        f"{type(trial).__name__}: with gates its forward {problem}. Gated layers are of a type of their own "
        "(isinstance still holds), their weights go by other names in named_parameters, _parameters and "
        "state_dict, and modules() finds more; let the forward use isinstance, attributes and children() instead"
    )
