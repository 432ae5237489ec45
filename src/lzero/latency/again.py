"""What a table says of a purged model, and what forwards of it take."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import torch
from torch import nn

from lzero.host.copies import private_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.quiet import isolated_random_state
from lzero.latency.table import Table
from lzero.latency.timer import Clock, Timer, computing_with, device_name

_ROUNDS, _SECONDS = 25, 2.0  # of readings, at most; a first round is always gone through


@dataclass(frozen=True)
class Latency:
    """Milliseconds of a forward before and after purging, all at one batch, on one device, with so many threads.

    Attributes:
        predicted_before: what the table says of the model before.
        predicted: the same of the purged one.
        measured_before: what was measured on the model before; None where it was not.
        measured: the same of the purged one.
        device: that the table was measured on.
        threads: of PyTorch.
        batch: of the forwards.
    """

    predicted_before: float
    predicted: float
    measured_before: float | None
    measured: float | None
    device: str
    threads: int
    batch: int

    def __str__(self) -> str:
        """One line."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        text = f"{self.predicted_before:.4g} -> {self.predicted:.4g} ms by the table (batch {self.batch}, {threads})"
        if self.measured is None or self.measured_before is None:
            return f"{text}; not measured again"
        share = self.measured / max(self.measured_before, 1e-12)
        return f"{text}; measured again {self.measured_before:.4g} -> {self.measured:.4g} ms, {share:.2%}"


def forwards_fit(table: Table, model: nn.Module, inputs: ExampleInputs) -> ExampleInputs | None:
    """``inputs`` with as many examples as ``table`` was measured with, where its measuring can be repeated.

    None where ``model`` is on another device, or inputs of that batch have other shapes.
    """
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    if device_name(device) != table.device:
        return None
    made = inputs.to(device).resized(table.batch)
    return made if tuple(tuple(tensor.shape) for tensor in made) == table.shapes else None


@torch.no_grad()
def measured(
    table: Table, dense: nn.Module, small: nn.Module, inputs: ExampleInputs, clock: Clock = perf_counter
) -> tuple[float, float]:
    """Milliseconds of a forward of both models on ``inputs``, in turns, with the threads of ``table``.

    It takes two seconds, or as long as some four forwards of each take.
    """
    device = next((tensor.device for tensor in inputs), torch.device("cpu"))
    twins = [private_copy(model) for model in (dense, small)]
    with computing_with(table.threads), isolated_random_state(dense):
        calls = [lambda twin=twin: inputs.bare(twin) for twin in twins]
        before, after = Timer(device, clock).each(calls, _ROUNDS, 1, _SECONDS)
    return 1e3 * before, 1e3 * after
