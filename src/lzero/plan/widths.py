"""Widths that hardware likes: by how many units at a time a group opens, so that it ships a multiple of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lzero.checks import shown, whole
from lzero.errors import StructureError
from lzero.plan.group import GateGroup
from lzero.plan.ownership import Shapes
from lzero.plan.paths import covers, owner

RoundTo = int | Mapping[str, int]
"""One number for all widths, or module path -> number; ``""`` is the rest, which 1 leaves as it is."""


def checked_round_to(round_to: object) -> int | dict[str, int]:
    """``round_to`` in one spelling: a number where all have the same, else a mapping without needless entries.

    Example:
        >>> checked_round_to({"": 8}), checked_round_to({"": 1, "head": 4})
        (8, {'head': 4})

    Raises:
        StructureError: neither a positive whole number nor a mapping from words to such.
    """
    expected = "a whole number >= 1, such as 8"
    if not isinstance(round_to, Mapping):
        said = f"{expected}, or a mapping from module paths to them"
        return whole("round_to", round_to, least=1, expected=said, error=StructureError)
    if not round_to or not all(isinstance(path, str) for path in round_to):
        raise StructureError(f"round_to: expected module path -> {expected}, found {shown(dict(round_to))}")
    asked = {
        path: whole(f"round_to[{path!r}]", number, least=1, expected=expected, error=StructureError)
        for path, number in sorted(round_to.items())
    }
    rest = asked.pop("", 1)
    if all(number == rest for number in asked.values()):
        return rest
    return asked if rest == 1 else {"": rest, **asked}


def steps_of(groups: Sequence[GateGroup], shapes: Shapes, round_to: int | Mapping[str, int]) -> tuple[int, ...]:
    """How many gates of each of ``groups`` open at a time, 1 where they stay as they are.

    A group of k units with a step of s ships s, 2 s, ... or all k of them; where s is k or more, all. Of the paths that
    lead to its weights the deepest decides, and of several as deep the least common multiple. See :func:`is_width` for
    the groups that have steps.

    Args:
        groups: of gates.
        shapes: of the parameters.
        round_to: what :func:`checked_round_to` returned.

    Raises:
        StructureError: a path that leads to no weight of the groups; the message has those that do.
    """
    asked = {"": round_to} if isinstance(round_to, int) else round_to
    known = dict.fromkeys(owner(name) for group in groups for name in group.tensors)
    for path in asked:
        if path and not any(covers(path, other) for other in known):
            raise StructureError(
                f"round_to: no gated weights at {path!r}; there are some at {', '.join(filter(None, known))}"
            )
    return tuple(_step(group, asked) if is_width(group, shapes) else 1 for group in groups)


def is_width(group: GateGroup, shapes: Shapes) -> bool:
    """Whether each unit of ``group`` is a single position of a width: a channel, a neuron, a feature of a stream.

    So it is where all that makes a unit makes it at one position (a channel, though flattened it is read at many), or
    something that reads it does so at one (a hidden unit, whose four rows an LSTM has). A head is several positions
    wherever it lies. So are the channels j of all groups of a convolution: its weights read one position, but their
    width is that of a group.
    """
    made = {member.width for member in group.members if member.role == "producer"}
    if group.kind != "unit" or made <= {1}:
        return group.kind == "unit"
    read = [member for member in group.consumers if member.width == 1]
    return any(1 in made or not _of_kernels(shapes.get(member.tensor, ()), member.dim) for member in read)


def _of_kernels(shape: Sequence[int], dim: int) -> bool:
    """Whether ``dim`` is one of the two that the kernels of a convolution connect."""
    return len(shape) > 2 and dim < 2


def _step(group: GateGroup, asked: Mapping[str, int]) -> int:
    paths = {path for path in asked if any(covers(path, owner(name)) for name in group.tensors)}
    deepest = max(map(_depth, paths), default=0)
    return min(math.lcm(*(asked[path] for path in paths if _depth(path) == deepest)), group.size)


def _depth(path: str) -> int:
    return len(path.split(".")) if path else 0
