"""What one model of the zoo shows: what was found, how exact its purge is, and whether the counts are true."""

from __future__ import annotations

import copy
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from exactness import largest_difference
from torch import Tensor, nn

from lzero import attach_gates, compact, discover, purge
from lzero.cost import Cost
from lzero.host.copies import private_copy
from lzero.host.promoted import Promoted
from lzero.host.run import run
from lzero.host.tensors import map_tensors
from lzero.plan.plan import Plan
from lzero.tracing.grouping import unit_groups
from lzero.tracing.tracer import trace

ROUNDS = 4


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        plan: what was proved and what was refused.
        found: groups of units that the tracer coupled and nothing forbade, before anything was proved.
        seconds: for discovery and proof.
        double, single: largest difference of gated and purged outputs in float64 and float32, relative to the largest
            output, over several random closures with fractional gates.
        attached: largest such difference between the model just gated, in eval mode, and the model, in float64.
        effect: the smallest such difference between the purged model and the one without gates.
        params, macs: (found in the purged model, counted by closed form) over these closures.
        compacted: the largest such difference, in float64, between the gated model and itself without what is closed
            and can leave while it trains.
    """

    plan: Plan
    found: int
    seconds: float
    double: float
    single: float
    attached: float
    effect: float
    params: list[tuple[int, int]]
    macs: list[tuple[int, int]]
    compacted: float


def measure(model: nn.Module, inputs: Any, granularity: str = "unit") -> Row:
    start = time.perf_counter()
    plan = discover(model, inputs, granularity=granularity)
    seconds = time.perf_counter() - start
    seen = trace(private_copy(model), inputs, lambda path: granularity == "width")
    found, _ = unit_groups(seen, model, lambda members: None)
    worst = {torch.float64: 0.0, torch.float32: 0.0}
    attached, effect, params, macs, compacted = 0.0, 1.0, [], [], 0.0
    for dtype in worst if plan.groups else ():
        cast = map_tensors(inputs, lambda t, to=dtype: t.to(to) if t.is_floating_point() else t)
        gated = copy.deepcopy(model).to(dtype)
        gates = attach_gates(gated, replace(plan, example_inputs=cast))
        plain = _run(copy.deepcopy(model).to(dtype), cast, dtype)
        if dtype is torch.float64:
            difference, scale = largest_difference(plain, _run(gated, cast, dtype))
            attached = difference / scale
        counts = Cost(gates, "params"), Cost(gates, "macs")
        for seed in range(ROUNDS):
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                drawn = torch.randn(len(gates), generator=generator) * 3 - 2  # about half of the gates close
                for view in gates.split(drawn).values():
                    view[torch.randint(len(view), (), generator=generator)] = 1.0  # each group keeps a unit
                gates.log_alpha.copy_(drawn)
            small = purge(gated, settle=False).model
            difference, scale = largest_difference(_run(gated, cast, dtype), _run(small, cast, dtype))
            worst[dtype] = max(worst[dtype], difference / scale)
            effect = min(effect, largest_difference(plain, _run(small, cast, dtype))[0] / scale)
            opened = gates.open_mask()
            used = trace(private_copy(small), cast).macs.values()
            params.append((sum(p.numel() for p in small.parameters()), round(float(counts[0].value(opened)))))
            macs.append((sum(used), round(float(counts[1].value(opened)))))
        if dtype is torch.float64:
            before = _run(gated, cast, dtype)
            compact(gated, below=0.49)
            difference, scale = largest_difference(before, _run(gated, cast, dtype))
            again = largest_difference(before, _run(purge(gated, settle=False).model, cast, dtype))[0]
            compacted = max(difference, again) / scale
    exact = worst[torch.float64], worst[torch.float32]
    return Row(plan, len(found), seconds, *exact, attached, effect, params, macs, compacted)


def _run(model: nn.Module, inputs: Any, dtype: torch.dtype) -> list[Tensor]:
    """What ``model`` returns, in double precision also where its forward casts to single."""
    with Promoted() if dtype is torch.float64 else nullcontext():
        return run(model, inputs)
