"""What optimizers remember of parameters that become smaller: cut as these are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lzero.errors import StructureError

Cuts = Mapping[nn.Parameter, Mapping[int, Tensor]]
"""Parameter -> dim -> the positions that stay, long."""

_ROWS, _COLUMNS = ("row",), ("col",)  # in the names of Adafactor's factors of a second moment


class OptimizerStates:
    """The state of optimizers as it will be, made before anything changes.

    Args:
        optimizers: any of torch, or that keep their state as these do.
        cuts: what stays of the parameters, which are as they were still.

    Raises:
        StructureError: a tensor of the state that no dim of its parameter explains.
    """

    def __init__(self, optimizers: Iterable[torch.optim.Optimizer], cuts: Cuts) -> None:
        self._made: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = []
        for optimizer in optimizers:
            for parameter, dims in cuts.items():
                state = optimizer.state.get(parameter)
                if state:
                    who = type(optimizer).__name__
                    made = {name: _cut(who, name, value, parameter, dims) for name, value in state.items()}
                    self._made.append((state, dict(state), made))

    def apply(self) -> None:
        """Let the optimizers have the new entries."""
        for state, _, made in self._made:
            state.update(made)

    def restore(self) -> None:
        """Give them the old ones back, whether they have the new ones or not."""
        for state, before, _ in self._made:
            state.update(before)


def _cut(who: str, name: str, value: Any, parameter: nn.Parameter, dims: Mapping[int, Tensor]) -> Any:
    if not isinstance(value, Tensor):
        if next(_tensors(value), None) is not None:
            raise StructureError(
                f"{who}: keeps {name!r} as a {type(value).__name__} of tensors; compact before it begins"
            )
        return value
    if value.numel() <= 1:  # a number of steps, or of a parameter with one element
        return value if parameter.numel() > 1 else _select(value, parameter.shape, dims)
    shape = tuple(parameter.shape)
    last = len(shape) - 1
    if value.shape == shape:
        return _select(value, shape, dims)
    if value.dim() == len(shape) and all(a in (1, b) for a, b in zip(value.shape, shape, strict=True)):
        return _select(value, shape, dims)
    if len(shape) > 1 and value.shape == shape[:-1] and any(word in name for word in _ROWS):
        return _select(value, shape, {dim: at for dim, at in dims.items() if dim != last})
    if len(shape) > 1 and value.shape == (*shape[:-2], shape[-1]) and any(word in name for word in _COLUMNS):
        kept = {dim if dim < last else last - 1: at for dim, at in dims.items() if dim != last - 1}
        return _select(value, value.shape, kept)
    raise StructureError(
        f"{who}: keeps {name!r} of shape {list(value.shape)} for a parameter of shape {list(shape)}, and nothing says "
        "which of it belongs to which unit; compact before it begins, or train without"
    )


def _select(value: Tensor, shape: tuple[int, ...], dims: Mapping[int, Tensor]) -> Tensor:
    """``value`` at the positions that stay; its own dim of one element, which stands for all, as it is."""
    for dim, where in dims.items():
        if value.dim() > dim and value.shape[dim] == shape[dim]:
            value = value.index_select(dim, where.to(value.device))
    return value.clone()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for held in value.values() if isinstance(value, dict) else value:
            yield from _tensors(held)
