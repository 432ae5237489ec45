"""Cutting whole modules out of a plain model, in place, and finding again which ones had been cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lzero.checks import shown
from lzero.errors import StructureError
from lzero.plan.block import Block
from lzero.plan.paths import join
from lzero.surgery.left_out import MARK as CLOSED
from lzero.surgery.left_out import LeftOut, restored, stand_in
from lzero.surgery.numbers.depths import Places, follow_entries

KEPT = "purged_blocks"
"""The buffer of a Sequential or ModuleList that modules have left: the places, before, of those that stayed, [k]."""
EXPERTS = "purged_experts"
"""The same of one that experts have left, which no count of blocks follows."""
_PASS = "pass the state dict of a purged model as it was saved"
_WAY_OUT = "build the model that the gates were attached to"


def cut_blocks(model: nn.Module, blocks: Sequence[Block]) -> None:
    """``model`` without ``blocks``, in place: the deepest first, so that paths stay true."""
    places = Places(model, [block.path for block in blocks])
    for block in sorted(blocks, key=lambda block: -block.path.count(".")):
        if block.closed != "removed":
            _replace(model, block.path, stand_in(block))
    _leave(model, [block.path for block in blocks if block.closed == "removed"], KEPT)
    places.follow()


def cut_entries(model: nn.Module, paths: Sequence[str]) -> None:
    """``model`` without the experts at ``paths``, entries of lists, in place."""
    _leave(model, paths, EXPERTS)


def _leave(model: nn.Module, paths: Sequence[str], mark: str) -> None:
    leaving: dict[str, set[str]] = {}
    for path in paths:
        above, _, leaf = path.rpartition(".")
        leaving.setdefault(above, set()).add(leaf)
    for path, leaves in sorted(leaving.items(), key=lambda item: -item[0].count(".")):
        names = list(model.get_submodule(path)._modules)
        _keep(model, path, [place for place, name in enumerate(names) if name not in leaves], mark)


def _keep(model: nn.Module, path: str, kept: Sequence[int], mark: str) -> None:
    """Leave the entries at the places ``kept`` of the container at ``path``, and number those called by number anew."""
    container = model.get_submodule(path)
    entries = list(container._modules.items())
    numbered = [name for name, _ in entries] == [str(place) for place in range(len(entries))]
    container._modules.clear()
    for new, old in enumerate(kept):
        name, module = entries[old]
        container._modules[str(new) if numbered else name] = module
    if mark == KEPT:
        follow_entries(model, path, len(entries), kept)
    before = container._buffers.get(mark)
    if before is not None:  # purged once already
        kept = [int(before[place]) for place in kept]
    near = next((tensor for tensor in (*model.parameters(), *model.buffers())), None)
    device = None if near is None else near.device
    container.register_buffer(mark, torch.tensor(list(kept), dtype=torch.long, device=device))


def _replace(model: nn.Module, path: str, module: LeftOut) -> None:
    above, _, leaf = path.rpartition(".")
    near = next((tensor for tensor in (*model.parameters(), *model.buffers())), None)
    if near is not None:
        module.to(near.device)
    module.train(model.get_submodule(path).training)
    model.get_submodule(above)._modules[leaf] = module


def saved_cuts(state: Mapping[str, Tensor]) -> tuple[dict[str, list[int]], dict[str, Tensor]]:
    """What the state dict of a purged model says of the modules that have left it.

    Returns:
        By the path of a container in the purged model, the places that stayed; and by the path of a module, what tells
        its stand-in.

    Raises:
        StructureError: an entry that is no such list of places.
    """
    closed = {name.rpartition(".")[0]: tensor for name, tensor in state.items() if name.rpartition(".")[2] == CLOSED}
    places = _saved_places(state, KEPT)
    for path, tensor in closed.items():
        if tensor.dim() or tensor.dtype != torch.long or not -64 <= int(tensor) <= 64:
            raise StructureError(
                f"{join(path, CLOSED)}: expected one whole number in int64, found {shown(tensor)}; {_PASS}"
            )
    return places, closed


def cut_as_saved(model: nn.Module, kept: Mapping[str, Sequence[int]], closed: Mapping[str, Tensor]) -> None:
    """A fresh ``model`` without the modules that had left the one that was saved, in place; outermost first.

    Raises:
        StructureError: the model has no such modules.
    """
    places = Places(model, [join(path, "0") for path in kept] + list(closed))
    _keep_as_saved(model, kept, KEPT)
    for path, mark in closed.items():
        if not path or _at(model, path) is None:
            raise StructureError(f"{join(path, CLOSED)}: the saved model left out what this one lacks; {_WAY_OUT}")
        _replace(model, path, restored(mark))
    places.follow()


def saved_entries(state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """By the path of a list in the purged model whose state dict this is, the places of the experts that stayed.

    Raises:
        StructureError: an entry that is no such list of places.
    """
    return _saved_places(state, EXPERTS)


def cut_entries_as_saved(model: nn.Module, kept: Mapping[str, Sequence[int]]) -> None:
    """A fresh ``model``, its blocks cut already, without the experts that had left the one that was saved, in place.

    Raises:
        StructureError: the model has no such experts.
    """
    _keep_as_saved(model, kept, EXPERTS)


def _keep_as_saved(model: nn.Module, kept: Mapping[str, Sequence[int]], mark: str) -> None:
    done = set[nn.Module]()
    for path, places in sorted(kept.items(), key=lambda item: item[0].count(".")):
        module = _at(model, path)
        if module is None or any(place >= len(module._modules) for place in places):
            raise StructureError(f"{join(path, mark)}: the saved model kept entries that this one lacks; {_WAY_OUT}")
        if module not in done:  # it may have several paths
            done.add(module)
            _keep(model, path, places, mark)


def _saved_places(state: Mapping[str, Tensor], mark: str) -> dict[str, list[int]]:
    named = {name: tensor for name, tensor in state.items() if name.rpartition(".")[2] == mark}
    return {name.rpartition(".")[0]: _places(name, tensor) for name, tensor in named.items()}


def _places(name: str, tensor: Tensor) -> list[int]:
    found = tensor.tolist() if tensor.dim() == 1 and tensor.dtype == torch.long else None
    if found is None or any(place < 0 for place in found) or found != sorted(set(found)):
        raise StructureError(f"{name}: expected places in ascending order in int64, found {shown(tensor)}; {_PASS}")
    return found


def _at(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None
