"""The saved tensors of one layer, and the widths that they imply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

Extent = tuple[str, int]
"""Something to name in an error, and the width that it implies; -1 for one that does not divide."""


class Saved:
    """The saved tensors of the module at ``path``."""

    def __init__(self, path: str, state: Mapping[str, Tensor]) -> None:
        self._prefix, self._state = f"{path}." if path else "", state

    def extents(self, **dims: int) -> Iterator[Extent]:
        """The sizes of the tensors called so along these dims, of those that were saved."""
        for leaf, dim in dims.items():
            yield from self.extent(leaf, dim)

    def size(self, leaf: str, dim: int) -> int:
        """The size of ``leaf`` along ``dim``."""
        return self._state[self._prefix + leaf].shape[dim]

    def extent(self, leaf: str, dim: int, *, over: int = 1, times: int = 1) -> Iterator[Extent]:
        """The size of ``leaf`` along ``dim``, divided and multiplied; nothing where it was not saved."""
        tensor = self._state.get(self._prefix + leaf)
        if tensor is not None and tensor.dim() > dim:
            size = tensor.shape[dim]
            yield self._prefix + leaf, size // over * times if size % over == 0 else -1
