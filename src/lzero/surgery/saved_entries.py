"""What can be loaded, and into what: plain tensors with values, and a model with tensors to replace."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lzero.checks import shown
from lzero.errors import StructureError
from lzero.host.tensors import check_materialized, tensors_of
from lzero.host.wrappers import is_distributed


def check_fresh(model: object) -> None:
    """Raise where ``model`` has nothing that saved tensors could take the place of.

    Raises:
        StructureError: no module; tensors without shapes or values; a state dict with names that no tensor has.
    """
    if not isinstance(model, nn.Module):
        raise StructureError(f"model: expected an nn.Module, found {shown(model)}")
    tensors = tensors_of(model)
    check_materialized(tensors.items())
    for name, tensor in tensors.items():
        if is_distributed(tensor):
            raise StructureError(f"{name} is sharded (a DTensor): load first, and shard the model afterwards")
    renamed = sorted(model.state_dict().keys() - tensors.keys())
    if renamed:
        raise StructureError(
            f"{renamed[0]}: {type(model).__name__}.state_dict() has it, but no parameter or buffer is called so; load "
            "the part of the model whose state dict holds its own tensors under their own names"
        )


def check_entries(state: object) -> Mapping[str, Tensor]:
    """``state`` where it is a mapping from names to plain tensors with values.

    Raises:
        StructureError: naming the entry.
    """
    if not isinstance(state, Mapping):
        raise StructureError(f"state: expected a state dict, names to tensors, or a folder, found {shown(state)}")
    for name, tensor in state.items():
        if not isinstance(name, str):
            raise StructureError(f"state: expected names as keys, found {shown(name)}")
        if not isinstance(tensor, Tensor):
            raise StructureError(f"{name}: expected a saved tensor, found {type(tensor).__name__}")
        problem = _problem(tensor)
        if problem:
            raise StructureError(f"{name}: expected a dense tensor with values, found one that is {problem}")
    return state


def _problem(tensor: Tensor) -> str:
    if nn.parameter.is_lazy(tensor):
        return "lazy: run one forward before saving"
    if tensor.is_nested:
        return "nested"
    if tensor.is_meta:
        return "on the meta device: save the model where it has values"
    if is_distributed(tensor):
        return "sharded (a DTensor): gather it with full_tensor() before saving"
    if tensor.is_quantized:
        return "quantized: load before quantizing"
    if tensor.layout != torch.strided:
        return f"sparse ({str(tensor.layout).removeprefix('torch.')}): save tensor.to_dense()"
    return ""
