"""The tensors of a stranger's objects: nested anywhere, or by name in a model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lzero.errors import StructureError


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor nested in tuples, lists, sets, mappings, dataclasses and plain objects, in order."""
    yield from _walk(value, set())


def _walk(value: Any, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
        return
    if value is None or id(value) in seen or isinstance(value, str | bytes | int | float | complex | type | nn.Module):
        return
    seen.add(id(value))
    if isinstance(value, Mapping):
        children = list(value.values())
    elif isinstance(value, tuple | list | set | frozenset):
        children = list(value)
    else:
        children = list(_attributes(value).values())
    for child in children:
        yield from _walk(child, seen)


def _attributes(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, the attributes of any other object, asked without a ``__getattribute__`` of its own.

    A configuration may refuse to answer for some.
    """
    if not is_dataclass(value):
        try:
            return dict(object.__getattribute__(value, "__dict__"))
        except AttributeError:
            return {}
    held: dict[str, Any] = {}
    for name in (field.name for field in fields(value)):
        with suppress(AttributeError):  # not set, or deleted
            held[name] = object.__getattribute__(value, name)
    return held


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with ``change`` applied to every tensor that :func:`tensors_in` finds; containers are new, of one kind.

    What cannot be copied stays as it is.
    """
    return _map(value, change, {})


def _map(value: Any, change: Callable[[Tensor], Tensor], done: dict[int, Any]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple takes its fields one by one
        return type(value)(*(_map(item, change, done) for item in value))
    if type(value) in (tuple, list, set, frozenset):
        return type(value)(_map(item, change, done) for item in value)
    if next(tensors_in(value), None) is None:
        return value
    if isinstance(value, Mapping) and not hasattr(value, "__setitem__"):
        return {key: _map(item, change, done) for key, item in value.items()}
    try:
        made = done[id(value)] = copy.copy(value)
    except Exception:
        return value
    if isinstance(value, Mapping):
        for key, item in value.items():
            made[key] = _map(item, change, done)
        return made
    for name, item in _attributes(value).items():
        object.__setattr__(made, name, _map(item, change, done))  # a dataclass may be frozen
    return made


def find_tensor(model: nn.Module, name: str) -> Tensor:
    """The parameter or buffer called ``name`` in ``model``."""
    path, _, leaf = name.rpartition(".")
    tensor = getattr(model.get_submodule(path), leaf)
    if not isinstance(tensor, Tensor):
        raise StructureError(f"{name}: expected a parameter or buffer, found {type(tensor).__name__}")
    return tensor


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer under all its names."""
    buffers = model.named_buffers(remove_duplicate=False)
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(buffers)}


def saved_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The tensors that the state dict of ``model`` has, themselves."""
    names = model.state_dict().keys()
    return {name: tensor for name, tensor in tensors_of(model).items() if name in names}


def saved_size(model: nn.Module) -> int:
    """Bytes of all tensors in the state dict of ``model``, tied ones once."""
    return sum(tensor.nbytes for tensor in {id(tensor): tensor for tensor in saved_tensors(model).values()}.values())


def draw_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers in the shape, dtype and device of ``like``; drawn on the CPU, where ``generator`` is."""
    return torch.randn(like.shape, generator=generator).to(like)


def replace_tensors(model: nn.Module, new: Mapping[Tensor, Tensor]) -> None:
    """Put other tensors in the place of parameters and buffers of ``model``, under all their names."""
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for leaf, tensor in table.items():
                if tensor is not None and tensor in new:
                    table[leaf] = new[tensor]  # type: ignore[assignment]


def same_values(one: Tensor, two: Tensor) -> bool:
    """Whether two tensors of one shape and dtype have the same entries, NaN with NaN."""
    return torch.equal(one, two) or bool(((one == two) | ((one != one) & (two != two))).all())


def check_materialized(tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raise where a tensor has no shape yet, or no values.

    Raises:
        StructureError: naming it, and the way to get them.
    """
    for name, tensor in tensors:
        if nn.parameter.is_lazy(tensor):
            raise StructureError(f"{name} has no shape yet: run one forward of the lazy model first")
        if tensor.is_meta:
            raise StructureError(
                f"{name} has no values, it is on the meta device: call model.to_empty(device=...) and load or draw its "
                "weights first"
            )
