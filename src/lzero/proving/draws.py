"""Other weights and inputs for a forward that is traced: they may take it where those of the user do not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from lzero.host.inputs import ExampleInputs
from lzero.proving.random_weights import randomise

_LARGER = 8


def draws(model: nn.Module, example_inputs: object) -> Callable[[int], ExampleInputs]:
    """A function that draws the weights of ``model``, a private copy, anew, and returns inputs drawn anew.

    Of every second number, a larger batch where the model takes one.
    """
    generator = torch.Generator().manual_seed(0)
    given = ExampleInputs.of(example_inputs)
    floats = (tensor.dtype for tensor in model.parameters() if tensor.is_floating_point())
    dtype = next(floats, torch.get_default_dtype())

    def draw(number: int) -> ExampleInputs:
        randomise(model, generator)
        return given.several(1 if number % 2 else _LARGER).redraw(dtype, generator)

    return draw
