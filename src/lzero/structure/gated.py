"""Finding the gates on a gated model, and loading checkpoints of the ungated one into it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from lzero.gates.gate import Gate
from lzero.gates.gates import Gates


def gates_of(model: nn.Module) -> Gates | None:
    """The gates attached to ``model``, or None."""
    return next((module for module in model.modules() if isinstance(module, Gates)), None)


def gated_leaves(module: nn.Module) -> list[str]:
    """Names of the parameters of ``module`` itself that gates multiply."""
    if not parametrize.is_parametrized(module):
        return []
    lists: Any = module.parametrizations
    return [leaf for leaf, steps in lists.items() if any(isinstance(step, Gate) for step in steps)]


def gates_on(module: nn.Module, leaf: str) -> list[Gate]:
    """The gates that multiply the parameter ``leaf`` of ``module``, in order."""
    steps: Any = module.parametrizations
    return [step for step in steps[leaf] if isinstance(step, Gate)]


@torch.no_grad()
def accept_plain_checkpoint(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let ``load_state_dict`` take the state of the ungated model: gates stay as they are, weights take their place.

    Where attaching rescaled the weights by E[z], the loaded ones are divided by today's E[z] too, so that the network
    that was saved starts at its own scale.
    """
    found = next(((path, module) for path, module in model.named_modules() if isinstance(module, Gates)), None)
    if found is None or f"{prefix}{found[0]}.log_alpha" in state:
        return
    gates = found[1]
    state[f"{prefix}{found[0]}.log_alpha"] = gates.log_alpha.detach().clone()
    for path, module in model.named_modules():
        for leaf in gated_leaves(module):
            plain = f"{prefix}{path}.{leaf}" if path else f"{prefix}{leaf}"
            if plain not in state:
                continue
            weight = state.pop(plain)
            steps: Any = module.parametrizations[leaf]
            if gates.rescaled and weight.shape == steps.original.shape:  # else loading says what does not fit
                for gate in steps:
                    weight = weight / gate.factor(gates.means(), weight)
            state[plain.removesuffix(leaf) + f"parametrizations.{leaf}.original"] = weight
