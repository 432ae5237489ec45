"""Ops that mix the indices of a dim: over units they freeze, over anything else they cost nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from tracing.rules.follow import SAME, UNITS, Case, check_every_op

aten = torch.ops.aten

# By name: an op that reduces one dim, and how many tensors it makes.
REDUCE: dict[str, tuple[Callable[[Tensor, int], Any], int]] = {
    "sum": (lambda x, dim: x.sum(dim), 1),
    "nansum": (lambda x, dim: x.nansum(dim), 1),
    "mean": (lambda x, dim: x.mean(dim), 1),
    "prod": (lambda x, dim: x.prod(dim), 1),
    "amax": (lambda x, dim: x.amax(dim), 1),
    "amin": (lambda x, dim: x.amin(dim), 1),
    "aminmax": (lambda x, dim: x.aminmax(dim=dim), 2),
    "max": (lambda x, dim: x.max(dim), 2),
    "min": (lambda x, dim: x.min(dim), 2),
    "argmax": (lambda x, dim: x.argmax(dim), 1),
    "argmin": (lambda x, dim: x.argmin(dim), 1),
    "median": (lambda x, dim: x.median(dim), 2),
    "nanmedian": (lambda x, dim: x.nanmedian(dim), 2),
    "mode": (lambda x, dim: x.mode(dim), 2),
    "var": (lambda x, dim: x.var(dim), 1),
    "std": (lambda x, dim: x.std(dim), 1),
    "var_mean": (lambda x, dim: torch.var_mean(x, dim), 2),
    "std_mean": (lambda x, dim: torch.std_mean(x, dim), 2),
    "norm": (lambda x, dim: aten.norm(x, 2, [dim]), 1),
    "vector norm": (lambda x, dim: torch.linalg.vector_norm(x, dim=dim), 1),
    "logsumexp": (lambda x, dim: x.logsumexp(dim), 1),
    "all": (lambda x, dim: (x > 0).all(dim), 1),
    "any": (lambda x, dim: (x > 0).any(dim), 1),
    "count_nonzero": (lambda x, dim: torch.count_nonzero(x, dim), 1),
    "kthvalue": (lambda x, dim: x.kthvalue(2, dim), 2),
}
# An op that runs along one dim and keeps its size, and how many tensors it makes.
ALONG: dict[str, tuple[Callable[[Tensor, int], Any], int]] = {
    "softmax": (lambda x, dim: x.softmax(dim), 1),
    "safe softmax": (lambda x, dim: aten._safe_softmax(x, dim), 1),
    "log softmax": (lambda x, dim: x.log_softmax(dim), 1),
    "cumsum": (lambda x, dim: x.cumsum(dim), 1),
    "cumprod": (lambda x, dim: x.cumprod(dim), 1),
    "cummax": (lambda x, dim: x.cummax(dim), 2),
    "cummin": (lambda x, dim: x.cummin(dim), 2),
    "logcumsumexp": (lambda x, dim: x.logcumsumexp(dim), 1),
    "sort": (lambda x, dim: x.sort(dim), 2),
    "argsort": (lambda x, dim: x.argsort(dim), 1),
    "roll": (lambda x, dim: x.roll(1, dim), 1),
}

CASES = {
    **{f"{name} of units": Case(lambda x, op=op: op(x, 1), [{}] * n, UNITS) for name, (op, n) in REDUCE.items()},
    **{f"{name} of space": Case(lambda x, op=op: op(x, -1), SAME * n) for name, (op, n) in REDUCE.items()},
    **{f"{name} over units": Case(lambda x, op=op: op(x, 1), SAME * n, UNITS) for name, (op, n) in ALONG.items()},
    **{f"{name} over space": Case(lambda x, op=op: op(x, -1), SAME * n) for name, (op, n) in ALONG.items()},
    "mean over space": Case(lambda x: x.mean((2, 3)), SAME),
    "mean over space, kept": Case(lambda x: x.mean((2, 3), keepdim=True), SAME),
    "sum of the batch": Case(lambda x: x.sum(0), [{0: UNITS}]),
    "sum of all": Case(lambda x: x.sum(), [{}], UNITS),
    "maximum of all": Case(lambda x: x.max(), [{}], UNITS),
    "variance over all": Case(lambda x: x.var(), [{}], UNITS),
    "norm over units, kept": Case(lambda x: x.norm(dim=1, keepdim=True), [{}], UNITS),
    "maximum of two tensors": Case(lambda x: x.max(x * 2), SAME),
    "minimum of two tensors": Case(lambda x: torch.min(x, x * 2), SAME),
    "roll over space": Case(lambda x: x.roll((1, 1), (2, 3)), SAME),
    "roll over all": Case(lambda x: x.roll(1), SAME, UNITS),
    "topk over units": Case(lambda x: x.topk(2, 1), [{}] * 2, UNITS),
    "topk over space": Case(lambda x: x.topk(2, -1), SAME * 2),
    "kthvalue over space, kept": Case(lambda x: x.kthvalue(2, -1, keepdim=True), SAME * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_reduction(name: str) -> None:
    CASES[name].check()


def test_every_op_is_run() -> None:
    check_every_op("reduction", CASES.values())
