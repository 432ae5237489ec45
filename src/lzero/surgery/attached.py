"""Finding the gates of a model, and the tensors that they multiply."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lzero._torch import forward_pre_hooks
from lzero.checks import shown
from lzero.errors import StructureError
from lzero.gates.gate import Gate
from lzero.gates.gates import Gates


def gates_of(model: nn.Module) -> Gates | None:
    """The gates attached to ``model``, wrapped or not, or None.

    Args:
        model: any module.

    Example:
        >>> import lzero
        >>> from torch import nn, zeros
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> gates = lzero.attach_gates(model, zeros(1, 8))
        >>> lzero.gates_of(model) is gates
        True

    Raises:
        StructureError: what is no module.
    """
    if not isinstance(model, nn.Module):
        raise StructureError(f"gates_of: expected an nn.Module, found {shown(model)}")
    return next((module for module in model.modules() if isinstance(module, Gates)), None)


def require_gates(model: nn.Module) -> Gates:
    """The gates attached to ``model``.

    Raises:
        StructureError: there are none.
    """
    gates = gates_of(model)
    if gates is None:
        raise StructureError(f"{type(model).__name__}: no gates attached; call lzero.attach_gates(model, inputs) first")
    return gates


def root_gates(model: nn.Module) -> Gates:
    """The gates attached to ``model`` itself, and to no part or whole of it.

    Raises:
        StructureError: there are none, or they were attached to another module; the message says which.
    """
    gates = require_gates(model)
    root = next((path for path, module in model.named_modules() if draws(module, gates)), None)
    if root is None:
        raise StructureError(
            f"{type(model).__name__}: is a part of the model that its gates were attached to; purge the module that "
            "attach_gates was given"
        )
    if root:
        raise StructureError(
            f"{type(model).__name__}: its gates belong to a part of it, {root!r}; purge that: lzero.purge(model.{root})"
        )
    return gates


def draws(module: nn.Module, gates: Gates) -> bool:
    """Whether the forward of ``module`` draws ``gates``: whether they were attached to it."""
    return any(getattr(hook, "__self__", None) is gates for hook in forward_pre_hooks(module).values())


def gated_leaves(module: nn.Module) -> list[str]:
    """Names of the parameters of ``module`` itself that gates multiply."""
    lists: Any = module._modules.get("parametrizations")  # its own: wrappers pass what they lack on to a module in them
    if not isinstance(lists, nn.ModuleDict):
        return []
    return [leaf for leaf, steps in lists.items() if any(isinstance(step, Gate) for step in steps.children())]


def gates_on(module: nn.Module, leaf: str) -> list[Gate]:
    """The gates that multiply the parameter ``leaf`` of ``module``, in order."""
    steps: Any = module.parametrizations
    return [step for step in steps[leaf] if isinstance(step, Gate)]


def raw_tensor(model: nn.Module, name: str) -> Tensor:
    """The parameter that was called ``name`` before gates were attached to ``model``, without them."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if leaf in gated_leaves(module):
        return ungated(module, leaf)
    found: Tensor = getattr(module, leaf)
    return found


def ungated(module: nn.Module, leaf: str) -> Tensor:
    """The parameter ``leaf`` of ``module`` that gates multiply, without them."""
    lists: Any = module.parametrizations
    tensor: Tensor = lists[leaf].original
    return tensor


def factors(model: nn.Module, values: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Every gated tensor, once where it is tied, with its factors of ``values`` [G]."""
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for module in model.modules():
        for leaf in gated_leaves(module):
            tensor = ungated(module, leaf)
            if id(tensor) not in found:
                factor = torch.ones_like(tensor)
                for gate in gates_on(module, leaf):
                    factor = factor * gate.factor(values, tensor)
                found[id(tensor)] = (tensor, factor)
    return list(found.values())
