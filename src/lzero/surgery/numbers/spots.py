"""Where a module keeps whole numbers: in attributes, in lists and tuples, and in its configuration."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

_CONFIG = re.compile(r"^(config|cfg)$|(_config|_cfg)$|^(config|cfg)_")
_DEEPEST = 2  # configurations in each other


@dataclass(frozen=True)
class Spot:
    """A whole number of a module: ``name`` leads to it (``"config.num_heads"``), ``place`` is its place in a list."""

    name: str
    place: int
    value: int


def spots_of(module: nn.Module, *, deep: bool = True) -> Iterator[Spot]:
    """The whole numbers above one that ``module`` keeps; only those in attributes where not ``deep``."""
    yield from _spots(vars(module), "", _DEEPEST if deep else 0, deep=deep)


def read_number(module: nn.Module, name: str, place: int) -> int:
    """The number of ``module`` at a spot."""
    held = _held(module, name)
    return int(held if place < 0 else held[place])


def lists_of(module: nn.Module, length: int) -> list[str]:
    """Names of the lists and tuples of so many items that ``module`` keeps, in attributes and configurations."""
    return [name for name, value in _lists(vars(module), "", _DEEPEST) if len(value) == length]


def keep_items(module: nn.Module, name: str, places: Sequence[int]) -> None:
    """Leave the items at ``places`` of a list or tuple of ``module``, in a changed copy of what holds it."""
    head, *rest = name.split(".")
    vars(module)[head] = _changed(vars(module)[head], rest, lambda held: type(held)(held[place] for place in places))


def items_at(module: nn.Module, name: str) -> Sequence[Any]:
    """The list or tuple of ``module`` called ``name``."""
    found: Sequence[Any] = _held(module, name)
    return found


def items_of(module: nn.Module, name: str) -> dict[int, int]:
    """By place, all whole numbers, whatever they are, of the list or tuple called ``name``; at -1 a number itself."""
    held = _held(module, name)
    if type(held) not in (tuple, list):
        return {-1: held}
    return {place: item for place, item in enumerate(held) if type(item) is int}


def write_numbers(module: nn.Module, name: str, values: dict[int, int]) -> None:
    """Set the numbers of ``module`` called ``name`` to ``values``, by their places.

    Lists, tuples and configurations are replaced by changed copies, since others may hold the same; the configuration
    that the user has in hand is never written into.
    """
    head, *rest = name.split(".")
    old = vars(module)[head]
    new = _with(old, rest, values)
    if rest or -1 not in values:
        vars(module)[head] = new
    else:
        setattr(module, head, new)


def watched_numbers(held: Any, name: str, watch: Callable[[str, int, int], int], *, deep: bool) -> Any:
    """The attribute ``held`` with ``watch(name, place, value)`` in place of its numbers; itself where it has none.

    Only a number itself where not ``deep``. What cannot be copied stays as it is: its numbers never follow.
    """
    return _watched(held, name, name, watch, _DEEPEST if deep else 0, deep=deep)


def _watched(held: Any, leaf: str, name: str, watch: Callable[[str, int, int], int], depth: int, *, deep: bool) -> Any:
    if leaf.startswith("_"):
        return held
    if _counts(held):
        return watch(name, -1, held)
    if not deep:
        return held
    if type(held) in (tuple, list) and any(map(_counts, held)):
        return type(held)(watch(name, i, item) if _counts(item) else item for i, item in enumerate(held))
    entries = _entries(held) if depth and _CONFIG.search(leaf) else None
    if entries is None:
        return held
    try:
        made = copy.copy(held)
    except Exception:
        return held
    table = _entries(made)
    if table is None or table is entries:
        return held
    for key, value in entries.items():
        table[key] = _watched(value, key, f"{name}.{key}", watch, depth - 1, deep=True)
    return made


def _spots(table: dict[str, Any], prefix: str, depth: int, *, deep: bool) -> Iterator[Spot]:
    for name, value in table.items():
        if name.startswith("_"):
            continue
        if _counts(value):
            yield Spot(prefix + name, -1, value)
        elif not deep:
            continue
        elif type(value) in (tuple, list):
            yield from (Spot(prefix + name, place, item) for place, item in enumerate(value) if _counts(item))
        elif depth and _CONFIG.search(name) and (entries := _entries(value)) is not None:
            yield from _spots(entries, f"{prefix}{name}.", depth - 1, deep=deep)


def _lists(table: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Sequence[Any]]]:
    for name, value in table.items():
        if name.startswith("_"):
            continue
        if type(value) in (tuple, list):
            yield prefix + name, value
        elif depth and _CONFIG.search(name) and (entries := _entries(value)) is not None:
            yield from _lists(entries, f"{prefix}{name}.", depth - 1)


def _counts(value: Any) -> bool:
    return type(value) is int and value > 1


def _entries(value: Any) -> dict[str, Any] | None:
    """What a configuration holds, asked without its own ``__getattribute__``; None where it is none."""
    if isinstance(value, nn.Module | Tensor | type) or callable(value):
        return None
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found if type(found) is dict else None


def holder_of(module: nn.Module, name: str) -> Any:
    """What has the last part of ``name``: a configuration, or ``module`` itself."""
    return _held(module, name.rpartition(".")[0]) if "." in name else module


def _held(module: nn.Module, name: str) -> Any:
    head, *rest = name.split(".")
    held = vars(module)[head]
    for key in rest:
        entries = _entries(held)
        if entries is None:
            raise AttributeError(f"{name}: {type(held).__name__} holds no {key!r}")
        held = entries[key]
    return held


def _with(held: Any, rest: list[str], values: dict[int, int]) -> Any:
    """A copy of ``held`` with ``values`` at the end of the path ``rest``."""
    if -1 in values:
        return _changed(held, rest, lambda _: values[-1])
    return _changed(held, rest, lambda old: type(old)(values.get(place, item) for place, item in enumerate(old)))


def _changed(held: Any, rest: list[str], change: Callable[[Any], Any]) -> Any:
    """A copy of ``held`` with what ``change`` makes of the end of the path ``rest``."""
    if not rest:
        return change(held)
    made = copy.copy(held)
    entries = object.__getattribute__(made, "__dict__")
    entries[rest[0]] = _changed(entries[rest[0]], rest[1:], change)
    return made
