"""Normalisation: per channel couples its parameters, over channels freezes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from tracing.rules.follow import OUTSIDE, SAME, UNITS, Case, check_every_op

aten = torch.ops.aten
STATISTICS = {"mean": (4,), "var": (4,)}
AFFINE = {"weight": (4,), "bias": (4,)}
COUPLED = [{unit, unit + 4, unit + 8, unit + 12, unit + 16} for unit in UNITS]
PAIRS = [{unit, unit + 4, unit + 8} for unit in UNITS]
LAST: dict[str, Any] = {"shape": (2, 3, 4), "dim": 2}


CASES = {
    "batch norm": Case(lambda x, mean, var, weight, bias: F.batch_norm(x, mean, var, weight, bias), SAME,
                       weights={**STATISTICS, **AFFINE}, ties=COUPLED),
    "batch norm without parameters": Case(
        lambda x: F.batch_norm(x, OUTSIDE.flatten(), OUTSIDE.flatten()), SAME, UNITS
    ),
    "batch statistics": Case(lambda x: F.batch_norm(x, None, None, training=True), SAME),
    "batch norm of features": Case(lambda x, mean, var: F.batch_norm(x, mean, var), SAME, shape=(3, 4),
                                   weights=STATISTICS, ties=PAIRS),
    "batch norm of the batch": Case(lambda x: F.batch_norm(x, None, None, training=True), [{0: UNITS}],
                                    shape=(4, 3, 2, 2), dim=0),
    "native": Case(lambda x: torch.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)[0], SAME),
    "legit": Case(
        lambda x, mean, var: aten._native_batch_norm_legit(x, None, None, mean, var, False, 0.1, 1e-5)[0], SAME,
        weights=STATISTICS, ties=PAIRS,
    ),
    "legit, with its statistics": Case(
        lambda x: aten._native_batch_norm_legit(x, None, None, True, 0.1, 1e-5), SAME + [{0: UNITS}] * 2
    ),
    "legit, no training": Case(
        lambda x, mean, var: aten._native_batch_norm_legit_no_training(x, None, None, mean, var, 0.1, 1e-5)[0], SAME,
        weights=STATISTICS, ties=PAIRS,
    ),
    "no update": Case(
        lambda x, mean, var: aten._batch_norm_no_update(x, None, None, mean, var, 0.1, 1e-5)[0], SAME,
        weights=STATISTICS, ties=PAIRS,
    ),
    "with update": Case(
        lambda x, mean, var: aten._batch_norm_with_update(x, None, None, mean, var, 0.1, 1e-5)[0], SAME,
        weights=STATISTICS, ties=PAIRS,
    ),
    "layer norm of units": Case(lambda x: F.layer_norm(x, (4,)), [{2: UNITS}], UNITS, **LAST),
    "layer norm of space": Case(lambda x: F.layer_norm(x, (6, 6)), SAME),
    "layer norm with parameters": Case(
        lambda x, weight, bias: F.layer_norm(x, (4,), weight, bias), [{2: UNITS}], [*UNITS, *range(5, 13)],
        weights=AFFINE, ties=PAIRS, **LAST,
    ),
    "rms norm of units": Case(lambda x: F.rms_norm(x, (4,)), [{2: UNITS}], UNITS, **LAST),
    "rms norm of space": Case(lambda x: F.rms_norm(x, (6,)), SAME),
    "fused rms norm of units": Case(lambda x: aten._fused_rms_norm(x, [4], None, 1e-5)[0], [{2: UNITS}], UNITS, **LAST),
    "fused rms norm of space": Case(lambda x: aten._fused_rms_norm(x, [6, 6], None, 1e-5)[0], SAME),
    "group norm": Case(lambda x: F.group_norm(x, 2), SAME, UNITS),
    "group norm by channel": Case(lambda x: F.group_norm(x, 4), SAME),
    "group norm by channel, with parameters": Case(
        lambda x, weight, bias: F.group_norm(x, 4, weight, bias), SAME, weights=AFFINE, ties=PAIRS
    ),
    "instance norm": Case(lambda x: F.instance_norm(x), SAME),
    "weight norm": Case(
        lambda x, v, g: torch._weight_norm(v, g, 0), [{0: [5, 6, 7], 1: [8, 9]}], [8, 9],
        weights={"v": (3, 2), "g": (3, 1)}, ties=[{5, 10}, {6, 11}, {7, 12}],
    ),
    "weight norm of the other dim": Case(
        lambda x, v, g: torch._weight_norm(v, g, 1), [{0: [5, 6, 7], 1: [8, 9]}], [5, 6, 7],
        weights={"v": (3, 2), "g": (1, 2)}, ties=[{8, 10}, {9, 11}],
    ),
}  # fmt: skip

ALIASES = {"aten.cudnn_batch_norm": "aten.native_batch_norm", "aten.miopen_batch_norm": "aten.native_batch_norm"}


HERE = [name for name in CASES if hasattr(aten, "_fused_rms_norm") or "fused" not in name]


@pytest.mark.parametrize("name", HERE)
def test_normalization(name: str) -> None:
    CASES[name].check()


def test_every_op_is_run() -> None:
    cases = [CASES[name] for name in HERE]
    check_every_op("normalization", cases, ALIASES, absent=("aten._fused_rms_norm",))
