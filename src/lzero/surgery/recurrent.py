"""Gated weights of recurrent layers, whose forward reads a list of its own instead of the module's attributes."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize


def follow_gates(module: nn.RNNBase) -> None:
    """Let the forward of ``module`` read its gated weights: fresh for every call, and its plain parameters between."""
    read_plain_weights(module)
    module.register_forward_pre_hook(_read_gated_weights)
    module.register_forward_hook(_release_gated_weights, always_call=True)


def unfollow_gates(module: nn.RNNBase) -> None:
    """Take back :func:`follow_gates`, after the gates have gone."""
    for hooks in (module._forward_pre_hooks, module._forward_hooks):
        for key in [key for key, hook in hooks.items() if hook in (_read_gated_weights, _release_gated_weights)]:
            del hooks[key]
            module._forward_hooks_always_called.pop(key, None)
    read_plain_weights(module)


def read_plain_weights(module: nn.RNNBase) -> None:
    """Set the list that the forward reads to the parameters of ``module``, without gates."""
    names: list[str] = module._flat_weights_names
    module._flat_weights = [_plain(module, name) for name in names]


def _plain(module: nn.Module, name: str) -> Any:
    if parametrize.is_parametrized(module, name):
        steps: Any = module.parametrizations
        return steps[name].original
    return getattr(module, name)


def _read_gated_weights(module: Any, _: Any) -> None:
    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]


def _release_gated_weights(module: Any, *_: Any) -> None:
    read_plain_weights(module)
