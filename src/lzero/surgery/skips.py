"""Gates on whole modules: of the draws while a model trains, of one set for a comparison, and off again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn

from lzero._torch import remove_hooks
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.gates.skip import GateFixed, GateNow, Skip
from lzero.plan.block import Block
from lzero.plan.group import GateGroup

Switched = list[tuple[nn.Module, Block, str, int]]
"""Modules that gates switch: each with what is known of it, and its group and place there."""


def switched_modules(model: nn.Module, groups: Iterable[GateGroup]) -> Switched:
    """The modules of ``model`` that gates of ``groups`` switch, the innermost first.

    Raises:
        StructureError: there is no module where one is expected.
    """
    found: Switched = []
    for group in groups:
        for place, block in enumerate(group.blocks if group.kind == "depth" else ()):
            try:
                found.append((model.get_submodule(block.path), block, group.name, place))
            except AttributeError:
                raise StructureError(
                    f"{block.path}: the plan says that a module is here, the model has none; call lzero.discover on "
                    "this model"
                ) from None
    return sorted(found, key=lambda item: -item[1].path.count("."))


def attach_skips(switched: Switched, gates: Gates) -> None:
    """Let the gates that the draws of ``gates`` have blend out what :func:`switched_modules` found."""
    numbers = {name: number for number, name in enumerate(gates.slices)}
    for module, block, name, place in switched:
        Skip(block, GateNow(gates, numbers[name], place)).attach(module)


def skip_closed(model: nn.Module, groups: Iterable[GateGroup], values: Mapping[str, Tensor]) -> None:
    """Let the modules of ``model`` that ``values`` closes be skipped; ``values[group.name]`` is z, [k]."""
    for module, block, name, place in switched_modules(model, groups):
        Skip(block, GateFixed(opened=bool(values[name][place] != 0))).attach(module)


def remove_skips(model: nn.Module) -> None:
    """Let all modules of ``model`` give what they give."""
    for module in model.modules():
        remove_hooks(module, _is_skip)


def blocks_in(groups: Iterable[GateGroup], keep: Mapping[str, Tensor]) -> Iterator[Block]:
    """The modules that ``keep`` closes; ``keep[group.name]`` is a bool mask, [k]."""
    for group in groups:
        for block, stays in zip(group.blocks, keep[group.name].tolist() if group.blocks else (), strict=True):
            if not stays:
                yield block


def _is_skip(hook: object) -> bool:
    return isinstance(getattr(hook, "__self__", None), Skip)
