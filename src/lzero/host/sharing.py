"""Whether a copy of a model is one: nothing that the library writes into may belong to the model itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from torch import Tensor, nn

from lzero._torch import memory_key
from lzero.errors import StructureError

_REGISTERED = ("_parameters", "_buffers", "_modules")


def check_apart(model: nn.Module, copied: nn.Module, shared: Collection[Any] = ()) -> None:
    """Raise where ``copied`` holds a module, parameter or buffer of ``model``, or memory of one.

    Args:
        model: what was copied.
        copied: the copy; what it holds beside modules and their tensors is plain data, and may be shared.
        shared: tensors that the two are meant to share.

    Raises:
        StructureError: naming the outermost module that holds on to something of ``model``.
    """
    modules = {id(module) for _, module in _every_module(model)}
    meant = {key for tensor in shared if isinstance(tensor, Tensor) for key in _keys(tensor)}
    keys = {key for _, module in _every_module(model) for _, tensor in _tensors(module) for key in _keys(tensor)}
    for path, module in _every_module(copied):
        if id(module) in modules:
            raise _shared(model, path, module, "the module itself")
        for leaf, tensor in _tensors(module):
            if not keys.isdisjoint(found := _keys(tensor)) and meant.isdisjoint(found):
                raise _shared(model, path, module, f"its tensor {leaf!r}")


def _shared(model: nn.Module, path: str, module: nn.Module, what: str) -> StructureError:
    root, kind = type(model).__name__, type(module).__name__
    return StructureError(
        f"{path or root}: a copy of the model shares {what} ({kind}) with the model, so that what is tried on a copy "
        f"would overwrite your weights; let {kind}.__deepcopy__ (or that of a module around it) make a copy, or drop "
        "it, and keep a part that must stay single outside of the model, its outputs passed to the forward"
    )


def _every_module(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules of ``model`` by path, those in plain lists and the like included, each once."""
    seen = set[int]()
    waiting = [("", model)]
    for place, root in waiting:
        for path, module in root.named_modules(prefix=place):
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            for name, value in vars(module).items():
                if name not in _REGISTERED and isinstance(value, nn.Module | list | tuple | set | dict):
                    start = f"{path}.{name}" if path else name
                    waiting += [(start, hidden) for hidden in _modules_in(value, set())]


def _modules_in(value: Any, seen: set[int]) -> Iterator[nn.Module]:
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
        seen.add(id(value))
        for item in list(value.values()) if isinstance(value, dict) else list(value):
            yield from _modules_in(item, seen)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for table in (module._parameters, module._buffers):
        for leaf, tensor in table.items():
            if tensor is not None:
                yield leaf, tensor


def _keys(tensor: Tensor) -> tuple[tuple[str, int], ...]:
    """What two tensors have in common if writing into one changes the other."""
    try:
        return ("tensor", id(tensor)), ("memory", memory_key(tensor))
    except (RuntimeError, ValueError):  # sparse and lazy tensors have none
        return (("tensor", id(tensor)),)
