"""What a training shares with its process: CPU settings, and a random stream that nothing else can disturb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lzero_lab.errors import DataError


def configure_cpu(threads: int | None = None) -> None:
    """Flush denormal numbers to zero on this thread from now on, and compute with so many ``threads``.

    What closed gates leave in the optimizer's running means shrinks by a factor a step, and stays denormal for good,
    which CPUs compute slowly: without flushing, epochs become longer the longer gates have been closed.

    Args:
        threads: of PyTorch within an operation; None leaves them.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def exact_convolutions() -> None:
    """From now on convolutions in float32 are computed as such on GPUs too, not with the 10 bits of TF32.

    So validation and the check of purging are exact; trainings under autocast do not become slower.
    """
    torch.backends.cudnn.allow_tf32 = False


class RandomStream:
    """A seeded stream of torch's global generators, active only inside ``with stream.active():``.

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
        """Continue from ``states``.

        Raises:
            DataError: they are of a training on another kind of device.
            RuntimeError, TypeError: one is no state of a generator.
        """
        devices = ["cpu", *(f"cuda:{index}" for index in self._cuda)]
        if len(states) != len(devices):
            raise DataError(
                f"saved by a training on {'a GPU' if len(states) == 2 else 'the CPU'}; continue it there (--device)"
            )
        for state, device in zip(states, devices, strict=True):
            torch.Generator(device).set_state(state)
        self._states = list(states)
