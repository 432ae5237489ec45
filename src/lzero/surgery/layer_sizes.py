"""Sizes that modules of known classes keep (``in_features``, ``groups``): set to those of tensors that were cut."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from lzero.host.tensors import tensors_of
from lzero.plan.paths import owner
from lzero.surgery.layers.registry import size_rules


def correct_sizes(model: nn.Module, before: Mapping[str, Tensor]) -> None:
    """``model``, whose tensors were ``before``, with the sizes cached beside those that were replaced set to theirs."""
    now = tensors_of(model)
    for path in dict.fromkeys(owner(name) for name, tensor in now.items() if tensor is not before.get(name)):
        refresh_sizes(model.get_submodule(path))


def refresh_sizes(module: nn.Module) -> None:
    """``module`` with the sizes that its class caches set to those of its tensors."""
    for refresh in size_rules(module):
        refresh(module)


def has_rule(module: nn.Module) -> bool:
    """Whether the sizes that ``module`` caches are known by its class."""
    return bool(size_rules(module))
