"""Counts of gates by their probability, for a row of a Recorder."""

import numpy as np
import torch
from plans import mlp

from lzero.gates.gates import Gates
from lzero.gates.histogram import histogram
from lzero.recorder import Recorder


def test_the_histogram_has_a_column_for_every_twentieth():
    counts = histogram(torch.tensor([0.0, 0.01, 0.05, 0.5, 0.99, 1.0], dtype=torch.float64))
    assert list(counts) == [f"p_{number:02d}" for number in range(20)]
    assert {name: count for name, count in counts.items() if count} == {"p_00": 2, "p_01": 1, "p_10": 1, "p_19": 2}


def test_gates_are_counted_as_numpy_counts_them():
    torch.manual_seed(0)
    gates = Gates(mlp()[1])
    with torch.no_grad():
        gates.log_alpha.normal_(0, 3)
    expected, _ = np.histogram(gates.probability().detach().numpy(), bins=20, range=(0, 1))
    counts = gates.histogram()
    assert list(counts.values()) == expected.tolist() and sum(counts.values()) == len(gates)
    recorder = Recorder()
    recorder.append(step=1, **counts)
    assert gates.log_alpha.grad is None and recorder.rows == [{"step": 1, **counts}]
