"""A clock for forwards: readings of calls that take turns, with the device's work in them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

Clock = Callable[[], float]
Call = Callable[[], Any]

_BLOCK = 2e-4  # seconds of one reading: short calls are repeated until they take so long
_MOST = 100  # calls in one reading


class Timer:
    """Seconds of calls on one device.

    Args:
        device: is waited for at the beginning and the end of a reading.
        clock: gives seconds.
    """

    def __init__(self, device: torch.device, clock: Clock) -> None:
        self.device, self._clock = device, clock

    def now(self) -> float:
        """Seconds, once all that the device was given is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self._clock()

    def seconds(self, call: Call, count: int = 1) -> float:
        """Of one call, the mean of ``count`` of them."""
        begun = self.now()
        for _ in range(count):
            call()
        return (self.now() - begun) / count

    def after_one(self, call: Call, count: int = 1) -> float:
        """The same, after one that does not count."""
        call()
        return self.seconds(call, count)

    def warm(self, call: Call, times: int) -> int:
        """How many calls make one reading; after ``times`` of them, which choose kernels and fill caches."""
        for _ in range(times):
            call()
        return max(1, min(_MOST, round(_BLOCK / max(self.seconds(call), 1e-9))))

    def each(self, calls: Sequence[Call], repeats: int, warmup: int, most: float = float("inf")) -> list[float]:
        """Seconds of each call, the shortest of ``repeats`` readings: whatever disturbs one makes it longer.

        The calls take turns, so that whatever else the machine does meets all of them, and each has a call of its own
        before its reading, which finds the caches as that has left them. After ``most`` seconds no round is begun any
        more, but for the first.
        """
        begun = self.now()
        counts = [self.warm(call, warmup) for call in calls]
        rounds: list[list[float]] = []
        while len(rounds) < repeats and (not rounds or self.now() - begun < most):
            rounds.append([self.after_one(call, count) for call, count in zip(calls, counts, strict=True)])
        return [min(times) for times in zip(*rounds, strict=True)]


@contextmanager
def computing_with(threads: int | None) -> Iterator[int]:
    """A context in which PyTorch computes with so many CPU threads, where there is a number; the number it uses."""
    before = torch.get_num_threads()
    try:
        if threads is not None and threads != before:
            torch.set_num_threads(threads)
        yield torch.get_num_threads()
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def processor() -> str:
    """The processor, and how many threads PyTorch computes with, in words."""
    threads = torch.get_num_threads()
    return f"{device_name(torch.device('cpu'))}, {threads} thread{'s' if threads != 1 else ''}"


def device_name(device: torch.device) -> str:
    """What ``device`` is, in words: the name of the card or the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return str(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, ValueError, StopIteration):  # not on Linux, or an unusual one
        return platform.processor() or platform.machine()
