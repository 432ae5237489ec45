"""Numbers that no op of a forward tells of: which of them follow a group, guessed by name and value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import nn

from lzero.host.tensors import find_tensor
from lzero.plan.follower import Follower
from lzero.plan.group import GateGroup, Member
from lzero.plan.paths import covers, owner
from lzero.surgery.adapters import adapter_paths
from lzero.surgery.layer_sizes import has_rule
from lzero.surgery.numbers.registry import Role, roles_of
from lzero.surgery.numbers.spots import Spot, spots_of


@dataclass
class _Near:
    """What lies near a number: the gated dims of its module and of that module's children, and sizes of the others."""

    gated: list[tuple[GateGroup, Member]] = field(default_factory=list)
    kept: set[int] = field(default_factory=set)


def guessed_numbers(
    model: nn.Module, groups: Sequence[GateGroup], known: Callable[[str, str], bool]
) -> dict[str, tuple[Follower, ...]]:
    """By the names of ``groups``, the numbers in ``model`` that look as if they followed them.

    A number follows a group if it counts heads and the group's units are made of whole heads, or if it is a size and
    has the value of a dim that the group lives on; what it is, the family of its module tells (``numbers``). Where two
    groups could claim one, it stays. A wrong guess is no danger: the proof takes the same, and refuses what it breaks.

    Args:
        model: as it is.
        groups: that may be closed.
        known: says of the module at a path and one of its attributes whether the forward has told already.
    """
    found: dict[str, list[Follower]] = {}
    for path, near in _neighbourhoods(model, groups).items():
        module = model.get_submodule(path)
        spots = list(spots_of(module, deep=False))
        roles = roles_of(module, (spot.name for spot in spots))
        head = next((spot.value for spot, role in zip(spots, roles, strict=True) if role is Role.HEAD_SIZE), 1)
        for spot, role in zip(spots, roles, strict=True):
            if known(path, spot.name):
                continue
            for name, each in _claims(model, spot, role, head, near).items():
                found.setdefault(name, []).append(Follower(path, spot.name, -1, each))
    return {name: tuple(numbers) for name, numbers in found.items()}


def _claims(model: nn.Module, spot: Spot, role: Role, head: int, near: _Near) -> dict[str, int]:
    """What the number loses with each unit, by group."""
    if role is Role.HEADS:
        return _heads(spot.value, head, near)
    if role is Role.INNER or (role is Role.SIZE and spot.value not in near.kept):
        return _size(model, spot.value, near)
    return {}


def _neighbourhoods(model: nn.Module, groups: Sequence[GateGroup]) -> dict[str, _Near]:
    """By the path of every module that may hold a number: the groups on its tensors and on those of its children."""
    near: dict[str, _Near] = {}
    adapters = adapter_paths(model)
    gated: dict[str, set[int]] = {}
    for group in groups:
        for member in group.members if group.kind == "unit" else ():
            gated.setdefault(member.tensor, set()).add(member.dim)
            for path in _holders(model, member.tensor, adapters):
                near.setdefault(path, _Near()).gated.append((group, member))
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        for path in _holders(model, name, adapters):
            if path in near:
                near[path].kept |= {n for dim, n in enumerate(tensor.shape) if dim not in gated.get(name, ())}
    return near


def _holders(model: nn.Module, tensor: str, adapters: Iterable[str]) -> Iterator[str]:
    """Paths of the modules whose numbers may follow a tensor: its owner and the owner's parent, if without a rule.

    Of what lies in an adapter that also is the parent of the adapter, where the layer inside was before.
    """
    path = owner(tensor)
    around = [adapter for adapter in adapters if covers(adapter, tensor)]
    parents = [place.rpartition(".")[0] for place in (path, *([min(around, key=len)] if around else []))]
    for candidate in dict.fromkeys((path, *parents)):
        if not has_rule(model.get_submodule(candidate)):
            yield candidate


def _heads(value: int, head: int, near: _Near) -> dict[str, int]:
    """``value`` heads follow the one group whose units are made of whole heads."""
    claims = {
        group.name: value // group.size
        for group, member in near.gated
        if value % group.size == 0
        and member.width > 1
        and member.width % (value // group.size) == 0
        and member.width * group.size % (value * head) == 0
    }
    return claims if len(claims) == 1 else {}


def _size(model: nn.Module, value: int, near: _Near) -> dict[str, int]:
    """A width follows the dims that have it, where all of them belong to the same groups."""
    claims: dict[tuple[str, int], dict[str, int]] = {}
    for group, member in near.gated:
        if find_tensor(model, member.tensor).shape[member.dim] == value:
            widths = claims.setdefault((member.tensor, member.dim), {})
            widths[group.name] = widths.get(group.name, 0) + member.width
    if len({frozenset(found.items()) for found in claims.values()}) != 1:
        return {}
    return next(iter(claims.values()))
