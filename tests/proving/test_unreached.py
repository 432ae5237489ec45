"""Which groups a weight could read that no forward has reached."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from lzero.plan.group import GateGroup, Member
from lzero.proving.unreached import split_by_unreached, unreached_weights
from lzero.tracing.tracer import trace
from lzero.tracing.ways import Explored


def group(name: str, tensor: str, dim: int, size: int) -> GateGroup:
    return GateGroup(name, size, "unit", (Member(tensor, dim, torch.arange(size)[:, None], "consumer"),))


MODEL = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2))
GROUPS = [group("0", "1.weight", 1, 6), group("1", "2.weight", 1, 5)]
SHAPES = {name: tuple(parameter.shape) for name, parameter in MODEL.named_parameters()}


@pytest.mark.parametrize(
    ("shape", "refused"),
    [((7, 6), ["0"]), ((12,), ["0"]), ((5, 6), ["0", "1"]), ((7, 8), []), ((1, 1), []), ((3, 2), [])],
)
def test_those_whose_dims_fit(shape: tuple[int, ...], refused: list[str]) -> None:
    seen = replace(trace(MODEL, torch.randn(3, 4)), explored=Explored({}, ("model.py:3",)))
    shapes = SHAPES | {"rare.weight": shape}
    assert unreached_weights(seen, shapes) == ["rare.weight"]
    kept, refusals = split_by_unreached(GROUPS, seen, shapes)
    assert [r.name for r in refusals] == refused and len(kept) + len(refused) == 2
    for refusal in refusals:
        assert refusal.reason.startswith("rare.weight may read it: ") and "model.py:3" in refusal.reason
        assert "pass example inputs that reach it" in refusal.advice


def test_what_no_value_decides_is_unused() -> None:
    seen = trace(MODEL, torch.randn(3, 4))
    assert not unreached_weights(seen, SHAPES | {"rare.weight": (6, 6)})
    assert split_by_unreached(GROUPS, seen, SHAPES | {"rare.weight": (6, 6)}) == (GROUPS, [])
