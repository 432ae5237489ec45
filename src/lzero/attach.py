"""Gates on a stranger's model: everything is checked before anything changes, and a failure takes all of it back."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from lzero.checks import flag, shown
from lzero.discover import discover
from lzero.errors import StructureError
from lzero.gates.estimator import Estimator
from lzero.gates.gates import Gates
from lzero.gates.hard_concrete import HardConcrete
from lzero.host.cache import without_cache
from lzero.host.copies import linked_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.mode import set_mode
from lzero.host.wrappers import check_unwrapped
from lzero.plan.plan import Plan
from lzero.plan.widths import checked_round_to
from lzero.proving.gated_forward import check_gated_forward
from lzero.proving.per_example import check_products, check_readers
from lzero.surgery.attached import gated_leaves, gates_of
from lzero.surgery.narrow import follow_saved
from lzero.surgery.register import register
from lzero.surgery.rehearsal import rehearse
from lzero.surgery.remove import without_gates

OPEN_PROBABILITY = 0.97


def attach_gates(
    model: nn.Module,
    example_inputs: Any,
    *,
    granularity: str | Mapping[str, str] = "unit",
    estimator: Estimator | None = None,
    per_example: bool = False,
    open_probability: float | Mapping[str, float] = OPEN_PROBABILITY,
    rescale: bool = True,
    round_to: int | Mapping[str, int] | None = None,
    ignore: str | Iterable[str] = (),
    progress: bool | None = None,
) -> Gates:
    """The gates of ``model``, attached in place; before it is wrapped or compiled.

    Each gate multiplies the weights that *read* its unit. Gated tensors become parametrized; the gates are registered
    inside the first of those parametrizations, so that a model that iterates over its children sees none. No parameter
    is added: build the optimizer before or after, as it was. ``model.load_state_dict`` still takes checkpoints of the
    ungated model. In eval mode the model gives what it gave before, as long as nothing has been trained.

    Args:
        model: any module that :func:`discover` finds units in.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments of one forward; or the
            :class:`Plan` that ``discover`` returned for this model.
        granularity: ``"unit"``, ``"input"`` (units, and the features that Linears read), ``"weight"``, ``"width"``
            (units, and the widths of streams under norms), ``"depth"`` (units, and whole blocks and branches) or
            ``"experts"`` (units, and whole experts), or some of these joined, ``"width+depth+experts"``; or a mapping
            from module path to one of them.
        estimator: the distribution of one gate; hard concrete by default.
        per_example: draw every gate anew for each example of a batch, instead of once for all of them. It needs units
            that Linears and ungrouped convolutions read, and one batch size throughout the forward.
        open_probability: P(z != 0) at the start, in (0, 1); one for all or a mapping from group name, with ``""`` for
            the groups that it does not name.
        rescale: divide gated weights by E[z], so that the network starts at its ungated scale.
        round_to: ship widths that are multiples of this number, such as 8, or whole: channels, neurons and the units of
            streams leave and stay by so many at a time, and a group that has no more than that stays whole. Or a
            mapping from module path to a number, with ``""`` for the rest: of the paths that lead to the weights of a
            group the deepest decides. Heads, features, weights, blocks, experts and the channels of grouped
            convolutions are as they are at 1. By default what a Plan says, which is 1 where ``discover`` has made it.
        ignore: module paths or parameter names to leave ungated.
        progress: whether a bar says how far discovery is, as in :func:`discover`.

    Raises:
        StructureError: the model has gates already or is wrapped, nothing in it can be gated, the plan belongs to
            another model, or an argument is malformed. The model is then as it was, to the bit.

    Example:
        >>> import lzero
        >>> from torch import nn, zeros
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> gates = lzero.attach_gates(model, zeros(1, 8))
        >>> len(gates)
        16
    """
    if not isinstance(model, nn.Module):
        raise StructureError(f"model: expected an nn.Module, found {shown(model)}")
    check_unwrapped(model)
    _check_ungated(model)
    if estimator is not None and not isinstance(estimator, Estimator):
        raise StructureError(
            f"estimator: expected one of lzero.gates, such as lzero.HardConcrete(), or None, found {shown(estimator)}"
        )
    for name, answer in (("per_example", per_example), ("rescale", rescale)):
        flag(name, answer, error=StructureError)
    widths = None if round_to is None else checked_round_to(round_to)
    plan = _plan(model, example_inputs, granularity, ignore, progress)
    plan = plan if widths is None else replace(plan, round_to=widths)
    _ = plan.steps  # a path that leads nowhere is told before anything changes
    estimator = estimator or HardConcrete()
    start = _initial_log_alpha(plan, estimator, open_probability)

    inputs = ExampleInputs.of(plan.example_inputs).copy().value  # the batch may be reused
    gates = Gates(replace(plan, example_inputs=inputs), estimator, per_example, rescale)
    with torch.no_grad():
        for name, value in start.items():
            gates[name].view(len(value), -1).copy_(torch.tensor(value)[:, None])
    device, dtype = _placement(model)
    gates.to(device=device, dtype=dtype)
    gates.train(model.training)
    if per_example:
        check_readers(model, plan.flat_groups)
    _rehearse(model, gates)
    register(model, gates.plan.maps(), gates, rescale=rescale, then=follow_saved)
    return gates


def _rehearse(model: nn.Module, gates: Gates) -> None:
    """All that could go wrong between attaching and purging, tried on one copy of ``model``.

    Raises:
        StructureError: what has gone wrong.
    """
    maps, plan = gates.plan.maps(), gates.plan
    twin = linked_copy(model)  # never run
    register(twin, maps, copy.deepcopy(gates), rescale=False)
    trial = rehearse(twin, model, without_gates)
    del twin
    set_mode(trial, training=False)
    without_cache(trial)
    trial_gates = copy.deepcopy(gates)
    register(trial, maps, trial_gates, rescale=False)
    check_gated_forward(trial, trial_gates, plan)
    if gates.per_example:
        if gates_of(trial) is None:
            register(trial, maps, trial_gates, rescale=False)
        check_products(trial, trial_gates, plan)


def _plan(
    model: nn.Module,
    example_inputs: Any,
    granularity: str | Mapping[str, str],
    ignore: str | Iterable[str],
    progress: bool | None,
) -> Plan:
    if isinstance(example_inputs, Plan):
        plan = example_inputs
        nothing = isinstance(ignore, str | tuple | list | set | frozenset) and not ignore
        if not (isinstance(granularity, str) and granularity == "unit") or not nothing:
            raise StructureError("granularity and ignore are settled in a Plan; pass them to lzero.discover instead")
    else:
        plan = discover(model, example_inputs, granularity=granularity, ignore=ignore, progress=progress)
    if not plan.groups:
        raise StructureError(
            f"{type(model).__name__}: nothing can be gated exactly; see below what keeps each part, and what to do:\n"
            f"{plan}"
        )
    found = {name: tuple(p.shape) for name, p in model.named_parameters()}
    expected = {name: tuple(shape) for name, shape in plan.shapes.items()}
    if found != expected:
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise StructureError(
            f"{wrong[0]}: the plan says {expected.get(wrong[0], 'nothing')}, "
            f"the model has {found.get(wrong[0], 'nothing')}; call lzero.discover on this model"
        )
    return plan


def _check_ungated(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if isinstance(module, Gates) or gated_leaves(module):
            raise StructureError(
                f"{path or type(model).__name__}: gates are attached already; call lzero.detach_gates(model) first, or "
                "go on with lzero.gates_of(model)"
            )


def _initial_log_alpha(
    plan: Plan, estimator: Estimator, open_probability: float | Mapping[str, float]
) -> dict[str, tuple[float, ...]]:
    names = [group.name for group in plan.groups]
    if not isinstance(open_probability, Mapping):
        return dict.fromkeys(names, estimator.initial(open_probability))
    unknown = [name for name in open_probability if name and name not in names]
    if unknown:
        raise StructureError(f"open_probability: no group is called {unknown[0]!r}; the groups are {', '.join(names)}")
    default = open_probability.get("", OPEN_PROBABILITY)
    return {name: estimator.initial(open_probability.get(name, default)) for name in names}


def _placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where the gates live: the device of the model's first parameter, in float32, or float64 for a float64 model."""
    first = next(model.parameters())
    return first.device, torch.float64 if first.dtype == torch.float64 else torch.float32
