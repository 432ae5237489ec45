"""Sizes that modules of known classes keep (``in_features``, ``groups``): set to those of tensors that were cut."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from lzero.plan.paths import owner
from lzero.surgery.layers.registry import size_rules


def correct_sizes(model: nn.Module, changed: Iterable[str]) -> None:
    """``model`` with the sizes cached beside the tensors called ``changed``, and around these, set to theirs."""
    paths: dict[str, None] = {}
    for name in changed:
        path = owner(name)
        while path not in paths:
            paths[path] = None
            path = path.rpartition(".")[0]
    for path in paths:
        refresh_sizes(model.get_submodule(path))


def refresh_sizes(module: nn.Module) -> None:
    """``module`` with the sizes that its class caches set to those of its tensors."""
    for refresh in size_rules(module):
        refresh(module)


def has_rule(module: nn.Module) -> bool:
    """Whether the sizes that ``module`` caches are known by its class."""
    return bool(size_rules(module))
