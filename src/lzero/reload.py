"""A purged model from its state dict: the way back from a file to a network that runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lzero._torch import save_buffer
from lzero.checks import shown
from lzero.errors import StructureError
from lzero.host.memory_format import like_format
from lzero.host.snapshot import Snapshot
from lzero.host.tensors import find_tensor, same_values, tensors_of
from lzero.plan.paths import join
from lzero.surgery.attached import gated_leaves
from lzero.surgery.config_numbers import Number, saved_numbers, set_numbers
from lzero.surgery.layer_sizes import correct_sizes
from lzero.surgery.ratios import saved_ratios, set_ratios
from lzero.surgery.saved_entries import check_entries, check_fresh
from lzero.surgery.saved_layers import check_agreement
from lzero.surgery.selected_linear import SelectedLinear

_COLUMNS = "columns"


def load_purged(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """``model`` itself, turned into the purged network whose ``state_dict()`` is ``state``.

    Every parameter and buffer takes the saved shape, dtype and value and stays on its device and in its memory format;
    a Linear with saved ``columns`` becomes a :class:`SelectedLinear`; sizes that modules cache follow. Tied parameters
    stay tied. Build optimizers afterwards.

    Args:
        model: a fresh instance of the architecture that the gates were attached to, without gates.
        state: ``purge(...).model.state_dict()``, perhaps from a file read with ``weights_only=True``.

    Example:
        >>> model = load_purged(nn.Sequential(nn.Linear(8, 6)), nn.Sequential(nn.Linear(8, 2)).state_dict())
        >>> model[0].out_features
        2

    Raises:
        StructureError: no module or no state dict; missing or unexpected tensors, or such as no purge of this
            architecture has, by shape or dtype. ``model`` is then as it was, to the bit.
    """
    check_fresh(model)
    if any(gated_leaves(module) for module in model.modules()):
        raise StructureError(f"{type(model).__name__}: has gated tensors; expected a fresh model without gates")
    check_entries(state)
    selected, numbers, buffers = _selected(model, state), saved_numbers(model, state), _unsaved_buffers(model, state)
    ratios = saved_ratios(model, state)
    _check_keys(model, state, (*selected, *numbers, *ratios, *buffers))
    _check_shapes(model, state, buffers)
    check_agreement(model, state)
    for name, linear in selected.items():
        _check_columns(name, state[name], state[name.removesuffix(_COLUMNS) + "weight"], linear.weight)
    with _undone_by_errors(model):
        _load(model, state, selected, list(numbers.values()), buffers)
        set_ratios(model, list(ratios.values()))
    return model


def _load(
    model: nn.Module,
    state: Mapping[str, Tensor],
    selected: Mapping[str, nn.Linear],
    numbers: Sequence[Number],
    buffers: Sequence[str],
) -> None:
    for name, linear in selected.items():
        linear.__class__ = SelectedLinear
        linear.register_buffer(_COLUMNS, torch.empty_like(state[name], device=linear.weight.device))
    for name in buffers:
        path, _, leaf = name.rpartition(".")
        save_buffer(model.get_submodule(path), leaf)
    _take(model, state)
    correct_sizes(model, [name for name in tensors_of(model) if name in state])
    set_numbers(model, numbers)


@contextmanager
def _undone_by_errors(model: nn.Module) -> Iterator[None]:
    """A context that an error leaves with the modules of ``model`` as they were: no tensor is written into here."""
    before = Snapshot(model.modules())
    try:
        yield
    except BaseException as error:
        before.restore()
        if not isinstance(error, Exception):  # Ctrl-C
            raise
        raise StructureError(
            f"{type(model).__name__}: loading failed ({type(error).__name__}: {error}), and the model is as it was; "
            "build the model that the gates were attached to, and pass the state dict of its purged copy"
        ) from error


def _selected(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, nn.Linear]:
    """Name of the saved column selection -> the plain Linear that it belongs to."""
    linears = {join(path, _COLUMNS): module for path, module in model.named_modules() if type(module) is nn.Linear}
    return {name: linear for name, linear in linears.items() if name in state}


def _unsaved_buffers(model: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Buffers that state dicts of ``model`` leave out and that of the purged one has, because units left them."""
    unsaved = dict(model.named_buffers(remove_duplicate=False)).keys() - model.state_dict().keys()
    return sorted(unsaved & state.keys())


def _check_keys(model: nn.Module, state: Mapping[str, Tensor], more: Sequence[str]) -> None:
    expected = {*model.state_dict(), *more}
    missing, unknown = sorted(expected - state.keys()), sorted(state.keys() - expected)
    faults = [f"{word} {_some(keys)}" for word, keys in (("lacks", missing), ("has an unknown", unknown)) if keys]
    if faults:
        raise StructureError(
            f"{type(model).__name__}: the saved state {' and '.join(faults)}; build the model that the gates were "
            "attached to, and pass the state dict of its purged copy"
        )


def _some(keys: Sequence[str], count: int = 8) -> str:
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + more


def _check_shapes(model: nn.Module, state: Mapping[str, Tensor], buffers: Sequence[str]) -> None:
    unsaved = {name: find_tensor(model, name) for name in buffers}
    for name, tensor in {**model.state_dict(keep_vars=True), **unsaved}.items():
        saved = state[name]
        fits = saved.dim() == tensor.dim() and all(
            small <= large for small, large in zip(saved.shape, tensor.shape, strict=True)
        )
        if not fits:
            raise StructureError(
                f"{name}: saved with shape {list(saved.shape)}, which no purge of {list(tensor.shape)} has; build the "
                "model that the gates were attached to"
            )
        if not _same_kind(saved.dtype, tensor.dtype):
            raise StructureError(
                f"{name}: expected a saved tensor of {'floats' if tensor.is_floating_point() else tensor.dtype}, found "
                f"{saved.dtype}; purging keeps the kind of every tensor, so build the model that the gates were "
                "attached to"
            )
    for names in _aliases(model).values():
        if len({tuple(state[name].shape) for name in names}) > 1:
            raise StructureError(f"{' and '.join(names)}: one tensor in the model, but saved with different shapes")
        if not all(_equal(state[names[0]], state[name]) for name in names):
            raise StructureError(f"{' and '.join(names)}: one tensor in the model, but saved with different values")


def _same_kind(one: torch.dtype, two: torch.dtype) -> bool:
    """Floats may come in another precision, and complex numbers too; integers and booleans count something."""
    return one == two or (one.is_floating_point and two.is_floating_point) or (one.is_complex and two.is_complex)


def _equal(one: Tensor, two: Tensor) -> bool:
    """To the value, NaN with NaN."""
    if one is two or (one.dtype, one.device) != (two.dtype, two.device):
        return one is two
    return same_values(one, two)


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
        found = shown(columns.tolist())
        raise StructureError(f"{name}: expected distinct indices from 0 to {features - 1}, found {found}")


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
                name = join(path, leaf)
                if old is None or name not in state:
                    continue
                if old not in replaced:
                    replaced[old] = _placed(state[name], old)
                table[leaf] = replaced[old]


def _placed(saved: Tensor, old: Tensor) -> Tensor:
    """A copy of ``saved`` where, as what, and in the memory format in which ``old`` is."""
    value = like_format(saved.detach().to(old.device, copy=True), old)
    if old.is_contiguous():
        value = value.contiguous()
    return nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value
