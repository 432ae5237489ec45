"""How long forwards take here, of several networks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

_LEAST = 2e-3  # seconds of one measurement: forwards are repeated until they take so long
_MOST = 1000  # forwards in one measurement


@torch.no_grad()
def latencies(networks: Sequence[nn.Module], x: Tensor, repetitions: int = 31) -> list[float]:
    """Seconds of one forward of each network on ``x`` in eval mode, the median of ``repetitions``.

    The networks take turns, so that whatever else the machine does meets all of them.
    """
    counts = []
    for network in networks:
        network.eval()
        _time(network, x, 3)  # warm up
        counts.append(max(1, min(_MOST, round(_LEAST / max(_time(network, x, 1), 1e-9)))))
    rounds = [
        [_time(network, x, count) for network, count in zip(networks, counts, strict=True)] for _ in range(repetitions)
    ]
    return [median(times) for times in zip(*rounds, strict=True)]


def _time(network: nn.Module, x: Tensor, count: int) -> float:
    started = perf_counter()
    for _ in range(count):
        network(x)
    return (perf_counter() - started) / count
