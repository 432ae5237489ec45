"""Plain numbers beside the layers (``num_heads``, ``hidden_size``): what the units that leave make of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lzero.checks import shown
from lzero.errors import StructureError
from lzero.plan.group import GateGroup
from lzero.surgery.numbers.spots import items_of, read_number, spots_of, write_numbers

MARK = "purged_"
"""A corrected number ``name`` stays with the purged module as the buffer ``purged_name``, and so in its state dict.

A dot in ``name`` is two underscores there, and a list or tuple is saved with all its whole numbers.
"""


@dataclass(frozen=True)
class Number:
    """A whole number of the module at ``path``, named as in a follower of units, and its new value."""

    path: str
    name: str
    value: int
    place: int = -1


def following_numbers(model: nn.Module, groups: Sequence[GateGroup], keep: Mapping[str, Tensor]) -> list[Number]:
    """The numbers in ``model``, before it is cut, that change with the units that ``keep`` leaves.

    Which numbers follow a group, and by how much, is written down with it; what several groups take adds up.
    """
    lost: dict[tuple[str, str, int], int] = {}
    for group in groups:
        closed = group.size - int(keep[group.name].sum()) if group.numbers else 0
        for number in group.numbers if closed else ():
            key = number.path, number.name, number.place
            lost[key] = lost.get(key, 0) + number.each * closed
    found = [
        Number(path, name, read_number(model.get_submodule(path), name, place) - less, place)
        for (path, name, place), less in lost.items()
    ]
    for group in groups:
        for path, name in group.router.chosen if group.router is not None else ():
            left, before = int(keep[group.name].sum()), read_number(model.get_submodule(path), name, -1)
            found += [Number(path, name, left)] if left < before else []
    return found


def set_numbers(model: nn.Module, numbers: Iterable[Number]) -> None:
    """``model`` with ``numbers`` in place of the old, each kept as a buffer too, so that a state dict carries it."""
    changed: dict[tuple[str, str], dict[int, int]] = {}
    for number in numbers:
        changed.setdefault((number.path, number.name), {})[number.place] = number.value
    for (path, name), values in changed.items():
        module = model.get_submodule(path)
        write_numbers(module, name, values)
        near = next((tensor for tensor in (*module.parameters(), *module.buffers())), None)
        device = None if near is None else near.device  # a model of two devices is no use to DDP
        held = items_of(module, name)
        saved = torch.tensor(held.get(-1, list(held.values())), device=device)
        module.register_buffer(_leaf(name), saved)


def saved_numbers(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, list[Number]]:
    """The numbers of ``model`` that the state dict of a purged one carries, by their key.

    Raises:
        StructureError: one that is no whole number from 1 to the model's own.
    """
    found: dict[str, list[Number]] = {}
    for path, module in model.named_modules():
        for spot in spots_of(module):
            key = f"{path}.{_leaf(spot.name)}" if path else _leaf(spot.name)
            if key in state and key not in found:
                found[key] = _numbers(key, path, spot.name, items_of(module, spot.name), state[key])
    return found


def _numbers(key: str, path: str, name: str, own: Mapping[int, int], saved: Tensor) -> list[Number]:
    if -1 in own:
        return [Number(path, name, _whole(key, saved, own[-1]))]
    if saved.dim() != 1 or len(saved) != len(own):
        raise StructureError(
            f"{key}: expected {len(own)} whole numbers in int64, found shape {list(saved.shape)}; build the model that "
            "the gates were attached to"
        )
    return [
        Number(path, name, _whole(key, item, most), place)
        for item, (place, most) in zip(saved, own.items(), strict=True)
    ]


def _whole(key: str, saved: Tensor, most: int) -> int:
    least = min(1, most)
    if saved.dim() or saved.dtype != torch.int64 or not least <= int(saved) <= most:
        what = shown(saved.item()) if saved.numel() == 1 else f"shape {list(saved.shape)}"
        raise StructureError(
            f"{key}: expected one whole number from {least} to {most} in int64, found {what} in "
            f"{str(saved.dtype).removeprefix('torch.')}; build the model that the gates were attached to"
        )
    return int(saved)


def _leaf(name: str) -> str:
    return MARK + name.replace(".", "__")
