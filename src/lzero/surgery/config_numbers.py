"""Plain numbers beside the layers (``num_heads``, ``hidden_size``): which of them follow a group of units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lzero.checks import shown
from lzero.errors import StructureError
from lzero.host.tensors import find_tensor
from lzero.plan.group import GateGroup, Member
from lzero.plan.ownership import alive_positions
from lzero.plan.paths import covers, owner
from lzero.surgery.adapters import adapter_paths
from lzero.surgery.layer_sizes import has_rule
from lzero.surgery.numbers.registry import Role, roles_of

MARK = "purged_"
"""A corrected number ``name`` stays with the purged module as the buffer ``purged_name``, and so in its state dict."""


@dataclass(frozen=True)
class Number:
    """A whole-number attribute of the module at ``path`` and its value once the closed units have left."""

    path: str
    name: str
    value: int


@dataclass
class _Near:
    """What lies near a number: the gated dims of its module and of that module's children, and sizes of the others."""

    gated: list[tuple[GateGroup, Member]] = field(default_factory=list)
    kept: set[int] = field(default_factory=set)


def following_numbers(model: nn.Module, groups: Sequence[GateGroup], keep: Mapping[str, Tensor]) -> list[Number]:
    """The numbers in ``model``, before it is cut, that have to change with the units that ``keep`` leaves.

    A number follows a group if it counts heads and the group's units are made of whole heads, or if it is a size and
    has the value of a dim that the group lives on; what it is, the family of its module tells (``numbers``). Which
    numbers follow depends on the groups alone, never on what is closed; where two groups could claim one, it stays. A
    wrong guess is no danger: the proof takes the same, and refuses what it breaks.
    """
    found = []
    for path, near in _neighbourhoods(model, groups).items():
        module = model.get_submodule(path)
        numbers = _numbers(module)
        roles = roles_of(module, (name for name, _ in numbers))
        head = next((value for (_, value), role in zip(numbers, roles, strict=True) if role is Role.HEAD_SIZE), 1)
        for (name, value), role in zip(numbers, roles, strict=True):
            new = None
            if role is Role.HEADS:
                new = _heads(value, head, near, keep)
            elif role is Role.INNER:
                new = _size(model, value, _inside(near, path), keep)
            elif role is Role.SIZE and value not in near.kept:
                new = _size(model, value, near, keep)
            if new is not None and new != value:
                found.append(Number(path, name, new))
    return found


def _inside(near: _Near, path: str) -> _Near:
    """``near`` without what also lies elsewhere, where that leaves anything: a stream that is as wide by chance."""
    own = [(group, m) for group, m in near.gated if all(covers(path, other.tensor) for other in group.members)]
    return _Near(own, near.kept) if own else near


def set_numbers(model: nn.Module, numbers: Sequence[Number]) -> None:
    """``model`` with ``numbers`` in place of the old, each kept as a buffer too, so that a state dict carries it."""
    for number in numbers:
        module = model.get_submodule(number.path)
        setattr(module, number.name, number.value)
        near = next((tensor for tensor in (*module.parameters(), *module.buffers())), None)
        device = None if near is None else near.device  # a model of two devices is no use to DDP
        module.register_buffer(MARK + number.name, torch.tensor(number.value, device=device))


def saved_numbers(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Number]:
    """The numbers of ``model`` that the state dict of a purged one carries, by their key.

    Raises:
        StructureError: one that is no whole number from 1 to the model's own.
    """
    found = {}
    for path, module in model.named_modules():
        for name, value in _numbers(module):
            key = f"{path}.{MARK}{name}" if path else MARK + name
            if key in state:
                found[key] = Number(path, name, _whole(key, state[key], value))
    return found


def _whole(key: str, saved: Tensor, most: int) -> int:
    if saved.dim() or saved.dtype != torch.int64 or not 0 < int(saved) <= most:
        what = shown(saved.item()) if saved.numel() == 1 else f"shape {list(saved.shape)}"
        raise StructureError(
            f"{key}: expected one whole number from 1 to {most} in int64, found {what} in "
            f"{str(saved.dtype).removeprefix('torch.')}; build the model that the gates were attached to"
        )
    return int(saved)


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


def _heads(value: int, head: int, near: _Near, keep: Mapping[str, Tensor]) -> int | None:
    """``value`` heads, less those that leave with the one group whose units are made of whole heads."""
    claims = {
        group.name: group.size
        for group, member in near.gated
        if value % group.size == 0
        and member.width > 1
        and member.width % (value // group.size) == 0
        and member.width * group.size % (value * head) == 0
    }
    if len(claims) != 1:
        return None
    ((name, size),) = claims.items()
    return value // size * int(keep[name].sum())


def _size(model: nn.Module, value: int, near: _Near, keep: Mapping[str, Tensor]) -> int | None:
    """What is left of the dims of size ``value``, where all of them belong to the same groups."""
    claims: dict[tuple[str, int], set[tuple[str, int]]] = {}
    shapes: dict[str, torch.Size] = {}
    for group, member in near.gated:
        shape = find_tensor(model, member.tensor).shape
        if shape[member.dim] == value:
            claims.setdefault((member.tensor, member.dim), set()).add((group.name, member.width))
            shapes[member.tensor] = shape
    if len({frozenset(found) for found in claims.values()}) != 1:
        return None
    tensor, dim = next(iter(claims))
    groups = [group for group, member in near.gated if member.tensor == tensor]
    return int(alive_positions(groups, keep, {tensor: shapes[tensor]})[tensor][dim].sum())


def _numbers(module: nn.Module) -> list[tuple[str, int]]:
    return [
        (name, value)
        for name, value in vars(module).items()
        if type(value) is int and value > 1 and not name.startswith("_")
    ]
