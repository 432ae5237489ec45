"""Which units of a model can be gated exactly, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from lzero.checks import shown
from lzero.errors import StructureError
from lzero.host.copies import private_copy
from lzero.host.wrappers import check_unwrapped
from lzero.plan.plan import Plan
from lzero.proving.blocks import ModelProof
from lzero.proving.size_branches import split_by_guards
from lzero.tracing.granularity import advise_inputs, check_inputs, input_groups, request, weight_groups
from lzero.tracing.grouping import unit_groups
from lzero.tracing.tracer import trace


def discover(
    model: nn.Module,
    example_inputs: Any,
    *,
    granularity: str | Mapping[str, str] = "unit",
    ignore: str | Iterable[str] = (),
) -> Plan:
    """The proved gate groups of ``model``, and everything that is refused, with reasons; ``print`` it to read it.

    One forward of a copy tells which units belong together; a float64 copy with random weights then proves that
    closing any of them and cutting it out give the same outputs. ``model`` itself is left as it was.

    Args:
        model: any module; train or eval mode, on any device.
        example_inputs: what the training loop passes: a tensor, a tuple of arguments or a dict of keyword arguments.
        granularity: ``"unit"`` gates channels and neurons; ``"input"`` also the features that a Linear reads;
            ``"weight"`` every single weight of the products; ``"width"`` units, and those that a LayerNorm, RMSNorm or
            GroupNorm takes statistics of: the width of a residual stream. A mapping from module path to one of these
            chooses by the longest path that leads to the weight; ``""`` stands for the rest.
        ignore: module paths and parameter names to leave alone.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
        >>> [(group.name, group.size) for group in discover(model, torch.randn(1, 8))]
        [('0', 6)]

    Raises:
        StructureError: not a module, or one that is wrapped already; no inputs, an unknown path or granularity, or a
            model that does not run on the inputs.
    """
    if not isinstance(model, nn.Module):
        raise StructureError(f"model: expected an nn.Module, found {shown(model)}")
    check_unwrapped(model)
    check_inputs(example_inputs)
    asked = request(model, granularity, ignore)
    spare = private_copy(model)
    seen = trace(spare, example_inputs, asked.wide)
    units, refusals = unit_groups(seen, model, asked.veto)
    units, unsteady = split_by_guards(units, seen.guards, seen.classes, spare)

    proof = ModelProof(spare, example_inputs, seen)
    proved, unproved = proof.accept(units)
    others = [*input_groups(model, seen, asked, proved), *weight_groups(model, seen, asked)]
    groups, unproved_others = proof.accept(others, proved)
    refusals = [*advise_inputs(refusals, model, seen, asked, groups), *unsteady, *unproved, *unproved_others]
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return Plan(
        groups=tuple(groups),
        refusals=tuple(refusals),
        shapes=shapes,
        positions={name: _each(macs, sizes[name]) for name, macs in seen.macs.items()},
        granularity=asked.granularity,
        example_inputs=example_inputs,
    )


def _each(macs: int, size: int) -> float:
    """How often each of ``size`` elements is used: a fraction where they are not used alike (queries and keys)."""
    return max(1, macs // size) if macs % size == 0 else macs / size
