"""What a gated model saves and loads beside its tensors: the state of the training, and plain checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lzero.gates.gates import Gates
from lzero.plan.paths import join
from lzero.surgery.attached import gated_leaves, gates_on, ungated
from lzero.surgery.libraries.registry import library_of

_NAME = "lzero"
PREFIX = f"{_NAME}."


class Place:
    """What the entries ``lzero.*`` of a state dict hang on: an attribute of the model, with any attribute itself.

    ``torch.distributed.checkpoint`` looks up every key of a state dict as a path of attributes, and stops where there
    is none.
    """

    def __getattr__(self, name: str) -> Place:
        """Itself: what is below it lies in the ledger of the gates."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self


def show_place(model: nn.Module) -> None:
    """Give ``model`` the attribute that the saved entries hang on, where it has none of that name."""
    if not hasattr(model, _NAME):
        setattr(model, _NAME, Place())


def hide_place(model: nn.Module) -> None:
    """Take it away again."""
    if isinstance(model.__dict__.get(_NAME), Place):
        del model.__dict__[_NAME]


def save_training(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Add what the training of the gates has written down to a state dict of ``model``, behind its own tensors.

    Copies: an optimizer that rebinds its state would leave a mixture of two moments behind.
    """
    found = _named_gates(model)
    if found is not None:
        for name, tensor in found[1].training_state().items():
            state[f"{prefix}{PREFIX}{name}"] = tensor.detach().clone()
        library_of(model).saving(model, state, prefix)


@torch.no_grad()
def load_training(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Take the training's state out of ``state`` before ``load_state_dict`` looks at it; take plain checkpoints too.

    Of a checkpoint of the ungated model gates stay as they are, and weights take their place. Where attaching rescaled
    the weights by E[z], the loaded ones are divided by today's E[z] too, so that the network that was saved starts at
    its own scale.
    """
    found = _named_gates(model)
    if found is None:
        return
    place, gates = found
    library_of(model).loading(model, state, prefix)
    here = f"{prefix}{PREFIX}"
    entries = {name: state.pop(name) for name in [name for name in state if name.startswith(here)]}
    if f"{prefix}{place}.log_alpha" in state:
        gates.restore({name.removeprefix(here): value for name, value in entries.items()})
        return
    state[f"{prefix}{place}.log_alpha"] = gates.log_alpha.detach().clone()
    means = gates.means() if gates.rescaled else None
    for path, module in model.named_modules():
        for leaf in gated_leaves(module):
            plain = prefix + join(path, leaf)
            if plain not in state:
                continue
            weight = state.pop(plain)
            fits = isinstance(weight, Tensor) and weight.shape == ungated(module, leaf).shape
            if means is not None and fits:  # else loading says what does not fit
                for gate in gates_on(module, leaf):
                    weight = weight / gate.factor(means, weight)
            state[plain.removesuffix(leaf) + f"parametrizations.{leaf}.original"] = weight


HOOKS = (save_training, load_training)


def _named_gates(model: nn.Module) -> tuple[str, Gates] | None:
    return next(((path, module) for path, module in model.named_modules() if isinstance(module, Gates)), None)
