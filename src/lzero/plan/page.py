"""A plan to read: by module, in the model's order, what is gated and what it reaches, what is not and why."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lzero.fold import fold
from lzero.listing import WIDTH, wrapped
from lzero.plan.group import GateGroup, Member
from lzero.plan.ownership import flat_order, reach
from lzero.plan.paths import owner
from lzero.plan.refusal import Refusal
from lzero.plan.remainder import Remainder
from lzero.plan.table import left_whole


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
    entries = [_Entry.of(group, shapes, (steps or {}).get(group.name, 1)) for group in groups]
    entries.sort(key=lambda entry: min((place[name] for name in entry.group.tensors if name in place), default=0))
    gates, reached = sum(group.size for group in groups), reach(groups, shapes)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    heads = [
        f"{len(groups)} groups, {gates:,} gates; they reach {reached:,} of {parameters:,} parameters "
        f"({reached / max(parameters, 1):.1%}); left ungated: {len(refusals)}",
        *(_bounds(Remainder(flat_order(groups), shapes, positions or {}, steps), refusals, shapes) if groups else ()),
        *(f"{name} loses features too: it is what the decoder reads, and no result" for name in states),
    ]
    lines = [line for head in heads for line in wrapped(head)]
    return "\n".join([*lines, *_by_module(entries), *left_whole(refusals)])


@dataclass(frozen=True)
class _Entry:
    """What is said of one group.

    Attributes:
        group: itself.
        leaf: its own name, without that of the module it lies in.
        count: how many gates of which kind, and how many parameters they reach.
        roles: what the modules of the units are to them, and their paths.
    """

    group: GateGroup
    folder: str
    leaf: str
    count: str
    roles: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, group: GateGroup, shapes: Mapping[str, Sequence[int]], step: int) -> _Entry:
        folder, _, leaf = group.name.removesuffix(_INPUT).rpartition(".")
        leaf += _INPUT if group.name.endswith(_INPUT) else ""
        how = f"in steps of {step}, " if step > 1 else ""
        count = f"{group.size:>6,} {_noun(group):<9}{f'{reach([group], shapes):,} parameters':>22}   {how}"
        return cls(group, folder, leaf, count, tuple(_roles(group)))

    @property
    def path(self) -> str:
        """Where it stands, with one name for the group itself."""
        return f"{self.folder}.{_escaped(self.leaf)}" if self.folder else _escaped(self.leaf)

    @property
    def key(self) -> Hashable:
        """Equal for groups of modules that are alike but for their numbers."""
        return self.count, tuple((verb, tuple(map(_without_numbers, paths))) for verb, paths in self.roles)


def _by_module(entries: Sequence[_Entry]) -> list[str]:
    """A line for each group under the module that it lies in; blocks that are alike have one together."""
    places = fold([entry.path for entry in entries], [entry.key for entry in entries])
    width = max((len(place.leaf) for place in places), default=0) + 3
    lines: list[str] = []
    folder = ""
    for place in places:
        if place.folder not in ("", folder):
            lines.append(place.folder + _alike(place.folders))
        folder, alike = place.folder, [entries[number] for number in place.members]
        leaf = f"{'  ' if folder else ''}{place.leaf.replace(_DOT, '.')}{_alike(place.leaves)}"
        left = f"{leaf:<{width}}{alike[0].count}"
        told = [f"{verb} {', '.join(_together(alike, role))}" for role, (verb, _) in enumerate(alike[0].roles)]
        room = max(WIDTH - len(left), _LEAST)
        text = textwrap.wrap(", ".join(told), room, break_on_hyphens=False, break_long_words=False) or [""]
        lines += [left + text[0], *(" " * len(left) + line for line in text[1:])]
    return lines


def _together(alike: Sequence[_Entry], role: int) -> list[str]:
    """The paths of one role, each of all the groups that are ``alike``."""
    if len(alike) == 1:
        return _few([place.path for place in fold(*_alone(alike[0].roles[role][1]))])
    told = []
    for paths in zip(*(entry.roles[role][1] for entry in alike), strict=True):
        one = fold(*_alone(paths))
        told.append(one[0].path if len(one) == 1 else paths[0] if len({*paths}) == 1 else f"{paths[0]} to {paths[-1]}")
    return _few(told)


def _alone(paths: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """Paths that are alike but for their numbers."""
    return paths, [""] * len(paths)


def _alike(count: int) -> str:
    return f" ({count} alike)" if count > 1 else ""


def _escaped(leaf: str) -> str:
    return leaf.replace(".", _DOT)


def _without_numbers(path: str) -> str:
    return ".".join("#" if name.isdecimal() else name for name in path.split("."))


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
_DOT = "\0"  # within the name of a group, where it divides no modules
_LEAST = 30  # characters of a line that are left for the modules of a group


_NOUNS = {"unit": "units", "input": "inputs", "weight": "weights", "depth": "blocks", "expert": "experts"}


def _noun(group: GateGroup) -> str:
    return "branches" if any(block.closed == "zero" for block in group.blocks) else _NOUNS[group.kind]


def _roles(group: GateGroup) -> Iterator[tuple[str, tuple[str, ...]]]:
    """``read by``, ``also made by``, ``with``, and the modules that the units live on, but for the one of the name.

    Of whole modules, the first and the last.
    """
    if group.router is not None:
        yield "chosen in", (f"{group.router.path}, each as a whole",)
        return
    if group.blocks:
        yield "", (f"{group.blocks[0].path} to {group.blocks[-1].path}, each as a whole",)
        return
    verbs = {"consumer": "read by", "producer": "also made by", "coupled": "with"}
    named = {group.name}
    for role, verb in verbs.items():
        places = [_place(member) for member in group.members if member.role == role]
        new = [place for place in dict.fromkeys(places) if role == "consumer" or place not in named]
        named.update(new)
        if new:
            yield verb, tuple(new)


def _few(places: Sequence[str]) -> list[str]:
    """The first of many, and how many more."""
    if len(places) <= _PLACES + 1:
        return list(places)
    return [*places[: _PLACES - 1], f"{places[_PLACES - 1]} and {len(places) - _PLACES} more"]


def _place(member: Member) -> str:
    """Path of the module that owns the tensor; the tensor itself where the model owns it."""
    path = member.tensor.rpartition(".")[0] or member.tensor
    return path if member.width == 1 else f"{path} ({member.width} each)"
