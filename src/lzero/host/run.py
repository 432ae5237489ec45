"""Running a stranger's model without side effects that it did not ask for, and comparing what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lzero.host.mode import set_mode
from lzero.host.quiet import isolated_random_state, unfused
from lzero.host.tensors import map_tensors, tensors_in


def call(model: nn.Module, inputs: Any) -> Any:
    """``model`` of a tuple or list of positional, of a dict of keyword arguments, or of any other single argument.

    The forward gets copies: it may write into its inputs, or take entries out of them.
    """
    inputs = map_tensors(inputs, _fresh)
    if isinstance(inputs, Mapping) and all(isinstance(key, str) for key in inputs):
        return model(**inputs)
    if isinstance(inputs, tuple | list) and not isinstance(inputs, PackedSequence):
        return model(*inputs)
    return model(inputs)


def _fresh(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


@torch.no_grad()
def run(model: nn.Module, inputs: Any) -> list[Tensor]:
    """The tensors that ``model`` returns, flat; it is left in eval mode, and the global random state is as before."""
    set_mode(model, training=False)
    with unfused(), torch.no_grad(), isolated_random_state(model):
        return list(tensors_in(call(model, inputs)))
