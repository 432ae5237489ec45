"""What a model does in train mode alone (heads, losses, scales), as far as it can be compared."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn

from lzero.host.mode import set_mode


def train_by_hand(model: nn.Module) -> None:
    """``model`` in train mode, but for PyTorch's own layers: no dropout and no statistics of the batch.

    Raises:
        StructureError: its ``train()`` fails.
    """
    set_mode(model, training=True)
    for module in model.modules():
        if type(module).__module__.startswith("torch.nn."):
            module.training = False


class Draws:
    """Whether forwards of ``model``, a copy that nobody needs, draw at random: two of them cannot be compared then.

    Attributes:
        any: whether one has drawn from a global generator of PyTorch, NumPy or Python.
    """

    def __init__(self, model: nn.Module) -> None:
        self.any = False
        self._devices = {tensor.get_device() for tensor in (*model.parameters(), *model.buffers()) if tensor.is_cuda}
        self._before: list[Any] = []
        model.register_forward_pre_hook(self._begin)
        model.register_forward_hook(self._end)

    def _begin(self, model: nn.Module, inputs: Any) -> None:
        self._before = self._states()

    def _end(self, model: nn.Module, inputs: Any, output: Any) -> None:
        self.any |= self._before != self._states()

    def _states(self) -> list[Any]:
        states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in sorted(self._devices))]
        held = [state.numpy().tobytes() for state in states]
        return [*held, random.getstate(), repr(np.random.get_state(legacy=False))]
