"""From label classes to gate groups: classes that live on the same tensors become the units of one group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from lzero._torch import CONVOLUTIONS
from lzero.plan.group import GateGroup, Member, Role
from lzero.plan.paths import owner
from lzero.plan.refusal import Reason, Refusal
from lzero.tracing.label import Classes, IntArray
from lzero.tracing.norm_places import norms_of
from lzero.tracing.tracer import Trace

Veto = Callable[[Sequence[Member]], Reason | None]
"""Says why units on these members may not be gated, None where they may."""

_ALONE = Reason("it is one single unit: closing it would close the whole layer", "")
_TIED = "all its units are tied into a single one: closing it would close the whole layer"
_SHUFFLED = "a shuffle between grouped convolutions leaves several if every group has a multiple of `groups` channels"
_CUT = (
    "the forward cuts or joins them at places that tie each to all others: make the parts with layers of their own, or "
    "cut at sizes that the module keeps as attributes"
)
_UNREAD = Reason(
    "no weight reads it, so that there is nowhere for a gate to multiply",
    "a Linear or convolution must come after it; what does come may be an output or a computed weight",
)
UNUSED = Reason("not used in the forward of the example inputs", "pass example inputs that reach it, or remove it")
_CROWDED = Reason("a tensor would be gated along more than two dims", "")


def unit_groups(trace: Trace, model: nn.Module, veto: Veto) -> tuple[list[GateGroup], list[Refusal]]:
    """Groups of units that nothing forbids, in the order of the model's tensors, and what is refused and why."""
    parameters = dict(model.named_parameters())
    groups: list[GateGroup] = []
    refused: list[tuple[Refusal, Member]] = []
    gated: dict[str, set[int]] = {}
    names: dict[str, int] = {}
    for family in _families(trace.classes):
        members = _members(family, trace)
        used = [m for m in members if m.tensor in trace.users]
        if not used:  # buffers alone, or parameters that are refused already
            continue
        size = int(family.labels.shape[0])
        reason = family.reason or veto(members) or _obstacle(members, size, gated, model)
        norms = norms_of(trace.classes.everywhere[family.labels[:, 0]], trace.norms, trace.classes)
        name = _place(members[0]) if norms else _name(members)  # a stream is named after where it begins
        if reason is None and isinstance(norms, Reason):
            reason = norms
        if reason is None and not isinstance(norms, Reason):
            for member in members:
                gated.setdefault(member.tensor, set()).add(member.dim)
            names[name] = names.get(name, 0) + 1
            unique = name if names[name] == 1 else f"{name}#{names[name]}"
            groups.append(GateGroup(unique, size, "unit", tuple(members), norms=tuple(norms)))
        elif reason is not None and reason.text:
            refused.append((Refusal.of(name, size, members, reason), members[0]))
    return groups, [*_unused(trace, parameters), *_merged(refused)]


def _merged(refused: Sequence[tuple[Refusal, Member]]) -> list[Refusal]:
    """One refusal for each name and reason, from refusals and the first member of each.

    Units on one tensor dim add up; those on other dims of the same module (a weight's columns, its bias) do not.
    """
    merged: dict[tuple[str, str], Refusal] = {}
    sizes: dict[tuple[str, str], Counter[tuple[str, int]]] = {}
    for new, member in refused:
        key = new.name, new.reason
        count = sizes.setdefault(key, Counter())
        count[member.tensor, member.dim] += new.size
        tensors = (*merged[key].tensors, *new.tensors) if key in merged else new.tensors
        merged[key] = replace(new, size=max(count.values()), tensors=tuple(dict.fromkeys(tensors)))
    return list(merged.values())


@dataclass(frozen=True, eq=False)
class _Family:
    """Classes of one make: row j of ``labels`` [k, r] holds the labels of unit j, tensor dim by tensor dim."""

    labels: IntArray
    reason: Reason | None


def _families(classes: Classes) -> Iterator[_Family]:
    """Classes grouped by the tensor dims they live on, with how many labels on each, and by their fate."""
    if classes.root.size == 1:
        return
    key = 2 * classes.slot + classes.consumer  # where a label lives, and as what
    order = np.lexsort((key, classes.root))[1:]  # by class, then by place, then by index; without the label 0
    starts = np.flatnonzero(np.diff(classes.root[order], prepend=-1))  # the first label of every class
    lengths = np.diff(starts, append=order.size)
    # Two classes are of one make exactly if their multisets of keys are equal: compare sums of one random number per
    # key. 64 bits make a chance collision a matter of 1e-9 for a hundred thousand distinct makes.
    codes = np.random.default_rng(0).integers(2**64, size=int(key.max()) + len(classes.reasons) + 2, dtype=np.uint64)
    made = np.add.reduceat(codes[key[order]], starts) + codes[classes.reason[order[starts]] - len(classes.reasons)]
    _, first, make = np.unique(made, return_index=True, return_inverse=True)
    for position in np.argsort(first):
        members = np.flatnonzero(make == position)
        labels = order[starts[members][:, None] + np.arange(lengths[members[0]])]
        fate = int(classes.reason[labels[0, 0]])
        yield _Family(labels, None if fate < 0 else classes.reasons[fate])


def _members(family: _Family, trace: Trace) -> list[Member]:
    """The tensor dims that a family lives on, in the order of the model's tensors."""
    classes, members = trace.classes, []
    key = 2 * classes.slot + classes.consumer
    places = key[family.labels[0]]  # [r], ascending
    for place in np.unique(places):
        slot = classes.slots[place // 2]
        index = family.labels[:, places == place] - slot.start
        role: Role = "coupled"
        if place % 2:
            role = "consumer"
        elif slot.tensor in trace.macs:
            role = "producer"
        members.append(Member(slot.tensor, slot.dim, torch.from_numpy(np.sort(index, axis=1)), role))
    return members


def _name(members: Sequence[Member]) -> str:
    """The module that makes the units, or the one that reads them with ``.input``."""
    for role in ("producer", "coupled", "consumer"):
        for member in members:
            if member.role == role:
                path = _place(member)
                return f"{path}.input" if role == "consumer" else path
    return ""


def _place(member: Member) -> str:
    """The module that owns a tensor; the tensor itself where the model owns it."""
    return owner(member.tensor) or member.tensor


def _obstacle(members: Sequence[Member], size: int, gated: dict[str, set[int]], model: nn.Module) -> Reason | None:
    if not any(member.role == "consumer" for member in members):
        return _UNREAD
    if size == 1:
        if all(member.width == 1 for member in members):
            return _ALONE
        made = [model.get_submodule(owner(member.tensor)) for member in members]
        grouped = any(isinstance(layer, CONVOLUTIONS) and int(getattr(layer, "groups", 1)) > 1 for layer in made)
        return Reason(_TIED, _SHUFFLED if grouped else _CUT)
    dims: dict[str, set[int]] = {}
    for member in members:
        dims.setdefault(member.tensor, set(gated.get(member.tensor, ()))).add(member.dim)
    return _CROWDED if any(len(found) > 2 for found in dims.values()) else None


def _unused(trace: Trace, parameters: dict[str, nn.Parameter]) -> list[Refusal]:
    """One refusal per module with parameters that no op of the forward touched."""
    unused: dict[str, list[str]] = {}
    for name in parameters:
        if name not in trace.users:
            unused.setdefault(owner(name) or name, []).append(name)
    return [
        Refusal(path, max((*parameters[names[0]].shape[:1], 1)), tuple(names), UNUSED.text, UNUSED.advice)
        for path, names in unused.items()
    ]
