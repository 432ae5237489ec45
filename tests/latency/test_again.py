"""Timing a purged model again: only what can be compared, and for a bounded time."""

import dataclasses

import pytest
import torch
from hand_tables import table_of
from plans import mlp
from ticking import Ticking
from torch import nn

from lzero.host.inputs import ExampleInputs
from lzero.latency.again import Latency, forwards_fit, measured
from lzero.latency.timer import device_name

MODEL, PLAN = mlp()
HERE = dataclasses.replace(table_of(PLAN), device=device_name(torch.device("cpu")), shapes=((7, 5),))


def test_forwards_fit_where_device_and_shapes_do():
    inputs = ExampleInputs.of(PLAN.example_inputs)  # [3, 5]
    fitting = forwards_fit(HERE, MODEL, inputs)
    assert [tuple(tensor.shape) for tensor in fitting] == [(7, 5)]
    assert torch.equal(next(iter(fitting))[3:6], PLAN.example_inputs)
    assert forwards_fit(dataclasses.replace(HERE, device="elsewhere"), MODEL, inputs) is None
    assert forwards_fit(dataclasses.replace(HERE, shapes=((7, 6),)), MODEL, inputs) is None


@pytest.mark.parametrize("each", [1e-3, 10.0])
def test_both_models_are_timed_in_eval_mode_and_left_as_they_were(each):
    calls = []
    clock = Ticking({nn.Linear: lambda layer, x: calls.append(layer.training) or each * layer.out_features})
    dense, small = nn.Sequential(nn.Linear(5, 4)).train(), nn.Sequential(nn.Linear(5, 1)).train()
    with clock.running():
        before, after = measured(HERE, dense, small, ExampleInputs.of(torch.randn(2, 5)), clock)
    assert (before, after) == (pytest.approx(4e3 * each), pytest.approx(1e3 * each))
    assert not any(calls) and dense.training and small.training
    assert len(calls) <= (8 if each > 1 else 200)


def test_it_reads_as_a_line():
    fields = {"predicted_before": 4.0, "predicted": 1.0, "device": "x", "threads": 2, "batch": 8}
    once = Latency(measured_before=None, measured=None, **fields)
    assert str(once) == "4 -> 1 ms by the table (batch 8, 2 threads); not measured again"
    twice = Latency(measured_before=5.0, measured=1.5, **fields)
    assert str(twice).endswith("; measured again 5 -> 1.5 ms, 30.00%")
