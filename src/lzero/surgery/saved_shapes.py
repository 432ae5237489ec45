"""Whether saved tensors can be what a purge has left of those of a model: by name, shape, dtype and value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lzero.checks import shown
from lzero.errors import StructureError
from lzero.host.tensors import find_tensor, same_values
from lzero.surgery.saved_names import aliases

_AS_SAVED = "pass the state dict of a purged model as it was saved"


def check_keys(model: nn.Module, state: Mapping[str, Tensor], more: Sequence[str]) -> None:
    """Raise where ``state`` has other names than a purged ``model``, which has ``more`` than the fresh one.

    Raises:
        StructureError: naming the first few.
    """
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


def check_shapes(model: nn.Module, state: Mapping[str, Tensor], buffers: Sequence[str]) -> None:
    """Raise where a tensor of ``state`` is no part of that of ``model``, counting ``buffers`` that it does not save.

    Raises:
        StructureError: another number of dims, a larger one, another kind of number, or tied tensors that differ.
    """
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
    for names in aliases(model):
        if len({tuple(state[name].shape) for name in names}) > 1:
            raise StructureError(
                f"{' and '.join(names)}: one tensor in the model, but saved with different shapes; {_AS_SAVED}"
            )
        if not all(_equal(state[names[0]], state[name]) for name in names):
            raise StructureError(
                f"{' and '.join(names)}: one tensor in the model, but saved with different values; {_AS_SAVED}"
            )


def check_columns(name: str, columns: Tensor, saved: Tensor, weight: Tensor) -> None:
    """Raise unless ``columns`` are distinct features that ``weight`` [out, in] reads, one a column of ``saved``.

    Raises:
        StructureError: another number of them, another dtype, one twice, or one that does not arrive.
    """
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


def _same_kind(one: torch.dtype, two: torch.dtype) -> bool:
    """Floats may come in another precision, and complex numbers too; integers and booleans count something."""
    return one == two or (one.is_floating_point and two.is_floating_point) or (one.is_complex and two.is_complex)


def _equal(one: Tensor, two: Tensor) -> bool:
    """To the value, NaN with NaN."""
    if one is two or (one.dtype, one.device) != (two.dtype, two.device):
        return one is two
    return same_values(one, two)
