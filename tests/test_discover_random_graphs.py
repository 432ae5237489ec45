"""Random small graphs of random layers: whatever ``discover`` accepts must hold under closures drawn anew."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from exactness import largest_difference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import Graph, programs

from lzero import attach_gates, purge
from lzero.host.run import run
from lzero.plan.plan import Plan

AssertExact = Callable[..., Plan]


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(program=programs(), seed=st.integers(0, 1000))
def test_what_is_accepted_is_exact(program: list[tuple[str, int, int, int]], seed: int, assert_exact: Any) -> None:
    torch.manual_seed(seed)
    model, inputs = Graph(program), torch.randn(2, 3, 4, 4)
    plan = assert_exact(model, inputs)
    if not plan.groups:
        return
    gated = copy.deepcopy(model).double()
    gates = attach_gates(gated, inputs.double())
    with torch.no_grad():
        drawn = torch.randn(len(gates)) * 3 - 2  # about half of the gates close
        for view in gates.split(drawn).values():
            view[torch.randint(len(view), ())] = 1.0  # each group keeps a unit
        gates.log_alpha.copy_(drawn)
    difference, scale = largest_difference(
        run(gated, inputs.double()), run(purge(gated, settle=False).model, inputs.double())
    )
    assert difference <= 1e-9 * max(scale, 1.0)
