"""Gated weights of recurrent layers, whose forward reads a list of its own instead of the module's attributes."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from lzero._torch import flat_weight_names, remove_hooks, set_flat_weights


def follow_gates(module: nn.RNNBase) -> None:
    """Let the forward of ``module`` read its gated weights: fresh for every call, and its plain parameters between."""
    read_plain_weights(module)
    module.register_forward_pre_hook(_read_gated_weights)
    module.register_forward_hook(_release_gated_weights, always_call=True)


def unfollow_gates(module: nn.RNNBase) -> None:
    """Take back :func:`follow_gates`, after the gates have gone."""
    remove_hooks(module, lambda hook: hook in (_read_gated_weights, _release_gated_weights))
    read_plain_weights(module)


def read_plain_weights(module: nn.RNNBase) -> None:
    """Set the list that the forward reads to the parameters of ``module``, without gates."""
    set_flat_weights(module, [_plain(module, name) for name in flat_weight_names(module)])


def _plain(module: nn.Module, name: str) -> Any:
    if parametrize.is_parametrized(module, name):
        steps: Any = module.parametrizations
        return steps[name].original
    return getattr(module, name)


def _read_gated_weights(module: Any, _: Any) -> None:
    set_flat_weights(module, [getattr(module, name) for name in flat_weight_names(module)])


def _release_gated_weights(module: Any, *_: Any) -> None:
    read_plain_weights(module)
