"""Random draws of one training that nothing else in the process can disturb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Randomness:
    """A seeded stream of torch's global generators, active only inside ``with randomness.active():``.

    Outside, the global generators are as if it had never drawn; inside, it goes on where it stopped. So several
    trainings in one process, in any order, each draw what they would draw alone.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        index = device.index if device.index is not None else 0
        self._cuda = [index] if device.type == "cuda" else []
        self._states = [torch.Generator().manual_seed(seed).get_state()]
        self._states += [torch.Generator(device).manual_seed(seed).get_state() for _ in self._cuda]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within the context the global generators of the CPU and of the device continue this stream."""
        with torch.random.fork_rng(devices=self._cuda):
            torch.set_rng_state(self._states[0])
            for number, index in enumerate(self._cuda, 1):
                torch.cuda.set_rng_state(self._states[number], index)
            yield
            self._states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(index) for index in self._cuda)]

    def state(self) -> list[Tensor]:
        """Where the stream stands, for :meth:`set_state`."""
        return list(self._states)

    def set_state(self, states: list[Tensor]) -> None:
        """Continue from ``states``."""
        self._states = list(states)
