"""A purged model from its state dict: the way back from a file to a network that runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.structure.gated import gated_leaves
from lzero.structure.numbers import saved_numbers, set_numbers
from lzero.structure.shrink import SelectedLinear, find_tensor
from lzero.structure.sizes import correct_sizes, tensors_of

_COLUMNS = "columns"


def load_purged(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """``model`` itself, turned into the purged network whose ``state_dict()`` is ``state``.

    Every parameter and buffer takes the saved shape, dtype and value and stays on its device; a Linear with saved
    ``columns`` becomes a :class:`SelectedLinear`; sizes that modules cache follow. Tied parameters stay tied. Build
    optimizers afterwards.

    Args:
        model: a fresh instance of the architecture that the gates were attached to, without gates.
        state: ``purge(...).model.state_dict()``, perhaps from a file read with ``weights_only=True``.

    Example:
        >>> model = load_purged(nn.Sequential(nn.Linear(8, 6)), nn.Sequential(nn.Linear(8, 2)).state_dict())
        >>> model[0].out_features
        2

    Raises:
        StructureError: missing or unexpected tensors, or shapes that no purge of this architecture has. ``model`` is
            then as it was.
    """
    if any(gated_leaves(module) for module in model.modules()):
        raise StructureError(f"{type(model).__name__}: has gated tensors; expected a fresh model without gates")
    selected, numbers, buffers = _selected(model, state), saved_numbers(model, state), _unsaved_buffers(model, state)
    _check_keys(model, state, (*selected, *numbers, *buffers))
    _check_shapes(model, state, buffers)
    for name, linear in selected.items():
        _check_columns(name, state[name], state[name.removesuffix(_COLUMNS) + "weight"], linear.weight)

    for name, linear in selected.items():
        linear.__class__ = SelectedLinear
        linear.register_buffer(_COLUMNS, torch.empty_like(state[name], device=linear.weight.device))
    for name in buffers:
        path, _, leaf = name.rpartition(".")
        model.get_submodule(path)._non_persistent_buffers_set.discard(leaf)
    before = tensors_of(model)
    _take(model, state)
    correct_sizes(model, before)
    set_numbers(model, list(numbers.values()))
    return model


def _selected(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, nn.Linear]:
    """Name of the saved column selection -> the plain Linear that it belongs to."""
    linears = {_join(path, _COLUMNS): module for path, module in model.named_modules() if type(module) is nn.Linear}
    return {name: linear for name, linear in linears.items() if name in state}


def _unsaved_buffers(model: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Buffers that state dicts of ``model`` leave out and that of the purged one has, because units left them."""
    unsaved = dict(model.named_buffers(remove_duplicate=False)).keys() - model.state_dict().keys()
    return sorted(unsaved & state.keys())


def _check_keys(model: nn.Module, state: Mapping[str, Tensor], more: Sequence[str]) -> None:
    expected = {*model.state_dict(), *more}
    missing, unknown = sorted(expected - state.keys()), sorted(state.keys() - expected)
    faults = [f"{word} {', '.join(keys)}" for word, keys in (("lacks", missing), ("has an unknown", unknown)) if keys]
    if faults:
        raise StructureError(
            f"{type(model).__name__}: the saved state {' and '.join(faults)}; build the model that the gates were "
            "attached to, and pass the state dict of its purged copy"
        )


def _check_shapes(model: nn.Module, state: Mapping[str, Tensor], buffers: Sequence[str]) -> None:
    unsaved = {name: find_tensor(model, name) for name in buffers}
    for name, tensor in {**model.state_dict(keep_vars=True), **unsaved}.items():
        saved = state[name]
        if not isinstance(saved, Tensor):
            raise StructureError(f"{name}: expected a saved tensor, found {type(saved).__name__}")
        fits = saved.dim() == tensor.dim() and all(
            small <= large for small, large in zip(saved.shape, tensor.shape, strict=True)
        )
        if not fits:
            raise StructureError(
                f"{name}: saved with shape {list(saved.shape)}, which no purge of {list(tensor.shape)} has; build the "
                "model that the gates were attached to"
            )
    for names in _aliases(model).values():
        if len({tuple(state[name].shape) for name in names}) > 1:
            raise StructureError(f"{' and '.join(names)}: one tensor in the model, but saved with different shapes")


def _check_columns(name: str, columns: Tensor, saved: Tensor, weight: Tensor) -> None:
    """``columns`` must name distinct features that ``weight`` [out, in] reads, one for each column of ``saved``."""
    kept, features = saved.shape[1], weight.shape[1]
    if columns.dtype != torch.long or columns.shape != (kept,):
        raise StructureError(
            f"{name}: expected {kept} indices in int64, one a column of the saved weight, found "
            f"{list(columns.shape)} in {str(columns.dtype).removeprefix('torch.')}"
        )
    inside = (columns >= 0) & (columns < features)
    if not bool(inside.all()) or len(set(columns.tolist())) < kept:
        raise StructureError(f"{name}: expected distinct indices from 0 to {features - 1}, found {columns.tolist()}")


def _aliases(model: nn.Module) -> dict[int, list[str]]:
    """Names in ``model.state_dict()`` by tensor; a tied one has several."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    return names


@torch.no_grad()
def _take(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Replace every saved tensor wherever it is registered, each old tensor by one new."""
    replaced: dict[Tensor, Tensor] = {}
    for path, module in model.named_modules():
        for table in (module._parameters, module._buffers):
            for leaf, old in table.items():
                name = _join(path, leaf)
                if old is None or name not in state:
                    continue
                if old not in replaced:
                    value = state[name].detach().to(old.device, copy=True)
                    replaced[old] = nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value
                table[leaf] = replaced[old]


def _join(path: str, leaf: str) -> str:
    return f"{path}.{leaf}" if path else leaf
