"""Elementwise ops: what meets in one element is one unit, and what is spread over many is none."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from tracing.rules.follow import OUTSIDE, SAME, UNITS, Case, check_every_op, follow

aten = torch.ops.aten
PAIRS = [{1, 5}, {2, 6}, {3, 7}, {4, 8}]

CASES = {
    "relu": Case(F.relu, SAME),
    "in-place": Case(lambda x: x.mul_(2).relu_(), SAME),
    "hardswish": Case(F.hardswish, SAME),
    "logsigmoid": Case(F.logsigmoid, SAME),
    "gelu": Case(F.gelu, SAME),
    "negative": Case(lambda x: -x, SAME),
    "difference": Case(lambda x: x - x * 2, SAME),
    "difference from a number": Case(lambda x: 1 - x, SAME),
    "quotient": Case(lambda x: x / 3, SAME),
    "compare and where": Case(lambda x: torch.where(x > 0, x, 0.0), SAME),
    "masked fill": Case(lambda x: x.masked_fill(x > 0, 1.0), SAME),
    "clamp": Case(lambda x: x.clamp(0, 1), SAME),
    "broadcast a number": Case(lambda x: x + torch.ones(()), SAME),
    "broadcast over space": Case(lambda x: x * x[:, :, :1, :1], SAME),
    "broadcast of one unit": Case(lambda x, w: x * w, SAME, weights={"w": (1, 1, 1)}),
    "broadcast of units over units": Case(lambda x, w: x[:, :, :4, :4] + w, [{1: UNITS, 3: [5, 6, 7, 8]}], [5, 6, 7, 8],
                                          weights={"w": (4,)}),
    "units spread over a new dim": Case(lambda x: x.sum((0, 2, 3))[:, None] * torch.ones(4, 3), [{0: UNITS}]),
    "a single unit over many": Case(lambda x: x[:, :1] + torch.ones(2, 3, 6, 6), [{}], UNITS),
    "addition of a bias": Case(lambda x, b: x + b[:, None, None], SAME, weights={"b": (4,)}, ties=PAIRS),
    "addition of three": Case(lambda x, a, b: torch.addcmul(x, a[:, None, None], b[:, None, None]), SAME,
                              weights={"a": (4,), "b": (4,)}, ties=[{u, u + 4, u + 8} for u in UNITS]),
    "addition of a constant from outside": Case(lambda x: x + OUTSIDE, SAME, UNITS),
    "prelu": Case(lambda x, w: F.prelu(x, w), SAME, weights={"w": (4,)}, ties=PAIRS),
    "prelu of one slope": Case(lambda x, w: F.prelu(x, w), SAME, weights={"w": (1,)}),
    "rrelu": Case(lambda x: F.rrelu(x, training=True), SAME),
    "dropout in eval mode": Case(lambda x: F.dropout(x, 0.5, False), SAME),
    "native dropout": Case(lambda x: torch.native_dropout(x, 0.5, True)[0], SAME),
    "polar": Case(lambda x: torch.polar(x.abs(), x).abs(), SAME),
    "complex": Case(lambda x: torch.complex(x, x * 2).abs(), SAME),
    "maximum of two": Case(lambda x: torch.maximum(x, x * 2), SAME),
    "zeros_like": Case(torch.zeros_like, SAME),
    "ones_like": Case(torch.ones_like, SAME),
    "full_like": Case(lambda x: torch.full_like(x, 2.0), SAME),
    "empty_like": Case(lambda x: torch.empty_like(x).zero_(), SAME),
    "random numbers of its shape": Case(torch.rand_like, [{}], UNITS),
    "fill": Case(lambda x: x.fill_(1.0), SAME),
    "zero": Case(lambda x: x.zero_(), SAME),
    "cast and copy": Case(lambda x: x.double().clone().contiguous(), SAME),
    "contiguous": Case(lambda x: x.transpose(0, 1).contiguous(), [{0: UNITS}]),
    "detach": Case(lambda x: x.detach(), SAME),
    "alias": Case(lambda x: aten.alias(x), SAME),
    "lift_fresh": Case(lambda x: aten.lift_fresh(x), SAME),
    "view as": Case(lambda x: x.view_as(x), SAME),
    "copy into": Case(lambda x: torch.zeros_like(x).copy_(x), SAME),
    "copy into a constant": Case(lambda x: torch.zeros(2, 4, 6, 6).copy_(x), SAME),
    "copy of fewer dims": Case(lambda x: torch.zeros(3, 2, 4, 6, 6).copy_(x), [{2: UNITS}]),
    "item": Case(lambda x: x.sum((0, 2, 3)).max().item(), [], UNITS),
    "a number of a unit": Case(lambda x: float(x[0, 0, 0, 0]), [], UNITS),
    "truth of a unit": Case(lambda x: torch.is_nonzero(x[0, 0, 0, 0]), [], UNITS),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_pointwise(name: str) -> None:
    CASES[name].check()


def test_a_mask_that_the_forward_draws_tells_units_apart() -> None:
    followed = follow(lambda x: F.dropout(x, 0.5, True))
    assert followed.frozen == UNITS and "aten.bernoulli_" in followed.reasons


def test_every_op_is_run() -> None:
    check_every_op("pointwise", CASES.values())
