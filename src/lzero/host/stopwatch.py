"""How long a forward takes."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import torch
from torch import nn

from lzero.host.inputs import ExampleInputs

FORWARDS, SECONDS = 100, 1.0
"""The most forwards that are timed, and after how many seconds no other one begins."""


@torch.no_grad()
def milliseconds(model: nn.Module, inputs: object) -> float:
    """The median duration of one forward of ``model``, in the mode that it is in, without gradients.

    The first forward is not timed, three are in any case, and no more once they took :data:`SECONDS` together.
    """
    given = ExampleInputs.of(inputs)
    devices = {tensor.device for tensor in (*model.parameters(), *given) if tensor.is_cuda}
    given.call(model)
    times: list[float] = []
    while len(times) < 3 or (len(times) < FORWARDS and sum(times) < SECONDS):
        _finish(devices)
        begun = perf_counter()
        given.call(model)
        _finish(devices)
        times.append(perf_counter() - begun)
    return 1000 * median(times)


def _finish(devices: set[torch.device]) -> None:
    """Wait for what the devices still work on."""
    for device in devices:
        torch.cuda.synchronize(device)
