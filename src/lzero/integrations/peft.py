"""Adapters of peft on a model that has gates already."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import peft
import torch
from torch import Tensor, nn

from lzero.attach import attach_gates
from lzero.discover import discover
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.host.quiet import isolated_random_state
from lzero.host.wrappers import check_unsharded, check_unwrapped
from lzero.plan.group import GateGroup, Member
from lzero.plan.paths import join
from lzero.plan.plan import Plan
from lzero.surgery.attached import root_gates
from lzero.surgery.grown import check_not_grown
from lzero.surgery.remove import strip, without_gates


def get_peft_model(model: nn.Module, peft_config: Any, **options: Any) -> Any:
    """``peft.get_peft_model`` of a gated model, with the same gates around the adapters too.

    Gates are taken off, adapters put in, and gates attached to the whole, each with the value that it had: in eval
    mode the model gives what it gave before, as long as the adapters start from zero. The gates are new objects, of
    ``lzero.gates_of``; build the Solver afterwards.

    Args:
        model: with gates attached to it.
        peft_config: as peft takes it.
        options: further arguments of ``peft.get_peft_model``.

    Returns:
        The PeftModel, gated.

    Raises:
        StructureError: ``model`` has no gates of its own, or with these adapters some of its units can no longer be
            gated exactly; it is then as it was.
    """
    gates = root_gates(model)
    check_unwrapped(model)
    check_unsharded(model, "get_peft_model")
    check_not_grown(model, gates)
    plan, places = _rehearsed(model, gates, peft_config, options)

    open_ = None if gates.held is None else gates.held != 0
    log_alpha = gates.log_alpha.detach().clone()
    strip(model, gates)
    adapted = peft.get_peft_model(model, peft_config, **options)
    made = attach_gates(
        adapted, plan, estimator=gates.estimator, per_example=gates.per_example, rescale=False
    )  # weights are at their scale already
    with torch.no_grad():
        made.log_alpha.copy_(log_alpha[..., places])
    if open_ is not None:
        made.hold(open_[places])
    return adapted


def _rehearsed(model: nn.Module, gates: Gates, peft_config: Any, options: Mapping[str, Any]) -> tuple[Plan, Tensor]:
    """The plan of ``gates`` for the model with adapters, and for each gate of that its number among ``gates``.

    All of it is tried on a copy.

    Raises:
        StructureError: a group cannot be gated any more.
    """
    twin = without_gates(model)
    tensors = {id(tensor): name for name, tensor in (*twin.named_parameters(), *twin.named_buffers())}
    modules = {id(module): path for path, module in twin.named_modules()}
    with isolated_random_state(twin):
        adapted = peft.get_peft_model(twin, copy.deepcopy(peft_config), **options)
    now = (*adapted.named_parameters(), *adapted.named_buffers())
    before = {name: tensors[id(tensor)] for name, tensor in now if id(tensor) in tensors}
    paths = {modules[id(module)]: path for path, module in adapted.named_modules() if id(module) in modules}
    granularity = {paths.get(path, path) if path else "": wanted for path, wanted in gates.plan.granularity.items()}
    found = discover(adapted, gates.plan.example_inputs, granularity=granularity)

    groups = {}
    for group in gates.plan.flat_groups:
        matches = ((other, _rows(other, group, before)) for other in found.groups)
        match, rows = next(((other, rows) for other, rows in matches if rows is not None), (None, None))
        if match is None or rows is None:
            raise StructureError(
                f"{group.name}: with these adapters its units cannot go on as they are: {_why(found, group, before)}. "
                "Leave the layers that make and read them out of target_modules, or choose another kind of adapter"
            )
        groups[match.name] = rows + gates.plan.slices[group.name].start
    round_to = gates.plan.round_to
    if not isinstance(round_to, int):
        root = paths[""]  # below it modules keep their paths, or what stands around them does
        round_to = {join(root, path) if path else "": number for path, number in round_to.items()}
    known = tuple(group for group in found.groups if group.name in groups)
    plan = replace(found, groups=known, round_to=round_to)
    places = torch.cat([groups[group.name] for group in plan.flat_groups])
    attach_gates(adapted, plan, estimator=gates.estimator, per_example=gates.per_example, rescale=False)
    return plan, places.to(gates.log_alpha.device)


def _why(found: Plan, group: GateGroup, before: Mapping[str, str]) -> str:
    """What the plan of the adapted model says of the units that ``group`` had."""
    old = {member.tensor for member in group.members}
    names = {name for name, without in before.items() if without in old}
    return next((refusal.reason for refusal in found.refusals if names & {*refusal.tensors}), "they are tied to others")


def _rows(new: GateGroup, old: GateGroup, before: Mapping[str, str]) -> Tensor | None:
    """For each gate of ``new`` its number in ``old``, [k]; None where they are not the same units.

    ``before`` has the name that a tensor of the adapted model had without the adapters.
    """
    if (new.size, new.kind) != (old.size, old.kind):
        return None
    known = {(member.tensor, member.dim): member for member in old.members}
    shared = [(member, known.get((before.get(member.tensor, ""), member.dim))) for member in new.members]
    rows = [_order(member, other) for member, other in shared if other is not None]
    if len(rows) < len(known) or any(row is None or not torch.equal(row, rows[0]) for row in rows):  # type: ignore[arg-type]
        return None
    return rows[0]


def _order(new: Member, old: Member) -> Tensor | None:
    """For each row of one index its place in the other, None where it has none."""
    places = {tuple(row): place for place, row in enumerate(old.index.tolist())}
    found = [places.get(tuple(row)) for row in new.index.tolist()]
    return None if None in found else torch.tensor(found)
