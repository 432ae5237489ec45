"""Fills on the norms of a model: of its gates while it trains, of one set of gates for a comparison, and off again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lzero._torch import remove_hooks
from lzero.errors import StructureError
from lzero.gates.fill import Fill, OpenAlways, OpenNow
from lzero.gates.gates import Gates
from lzero.plan.group import GateGroup
from lzero.plan.norm import Norm

Norms = dict[str, list[tuple[GateGroup, Norm]]]
"""By the path of a module that normalises, the groups on the units of its input, each with its positions there."""


def norms_in(groups: Iterable[GateGroup]) -> Norms:
    """The norms that units of ``groups`` pass."""
    found: Norms = {}
    for group in groups:
        for norm in group.norms:
            found.setdefault(norm.path, []).append((group, norm))
    return found


def open_positions(norms: Sequence[tuple[GateGroup, Norm]], opened: Mapping[str, Tensor]) -> Tensor:
    """Which positions of the input of a norm are open, bool [n]; ``opened[group.name]`` are masks [k]."""
    found = torch.ones(norms[0][1].length, dtype=torch.bool)
    for group, norm in norms:
        found &= norm.expand(opened[group.name].cpu() != 0, fill=True)
    return found


def filled_layers(
    model: nn.Module, groups: Iterable[GateGroup]
) -> list[tuple[nn.Module, list[tuple[GateGroup, Norm]]]]:
    """The modules of ``model`` that normalise over units of ``groups``, with these.

    Raises:
        StructureError: there is no module where one is expected.
    """
    found = []
    for path, norms in norms_in(groups).items():
        try:
            found.append((model.get_submodule(path), norms))
        except AttributeError:
            raise StructureError(
                f"{path}: the plan says that a norm is here, the model has none; call lzero.discover on this model"
            ) from None
    return found


def attach_fills(layers: Sequence[tuple[nn.Module, list[tuple[GateGroup, Norm]]]], gates: Gates) -> None:
    """Let what :func:`filled_layers` found read what the draws of ``gates`` leave open."""
    made: dict[bytes, OpenNow] = {}
    for layer, norms in layers:
        index = torch.full((norms[0][1].length,), len(gates))
        for group, norm in norms:
            where = gates.slices[group.name]
            index = torch.minimum(index, norm.expand(torch.arange(where.start, where.stop), fill=len(gates)))
        key = index.numpy().tobytes()
        if key not in made:
            made[key] = OpenNow(gates, index)
        Fill(norms[0][1], made[key]).attach(layer)


def fill_closed(model: nn.Module, groups: Iterable[GateGroup], values: Mapping[str, Tensor]) -> None:
    """Let the norms of ``model`` read what ``values`` leaves open; ``values[group.name]`` is z, [k]."""
    for layer, norms in filled_layers(model, groups):
        Fill(norms[0][1], OpenAlways(open_positions(norms, values))).attach(layer)


def remove_fills(model: nn.Module) -> None:
    """Let all modules of ``model`` read what they are given."""
    for module in model.modules():
        remove_hooks(module, _is_fill)


def _is_fill(hook: object) -> bool:
    return isinstance(getattr(hook, "__self__", None), Fill)
