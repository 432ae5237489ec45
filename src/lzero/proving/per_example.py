"""Where gates can be drawn for each example: what reads a unit must be a layer whose input can be multiplied."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.host.inputs import ExampleInputs
from lzero.host.run import ForwardError, run
from lzero.host.tensors import find_tensor
from lzero.plan.group import GateGroup
from lzero.plan.plan import Plan
from lzero.proving.compare import PRECISE, TOLERANCES, difference
from lzero.proving.random_weights import cast, randomise
from lzero.surgery.attached import gated_leaves

_READ_AT = {  # exact types: a subclass may do with its input what it likes
    nn.Linear: 1,
    nn.Conv1d: 1,
    nn.Conv2d: 1,
    nn.Conv3d: 1,
    nn.ConvTranspose1d: 0,
    nn.ConvTranspose2d: 0,
    nn.ConvTranspose3d: 0,
}
_WAY_OUT = "pass it to ignore=, or attach gates with per_example=False"


def check_readers(model: nn.Module, groups: Sequence[GateGroup]) -> None:
    """Raise where a unit is read by anything else than the input dim of a Linear or an ungrouped convolution.

    Norms are such readers: what they leave out is one set of units for all examples. So are whole blocks.

    Raises:
        StructureError: naming the tensor.
    """
    for group in groups:
        if group.blocks:
            raise StructureError(
                f"per_example: {group.blocks[0].path} as a whole has one gate for all examples; ask for "
                'granularity="unit" there, or attach gates with per_example=False'
            )
        if group.norms:
            raise StructureError(
                f"per_example: {group.norms[0].path} normalises over the units of {group.name}, and leaves out one set "
                'of them for all examples; ask for granularity="unit" there, or attach gates with per_example=False'
            )
        for member in group.consumers:
            tensor = find_tensor(model, member.tensor)
            for module in model.modules():
                if any(parameter is tensor for parameter in module._parameters.values()) and (
                    _READ_AT.get(type(module)) != member.dim or getattr(module, "groups", 1) != 1
                ):
                    raise StructureError(
                        f"per_example: {member.tensor} ({type(module).__name__}) reads {group.name} along dim "
                        f"{member.dim}, not through the input of a Linear or an ungrouped convolution; {_WAY_OUT}"
                    )


def check_products(model: nn.Module, gates: Gates, plan: Plan) -> None:
    """Raise where gating inputs is not the same as gating weights.

    Weights and inputs are drawn anew, in float64 where the model takes that: no zero hides a difference. A second batch
    has one example more, so that no other dim is taken for the examples.

    Args:
        model: a copy that nobody needs, with ``gates`` attached.
        gates: its gates.
        plan: what they were attached by.

    Raises:
        StructureError: a weight is used without its layer being called, layers see other numbers of examples than the
            model, or the model does not run.
    """
    if plan.example_inputs is None:
        raise StructureError(
            f"per_example: {type(model).__name__} cannot be checked without example inputs; pass them instead of a Plan"
        )
    generator, problem = torch.Generator().manual_seed(0), ""
    for dtype in PRECISE:
        cast(model, dtype)
        for drawn in (True, False):
            randomise(model, generator)
            inputs = ExampleInputs.of(plan.example_inputs).redraw(dtype, generator if drawn else None)
            try:
                run(model, inputs)
            except ForwardError as error:  # it insists on a dtype of its own, or on inputs that mean something
                problem = f"{type(error.error).__name__}: {error.error}"
                continue
            _compare(model, gates, plan.groups, inputs, TOLERANCES[dtype])
            return
    raise StructureError(
        f"per_example: {type(model).__name__} cannot be checked on random weights: {problem}; attach gates with "
        "per_example=False"
    )


def _compare(
    model: nn.Module, gates: Gates, groups: Sequence[GateGroup], inputs: ExampleInputs, tolerance: float
) -> None:
    z = torch.linspace(0.1, 0.9, len(gates), dtype=gates.log_alpha.dtype, device=gates.log_alpha.device)
    if _gap(model, gates, inputs, z) > tolerance:
        culprits = [g for g in groups if _gap(model, gates, inputs, _only(gates, g, z)) > tolerance] or groups
        names = dict.fromkeys(member.tensor for group in culprits for member in group.consumers)
        raise StructureError(
            f"per_example: {', '.join(names)}: gating what the layer reads is not the same as gating its weight, which "
            f"is used outside of its layer's forward; {_WAY_OUT}"
        )
    larger = inputs.one_more()
    try:
        with gates.fixed(z):
            run(model, larger)
    except ForwardError:  # a model for one size of batch
        return
    _gap(model, gates, larger, z)


def _gap(model: nn.Module, gates: Gates, inputs: ExampleInputs, z: Tensor) -> float:
    """Relative difference between gating weights by ``z`` [G] and gating what each example reads by it."""
    reading: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda _m, _x, name=path: reading.append(name), prepend=True)
        for path, module in model.named_modules()
        if gated_leaves(module)
    ]
    try:
        with gates.fixed(z):
            weights = run(model, inputs)
        with gates.fixed(z.expand(inputs.examples, -1)):
            return difference(weights, run(model, inputs)).relative
    except ForwardError as error:
        if isinstance(error.error, StructureError):  # the gates' own: a layer reads another number of examples
            raise StructureError(f"per_example: {reading[-1]}.weight: {error.error}") from error
        raise StructureError(
            f"per_example: {type(model).__name__} fails in {error}, with gates on what its layers read; {_WAY_OUT}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def _only(gates: Gates, group: GateGroup, z: Tensor) -> Tensor:
    """``z`` [G] with every gate outside of ``group`` open."""
    chosen = torch.ones_like(z)
    where = gates.slices[group.name]
    chosen[where] = z[where]
    return chosen
