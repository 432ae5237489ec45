"""Which groups of units are the same one in another block of the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lzero.plan.group import GateGroup
from lzero.plan.paths import covers

Families = tuple[tuple[str, ...], ...]
"""Names of groups that are alike; no group is in two families."""


def families(groups: Sequence[GateGroup], within: Iterable[str] = ("",)) -> Families:
    """The groups of units that are alike, of each of the modules ``within``; where these overlap, of all of them.

    Groups are alike where they have the same size and their names end in the same word, a number standing for any
    number: the hidden units of every transformer block, and their heads.

    Example:
        >>> groups = [GateGroup(f"layer.{i}.{word}", size, "unit", ()) for i in (0, 1) for word, size in
        ...           (("q", 4), ("fc", 16))]
        >>> families(groups)
        (('layer.0.q', 'layer.1.q'), ('layer.0.fc', 'layer.1.fc'))
    """
    found: list[set[str]] = []
    for path in within:
        kinds: dict[tuple[str, int], set[str]] = {}
        for group in groups:
            if group.kind == "unit" and covers(path, group.name):
                leaf = group.name.rpartition(".")[2]
                kinds.setdefault(("0" if leaf.isdigit() else leaf, group.size), set()).add(group.name)
        for names in kinds.values():
            joined = [family for family in found if family & names]
            found = [family for family in found if not family & names] + [names.union(*joined)]
    order = {group.name: number for number, group in enumerate(groups)}
    several = [tuple(sorted(family, key=order.__getitem__)) for family in found if len(family) > 1]
    return tuple(sorted(several, key=lambda family: order[family[0]]))
