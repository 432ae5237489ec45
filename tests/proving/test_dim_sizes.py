"""Sizes of dims as functions of the units that are open."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from traps import mlp

from lzero.host.copies import private_copy
from lzero.proving.dim_sizes import DimSizes, Linear
from lzero.tracing.grouping import unit_groups
from lzero.tracing.guards import DimSize
from lzero.tracing.tracer import trace


def test_a_dim_is_a_constant_and_some_for_every_unit() -> None:
    model = mlp(lambda net, h: torch.cat([h, h, torch.ones(len(h), 3)], 1), read=27)
    seen = trace(private_copy(model), torch.randn(3, 5))
    group = next(group for group in unit_groups(seen, model, lambda members: None)[0] if group.name == "a")
    dims, place = DimSizes([group], seen.classes), {(s.tensor, s.dim): s for s in seen.classes.slots}
    read, made = place["b.weight", 1], place["a.weight", 0]
    assert dims.of(DimSize(np.arange(read.start, read.start + 27))) == Linear(3, {"a": 2})
    assert dims.of(DimSize(np.arange(made.start, made.start + 12))) == Linear(0, {"a": 1})
    assert not dims.of(DimSize(np.arange(made.start, made.start + 5))).known  # five of the units alone


def test_a_dim_that_no_group_lives_on_is_constant() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 2))
    seen = trace(private_copy(model), torch.randn(3, 5))
    groups = unit_groups(seen, model, lambda members: None)[0]
    assert DimSizes(groups, seen.classes).of(DimSize(np.zeros(7, dtype=np.int64))) == Linear(7, {})
