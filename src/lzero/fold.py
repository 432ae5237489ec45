"""Modules that are alike, on one line: twelve blocks of a transformer are told once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Place:
    """Modules that share a line.

    Attributes:
        folder: what they lie in, ``"blocks.0-11"``; empty for the model itself.
        folders: how many modules that is.
        leaf: their own name, ``"fc"`` or ``"0-3"``.
        leaves: how many of them each folder has.
        members: which of the paths they are.
    """

    folder: str
    folders: int
    leaf: str
    leaves: int
    members: tuple[int, ...]

    @property
    def path(self) -> str:
        """Where they are: ``"blocks.0-11.fc"``."""
        return f"{self.folder}.{self.leaf}" if self.folder else self.leaf


@dataclass(frozen=True)
class _Item:
    names: tuple[tuple[str, int], ...]  # the names of a path, and how many modules each stands for
    key: Hashable
    members: tuple[int, ...]

    @property
    def place(self) -> Place:
        *outer, (leaf, leaves) = self.names
        folder, folders = ".".join(name for name, _ in outer), math.prod(count for _, count in outer)
        return Place(folder, folders, leaf, leaves, self.members)


def fold(paths: Sequence[str], keys: Sequence[Hashable]) -> list[Place]:
    """The ``paths`` in their order; numbered modules that follow each other and are alike in all below share a line.

    Args:
        paths: of modules, with dots between.
        keys: one a path; modules whose paths go on alike, with equal keys, are alike.

    Example:
        >>> [place.path for place in fold(["stem", "net.0.fc", "net.1.fc", "net.2.fc"], [7, 5, 5, 4])]
        ['stem', 'net.0-1.fc', 'net.2.fc']
    """
    return [item.place for item in _folded(_items(paths, keys))]


def unfolded(paths: Sequence[str]) -> list[Place]:
    """The ``paths``, a line each."""
    return [item.place for item in _items(paths, paths)]


def _items(paths: Sequence[str], keys: Sequence[Hashable]) -> list[_Item]:
    return [
        _Item(tuple((name, 1) for name in path.split(".")), key, (number,))
        for number, (path, key) in enumerate(zip(paths, keys, strict=True))
    ]


def _folded(items: Iterable[_Item]) -> list[_Item]:
    """Those of one folder; their names are those from there on."""
    inside: dict[str, list[_Item]] = {}
    for item in items:
        name = item.names[0][0] if item.names else ""
        inside.setdefault(name, []).append(replace(item, names=item.names[1:]))
    runs: list[tuple[str, str, int, list[_Item]]] = []  # first and last name, how many, and what is below each
    for name, found in inside.items():
        below = _folded(found) if name else found
        first, last, count, before = runs[-1] if runs else ("", "", 0, [])
        if _follows(name, last) and [(one.names, one.key) for one in before] == [(one.names, one.key) for one in below]:
            both = [replace(a, members=a.members + b.members) for a, b in zip(before, below, strict=True)]
            runs[-1] = (first, name, count + 1, both)
        else:
            runs.append((name, name, 1, below))
    return [
        replace(item, names=((first if count == 1 else f"{first}-{last}", count), *item.names)) if first else item
        for first, last, count, below in runs
        for item in below
    ]


def _follows(name: str, last: str) -> bool:
    return name.isdecimal() and last.isdecimal() and int(name) == int(last) + 1
