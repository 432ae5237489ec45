"""Whether the saved tensors of a layer fit each other: widths that its forward needs to be one."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.surgery.layers import Extent, Saved
from lzero.surgery.layers.registry import extent_rules, has_one_dtype


def check_agreement(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raise where ``state``, that of a purged ``model``, has a layer whose own tensors do not fit each other.

    Raises:
        StructureError: naming two tensors of that layer, or one that its heads or groups do not divide.
    """
    for path, module in model.named_modules():
        for rule in extent_rules(module):
            for extents in rule(module, Saved(path, state)):
                _check_equal(list(extents), state)
        if has_one_dtype(module):
            _check_dtypes(path, module, state)


def _check_equal(extents: list[Extent], state: Mapping[str, Tensor]) -> None:
    for name, width in extents:
        first, expected = extents[0]
        if width != expected or width < 0:
            raise StructureError(
                f"{first} and {name}: saved with shapes {_shape(state, first)} and {_shape(state, name)}, which do not "
                "fit each other in one layer, so that no purge has made them; save the purged model again"
            )


def _shape(state: Mapping[str, Tensor], name: str) -> list[int]:
    return list(state[name].shape)


def _check_dtypes(path: str, module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """The float parameters of a layer come in one dtype, if those of the model do."""
    tensors = {f"{path}.{leaf}" if path else leaf: p for leaf, p in module._parameters.items() if p is not None}
    floats = {name: p for name, p in tensors.items() if p.is_floating_point() and name in state}
    saved = {state[name].dtype for name in floats}
    if len({p.dtype for p in floats.values()}) == 1 and len(saved) > 1:
        found = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in saved))
        raise StructureError(f"{' and '.join(floats)}: expected one dtype in one layer, found {found}")
