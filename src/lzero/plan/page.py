"""A plan to read: by module, in the model's order, what is gated and what it reaches, what is not and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lzero.plan.group import GateGroup, Member
from lzero.plan.ownership import flat_order, reach
from lzero.plan.paths import owner
from lzero.plan.refusal import Refusal
from lzero.plan.remainder import Remainder


def page(
    groups: Sequence[GateGroup],
    refusals: Sequence[Refusal],
    shapes: Mapping[str, Sequence[int]],
    positions: Mapping[str, float] | None = None,
    states: Sequence[str] = (),
    steps: Mapping[str, int] | None = None,
) -> str:
    """What ``str(plan)`` is."""
    place = {name: position for position, name in enumerate(shapes)}
    entries: list[tuple[int, str, str]] = []  # position in the model, path, what to say of it
    for group in groups:
        first = min((place[name] for name in group.tensors if name in place), default=len(place))
        stake = f"{reach([group], shapes):,} parameters"
        step = (steps or {}).get(group.name, 1)
        how = f"in steps of {step}, " if step > 1 else ""
        entries.append((first, group.name, f"{group.size:>6,} {_noun(group):<9}{stake:>22}   {how}{_members(group)}"))
    for refusal in refusals:
        first = min((place[name] for name in refusal.tensors if name in place), default=len(place))
        advice = f"; {refusal.advice}" if refusal.advice else ""
        entries.append((first, refusal.name, f"{refusal.size:>6,} {'left':<9}{refusal.reason}{advice}"))
    entries.sort(key=lambda entry: entry[0])
    width = max((len(name.rpartition(".")[2]) for _, name, _ in entries), default=0) + 2
    folders: dict[str, list[str]] = {}
    for _, name, text in entries:
        folder, _, leaf = name.removesuffix(_INPUT).rpartition(".")
        leaf += _INPUT if name.endswith(_INPUT) else ""
        indent = "  " if folder else ""
        folders.setdefault(folder, []).append(f"{indent}{leaf:<{width + len(_INPUT) - len(indent)}}{text}")
    gates, reached = sum(group.size for group in groups), reach(groups, shapes)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    lines = [
        f"{len(groups)} groups, {gates:,} gates; they reach {reached:,} of {parameters:,} parameters "
        f"({reached / max(parameters, 1):.1%}); left ungated: {len(refusals)}",
        *(_bounds(Remainder(flat_order(groups), shapes, positions or {}, steps), refusals, shapes) if groups else ()),
        *(f"{name} loses features too: it is what the decoder reads, and no result" for name in states),
    ]
    for folder, texts in folders.items():
        lines += [folder, *texts] if folder else texts
    return "\n".join(lines)


def _bounds(rest: Remainder, refusals: Sequence[Refusal], shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """What closing half of everything leaves, the floor, what that is made of, and what would lower it."""
    lines = [
        f"half of every group leaves {_both(rest, 0.5)}; the floor, one {rest.least} of each, is {_both(rest, 0.0)}"
    ]
    parts = [(path, share) for path, share in rest.parts().items() if share >= _WORTH][:_NAMED]
    if parts:
        lines.append(f"the floor is made of {', '.join(f'{path} ({share:.1%})' for path, share in parts)}")
    told = set[str]()
    for path, _ in parts:
        here = [r for r in refusals if any(owner(name) == path or name == path for name in r.tensors)]
        if here:
            refusal = max(here, key=lambda r: len(r.tensors))  # the widest: a stream, rather than one end of it
            advice = f"; {refusal.advice}" if refusal.advice else ""
            if refusal.name not in told:
                lines.append(f"what would lower it: {refusal.name}, left because {refusal.reason}{advice}")
            told.add(refusal.name)
    return lines


def _both(rest: Remainder, share: float) -> str:
    macs = rest.density(share, "macs")
    return f"{rest.density(share):.1%} of the parameters" + (f" and {macs:.1%} of the MACs" if macs else "")


_WORTH, _NAMED = 0.005, 3  # parts of the floor that are told: their share of the model, and how many
_PLACES = 4  # of one kind that are told of a group: a stream is read by all layers
_INPUT = ".input"


_NOUNS = {"unit": "units", "input": "inputs", "weight": "weights", "depth": "blocks", "expert": "experts"}


def _noun(group: GateGroup) -> str:
    return "branches" if any(block.closed == "zero" for block in group.blocks) else _NOUNS[group.kind]


def _members(group: GateGroup) -> str:
    """``read by a, with b``: the modules that the units of a group live on, but for the one that names the group.

    Of whole modules, the first and the last.
    """
    if group.router is not None:
        return f"chosen in {group.router.path}, each as a whole"
    if group.blocks:
        return f"{group.blocks[0].path} to {group.blocks[-1].path}, each as a whole"
    verbs = {"consumer": "read by", "producer": "also made by", "coupled": "with"}
    parts, named = [], {group.name}
    for role, verb in verbs.items():
        places = [_place(member) for member in group.members if member.role == role]
        new = [place for place in dict.fromkeys(places) if role == "consumer" or place not in named]
        named.update(new)
        if new:
            more = f" and {len(new) - _PLACES} more" if len(new) > _PLACES + 1 else ""
            parts.append(f"{verb} {', '.join(new[:_PLACES] if more else new)}{more}")
    return ", ".join(parts)


def _place(member: Member) -> str:
    """Path of the module that owns the tensor; the tensor itself where the model owns it."""
    path = member.tensor.rpartition(".")[0] or member.tensor
    return path if member.width == 1 else f"{path} ({member.width} each)"
