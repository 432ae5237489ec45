"""Random small graphs with norms, their streams gated: what is accepted must hold under closures drawn anew."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from exactness import largest_difference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_streams import StreamGraph, streams

from lzero import attach_gates, purge
from lzero.host.run import run


@pytest.mark.slow
@settings(
    max_examples=100, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(program=streams(), seed=st.integers(0, 1000))
def test_what_is_accepted_is_exact(program: list[tuple[str, int, int, int]], seed: int, assert_exact: Any) -> None:
    torch.manual_seed(seed)
    model, inputs = StreamGraph(program), torch.randn(2, 3, 4, 4)
    plan = assert_exact(model, inputs, granularity="width")
    if not plan.groups:
        return
    gated, fresh = copy.deepcopy(model).double(), torch.randn(5, 3, 4, 4).double()
    gates = attach_gates(gated, inputs.double(), granularity="width")
    with torch.no_grad():
        drawn = torch.randn(len(gates)) * 3 - 2  # about half of the gates close
        for view in gates.split(drawn).values():
            view[torch.randint(len(view), ())] = 1.0  # each group keeps a unit
        gates.log_alpha.copy_(drawn)
    difference, scale = largest_difference(run(gated, fresh), run(purge(gated, settle=False).model, fresh))
    assert difference <= 1e-9 * max(scale, 1.0)
