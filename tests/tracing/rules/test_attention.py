"""Fused attention: heads are units, positions and compared features are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from tracing.rules.follow import OUTSIDE, SAME, UNITS, A, B, Case, check_every_op

aten = torch.ops.aten


def attended(x: Tensor, *masks: Tensor, **options: Any) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x, *masks, **options)


CASES = {
    "over heads": Case(attended, SAME),
    "over positions": Case(attended, [{2: UNITS}], UNITS, (2, 3, 4, 6), 2),
    "over features": Case(attended, [{3: UNITS}], UNITS, (2, 3, 5, 4), 3),
    "over the batch": Case(attended, [{0: UNITS}], shape=(4, 3, 5, 6), dim=0),
    "over the features of values alone": Case(
        lambda x: F.scaled_dot_product_attention(torch.ones(2, 3, 5, 4), torch.ones(2, 3, 5, 4), x),
        [{3: UNITS}], shape=(2, 3, 5, 4), dim=3,
    ),
    "with a mask": Case(lambda x: attended(x, torch.zeros(6, 6)), SAME),
    "with a mask for each head": Case(lambda x, m: attended(x, m), SAME, shape=(2, 4, 1, 6), weights={"m": (4, 1, 1)},
                                      ties=[{1, 5}, {2, 6}, {3, 7}, {4, 8}]),
    "with a mask for all of the batch": Case(lambda x: attended(x, torch.zeros(1, 4, 6, 6)), SAME),
    "with a mask from outside": Case(lambda x: attended(x, OUTSIDE.expand(1, 4, 6, 6)), SAME, UNITS),
    "with a mask of units as positions": Case(
        lambda x: attended(torch.ones(2, 3, 4, 6), x), [{}], UNITS, (4, 4), 0
    ),
    "that shares keys": Case(
        lambda x: F.scaled_dot_product_attention(x, x[:, :2], x[:, :2], enable_gqa=True), [{1: [A, A, B, B]}]
    ),
    "that is causal": Case(lambda x: attended(x, is_causal=True), SAME),
    "in its plain form": Case(lambda x: aten._scaled_dot_product_attention_math(x, x, x)[0], SAME),
    "in its plain form, over features": Case(
        lambda x: aten._scaled_dot_product_attention_math(x, x, x)[0], [{3: UNITS}], UNITS, (2, 3, 5, 4), 3
    ),
}  # fmt: skip

_CPU = "aten._scaled_dot_product_flash_attention_for_cpu"
ALIASES = {
    "aten._scaled_dot_product_flash_attention": _CPU,
    "aten._scaled_dot_product_efficient_attention": _CPU,
    "aten._scaled_dot_product_cudnn_attention": _CPU,
    "aten._scaled_dot_product_fused_attention_overrideable": _CPU,
}


@pytest.mark.parametrize("name", CASES)
def test_attention(name: str) -> None:
    CASES[name].check()


def test_every_op_is_run() -> None:
    check_every_op("attention", CASES.values(), ALIASES)
