"""Which units of a model can be gated exactly, and why the others cannot."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from lzero.checks import shown
from lzero.errors import LzeroWarning, StructureError
from lzero.host.cache import Switched, asks_for_cache
from lzero.host.copies import copy_and_switches
from lzero.host.progress import Progress
from lzero.host.wrappers import check_unwrapped
from lzero.plan.group import GateGroup
from lzero.plan.plan import Plan
from lzero.plan.refusal import Refusal
from lzero.proving.blocks import ModelProof
from lzero.proving.dim_sizes import DimSizes
from lzero.proving.draws import draws
from lzero.proving.experts import about_others, accept_experts
from lzero.proving.modules import accept_modules
from lzero.proving.proof import INVISIBLE
from lzero.proving.readings import Readings
from lzero.proving.size_branches import split_by_guards
from lzero.proving.unreached import split_by_unreached, unreached_weights
from lzero.tracing.blocks import blocks_of
from lzero.tracing.experts import experts_of
from lzero.tracing.granularity import (
    Request,
    advise_inputs,
    check_inputs,
    input_groups,
    request,
    weight_groups,
)
from lzero.tracing.grouping import UNUSED, unit_groups
from lzero.tracing.guards import DimSize
from lzero.tracing.tracer import Trace, trace


def discover(
    model: nn.Module,
    example_inputs: Any,
    *,
    granularity: str | Mapping[str, str] = "unit",
    ignore: str | Iterable[str] = (),
    progress: bool | None = None,
) -> Plan:
    """The proved gate groups of ``model``, and everything that is refused, with reasons; ``print`` it to read it.

    One forward of a copy tells which units belong together; a float64 copy with random weights then proves that
    closing any of them and cutting it out give the same outputs. ``model`` itself is left as it was.

    Args:
        model: any module; train or eval mode, on any device.
        example_inputs: what the training loop passes: a tensor, a tuple of arguments or a dict of keyword arguments.
        granularity: ``"unit"`` gates channels and neurons; ``"input"`` also the features that a Linear reads;
            ``"weight"`` every single weight of the products; ``"width"`` units, and those that a LayerNorm, RMSNorm or
            GroupNorm takes statistics of: the width of a residual stream; ``"depth"`` units, and whole residual blocks
            with their branches; ``"experts"`` units, and whole experts behind a router. Words are joined by a plus,
            ``"width+depth+experts"``. A mapping from module path to one of these
            chooses by the longest path that leads to the weight; ``""`` stands for the rest.
        ignore: module paths and parameter names to leave alone.
        progress: whether a bar of tqdm says after two seconds how many groups are proved; None for one on a terminal,
            where tqdm is installed.

    Example:
        >>> import lzero
        >>> from torch import nn, zeros
        >>> model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
        >>> [(group.name, group.size) for group in lzero.discover(model, zeros(1, 8))]
        [('0', 6)]

    Raises:
        StructureError: not a module, or one that is wrapped already; no inputs, an unknown path or granularity, or a
            model that does not run on the inputs.

    Warns:
        LzeroWarning: the model is proved in float32 alone, or train mode does not run on the inputs, and may use what
            eval mode does not; or values decide whether the forward reaches some weights, and none has.
    """
    if not isinstance(model, nn.Module):
        raise StructureError(f"model: expected an nn.Module, found {shown(model)}")
    check_unwrapped(model)
    check_inputs(example_inputs)
    bar = Progress("proving groups of units", progress)
    asked = request(model, granularity, ignore)
    spare, switched, seen, readings, refusals = _studied(model, example_inputs, asked)
    if seen.loosens:
        other = _studied(model, example_inputs, asked, loose=True)
        if other[3].extent > readings.extent:
            spare, switched, seen, readings, refusals = other
    found, unlike = blocks_of(spare, example_inputs, asked.deep) if asked.any("depth") else ([], [])
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    units, unreached = split_by_unreached(readings.groups, seen, shapes)
    units, unsteady = split_by_guards(units, seen.guards, seen.classes, spare)

    proof = ModelProof(spare, example_inputs, seen, cache=asks_for_cache(model), switched=switched, progress=bar)
    with bar:
        proved, unproved = proof.accept(units)
        unproved = [*readings.refusals, *unsteady, *unproved]
        wrong = [refusal.name for refusal in unproved if refusal.reason != INVISIBLE.text]
        for again in readings.others(proved, wrong):
            names = {group.name for group in proved}
            again = [group for group in again if group.name not in names]
            steady, _ = split_by_guards([*proved, *again], seen.guards, seen.classes, spare)
            proved, _ = proof.accept([group for group in again if group in steady], proved)
        names = {group.name for group in proved}
        order = [group.name for group in readings.groups]
        proved.sort(key=lambda group: order.index(group.name))
        unproved = [refusal for refusal in unproved if refusal.name not in names]
        others = [*input_groups(model, seen, asked, proved), *weight_groups(model, seen, asked)]
        groups, unproved_others = proof.accept(others, proved)
        chosen = experts_of(spare, seen, asked.expert) if asked.any("experts") else []
        groups, unproved_experts = accept_experts(proof, chosen, groups)
        groups, unproved_blocks = accept_modules(proof, found, groups)
        groups, elsewhere = proof.accept_elsewhere(groups)
    unproved = [*unreached, *unproved, *unproved_others, *unproved_experts, *unlike, *unproved_blocks, *elsewhere]
    refusals = [*advise_inputs(about_others(refusals, chosen), model, seen, asked, groups), *unproved]
    matrices = [name for name in unreached_weights(seen, shapes) if len(shapes[name]) > 1]
    if matrices and groups:
        _warn_unreached(model, matrices, seen.explored.open[0])
    if proof.untrainable:
        refusals = _unseen_in_training(model, refusals, proof.untrainable)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return Plan(
        groups=tuple(groups),
        refusals=tuple(refusals),
        shapes=shapes,
        positions={name: _each(macs, sizes[name]) for name, macs in seen.macs.items() if macs},
        granularity=asked.granularity,
        example_inputs=example_inputs,
        states=_narrowed(seen, groups),
    )


def _narrowed(seen: Trace, groups: Sequence[GateGroup]) -> tuple[str, ...]:
    """The states that a forward returns and that ``groups`` take features from."""
    sizes = DimSizes([group for group in groups if group.kind == "unit"], seen.classes)
    dims = {name: [sizes.of(DimSize(labels)) for labels in axes] for name, axes in seen.states.items()}
    return tuple(name for name, held in dims.items() if any(dim.slopes for dim in held))


def _studied(
    model: nn.Module, example_inputs: Any, asked: Request, *, loose: bool = False
) -> tuple[nn.Module, list[Switched], Trace, Readings, list[Refusal]]:
    """A copy of ``model`` and what of it asks for a cache, what its forward said, the groups, and what is refused."""
    spare, switched = copy_and_switches(model)
    seen = trace(spare, example_inputs, asked.wide, loose=loose, redraw=draws(spare, example_inputs))
    units, refusals = unit_groups(seen, model, asked.veto)
    if seen.swapped or seen.explored.ways:
        spare, switched = copy_and_switches(model)
    return spare, switched, seen, Readings(units, seen, spare), refusals


def _unseen_in_training(model: nn.Module, refusals: Sequence[Refusal], problem: str) -> list[Refusal]:
    """``refusals``, those of what no op has used with a word on train mode, which may use it and does not run."""
    told = list[Refusal]()
    for refusal in refusals:
        if refusal.reason == UNUSED.text:
            text = f"{refusal.reason}, and train mode, which may use it, does not run on them ({problem})"
            told.append(replace(refusal, reason=text, advice=_LARGER))
        else:
            told.append(refusal)
    names = [refusal.name for refusal in told if refusal.advice == _LARGER]
    if names:
        warnings.warn(
            f"{type(model).__name__}: {', '.join(names[:4])}{' and more' if len(names) > 4 else ''}: not used in eval "
            f"mode, and train mode does not run on the example inputs ({problem}): what it reads there is not looked "
            f"at, and may lose units under it; {_LARGER}",
            LzeroWarning,
            stacklevel=3,
        )
    return told


def _warn_unreached(model: nn.Module, names: Sequence[str], place: str) -> None:
    shown_names = f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}"
    warnings.warn(
        f"{type(model).__name__}: {shown_names}: no forward has reached it, and values decide whether one does "
        f"({place}): units on dims that fit it are refused; if it reads others all the same, the purged model fails "
        "where it is reached: pass example inputs that reach it, or remove it",
        LzeroWarning,
        stacklevel=3,
    )


_LARGER = "pass example inputs that train mode runs on, or remove it; else train the purged model in eval mode alone"


def _each(macs: int, size: int) -> float:
    """How often each of ``size`` elements is used: a fraction where they are not used alike (queries and keys)."""
    return max(1, macs // size) if macs % size == 0 else macs / size
