"""Whether what training will make can be purged: tried on a copy, before the training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.host.sharing import check_apart
from lzero.host.tensors import same_values


def rehearse(twin: nn.Module, model: nn.Module, without_gates: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A copy of a gated model, its gates taken off: the model that the gates were attached to, tensor by tensor.

    A module whose own copies hold on to what it was before it was gated would show only in purging, after the training.

    Args:
        twin: a copy of ``model`` with gates attached, its weights not rescaled; it is left as it is.
        model: the model without gates.
        without_gates: gives a copy of a gated model without its gates.

    Raises:
        StructureError: it is another; naming the outermost module that is.
    """
    try:
        plain = without_gates(twin)
        found = plain.state_dict()
    except Exception as error:
        raise _unlike(model, "", f"cannot be copied once it is gated ({type(error).__name__}: {error})") from error
    for path, module in model.named_modules():
        other = _at(plain, path)
        if other is None or (type(other).__module__, type(other).__qualname__) != _name(module):
            what = "nothing" if other is None else f"a {type(other).__name__}"
            raise _unlike(
                model, path, f"is {what} in a copy of the gated model, a {type(module).__name__} in the model"
            )
    expected = model.state_dict()
    for name in (*expected, *found):
        if name not in found or name not in expected:
            verb = "lacks" if name in expected else "has an unknown"
            raise _unlike(model, name.rpartition(".")[0], f"{verb} {name} in a copy of the gated model")
        if not _equal(expected[name], found[name]):
            raise _unlike(model, name.rpartition(".")[0], f"has another {name} in a copy of the gated model")
    check_apart(twin, plain)
    check_apart(model, plain)
    return plain


def _unlike(model: nn.Module, path: str, what: str) -> StructureError:
    module = _at(model, path) or model
    kind = type(module).__name__
    return StructureError(
        f"{path or kind}: {what}, so that it could not be purged after the training; let {kind}.__deepcopy__ (or that "
        "of a module in or around it) copy what the module holds when it is copied, or pass the module to ignore="
    )


def _at(model: nn.Module, path: str) -> nn.Module | None:
    """The module at ``path``, None where there is none; attributes that are passed on to other modules do not count."""
    module: nn.Module | None = model
    for leaf in path.split(".") if path else []:
        module = None if module is None else module._modules.get(leaf)
    return module


def _name(module: nn.Module) -> tuple[str, str]:
    return type(module).__module__, type(module).__qualname__


def _equal(one: object, two: object) -> bool:
    """Tensors by shape, dtype and value, NaN with NaN; anything else in a state dict counts as equal."""
    if not isinstance(one, Tensor) or not isinstance(two, Tensor):
        return type(one) is type(two)
    if (one.shape, one.dtype, one.device, one.layout) != (two.shape, two.dtype, two.device, two.layout):
        return False
    if one.layout != torch.strided or one.is_meta or one.is_quantized:
        return True
    return same_values(one, two)
