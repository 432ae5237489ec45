"""Matrix products: a parameter reads the units that they contract over, or nothing may."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from tracing.rules.follow import UNITS, Case, check_every_op, follow

aten = torch.ops.aten
BAGS = torch.tensor([[0, 2, 1], [3, 3, 0]])
FIRST, LATER = [5, 6, 7, 8], [8, 9, 10, 11]  # what reads the units: dim 0 of a weight [4, 3], dim 1 of a weight [3, 4]


def read(
    op: Callable[..., Any],
    shape: tuple[int, ...],
    dim: int,
    weight: tuple[int, ...],
    by: list[int],
    made: Any,
    macs: int,
) -> Case:
    """A product of the units and one parameter ``w``."""
    ties = [{unit, label} for unit, label in zip(UNITS, by, strict=True)]
    return Case(op, [made], [], shape, dim, {"w": weight}, by, {"w": macs}, ties)


def lost(op: Callable[..., Any], shape: tuple[int, ...] = (2, 5, 4), dim: int = 2, frozen: Any = UNITS) -> Case:
    """A product that no parameter reads."""
    return Case(op, [{}], frozen, shape, dim)


CASES = {
    "mm": read(lambda x, w: x @ w, (2, 4), 1, (4, 3), FIRST, {1: [9, 10, 11]}, prod([2, 4, 3])),
    "mm from the left": read(lambda x, w: w @ x, (4, 2), 0, (3, 4), LATER, {0: [5, 6, 7]}, prod([2, 4, 3])),
    "linear": read(lambda x, w: F.linear(x, w), (2, 5, 4), 2, (3, 4), LATER, {2: [5, 6, 7]}, prod([2, 5, 4, 3])),
    "mv": read(lambda x, w: x @ w, (2, 4), 1, (4,), FIRST, {}, prod([2, 4])),
    "dot": read(lambda x, w: x @ w, (4,), 0, (4,), FIRST, {}, 4),
    "vdot": read(lambda x, w: torch.vdot(x, w), (4,), 0, (4,), FIRST, {}, 4),
    "einsum": read(lambda x, w: torch.einsum("blc,cd->bld", x, w), (2, 5, 4), 2, (4, 3), FIRST, {2: [9, 10, 11]}, 120),
    "baddbmm": read(lambda x, w: torch.baddbmm(torch.zeros(1), x, w.expand(2, 4, 3)), (2, 5, 4), 2, (4, 3), FIRST,
                    {2: [9, 10, 11]}, prod([2, 5, 4, 3])),
    "bmm with a weight for each": Case(
        lambda x, w: torch.bmm(x, w), [{0: [5, 6], 2: [11, 12, 13]}], [5, 6], (2, 5, 4), 2, {"w": (2, 4, 3)},
        [7, 8, 9, 10], {"w": prod([2, 5, 4, 3])}, [{1, 7}, {2, 8}, {3, 9}, {4, 10}],
    ),
    "addmm": Case(lambda x, w, b: F.linear(x, w, b), [{1: [5, 6, 7]}], shape=(2, 4), weights={"w": (3, 4), "b": (3,)},
                  read=LATER, macs={"w": 24}, ties=[{1, 8}, {2, 9}, {3, 10}, {4, 11}, {5, 12}, {6, 13}, {7, 14}]),
    "addmm of one number": Case(lambda x, w, b: torch.addmm(b, x, w), [{1: [9, 10, 11]}], shape=(2, 4),
                                weights={"w": (4, 3), "b": (1,)}, read=FIRST, macs={"w": 24}),
    "addmm of one row for all units": Case(
        lambda x, w, b: torch.addmm(b, x, w), [{0: UNITS, 1: [7, 8, 9]}], [5, 6], (4, 2), 0,
        {"w": (2, 3), "b": (1, 3)}, [5, 6], {"w": 24}, [{7, 10}, {8, 11}, {9, 12}],
    ),
    "addmv": Case(lambda x, w, b: torch.addmv(b, w, x), [{0: [5, 6, 7]}], shape=(4,), dim=0,
                  weights={"w": (3, 4), "b": (3,)}, read=LATER, macs={"w": 12},
                  ties=[{1, 8}, {2, 9}, {3, 10}, {4, 11}, {5, 12}, {6, 13}, {7, 14}]),
    "addition of units": Case(lambda x: torch.addmm(x, torch.ones(2, 3), torch.ones(3, 4)), [{1: UNITS}], shape=(2, 4)),
    "units that are made, not read": Case(lambda x, w: w @ x, [{0: [5, 6, 7], 1: UNITS}], [8, 9], (2, 4), 1,
                                          {"w": (3, 2)}, [8, 9], {"w": prod([3, 2, 4])}),
    "heads in a product": Case(lambda x: x @ x.transpose(2, 3), [{1: UNITS}]),
    "units of both sides": lost(lambda x: x @ x.transpose(1, 2)),
    "product with a constant": lost(lambda x: x @ torch.randn(4, 3)),
    "mv with a constant": lost(lambda x: x @ torch.randn(4), (2, 4), 1),
    "dot of activations": lost(lambda x: x @ x.relu(), (4,), 0),
    "embedding": Case(lambda x, w: F.embedding(torch.tensor([[0, 1]]), w), [{2: [8, 9, 10, 11]}], [5, 6, 7],
                      weights={"w": (3, 4)}),
    "sum of bags": Case(lambda x, w: F.embedding_bag(BAGS, w, mode="sum"), [{1: [10, 11, 12]}], [5, 6, 7, 8, 9],
                        weights={"w": (5, 3)}),
    "mean of bags": Case(lambda x, w: F.embedding_bag(BAGS, w, mode="mean"), [{1: [10, 11, 12]}], [5, 6, 7, 8, 9],
                         weights={"w": (5, 3)}),
    "maximum of bags": Case(lambda x, w: F.embedding_bag(BAGS, w, mode="max"), [{1: [10, 11, 12]}], [5, 6, 7, 8, 9],
                            weights={"w": (5, 3)}),
    "bags with a gradient": Case(
        lambda x, w: aten._embedding_bag(w, BAGS.flatten(), torch.tensor([0, 3]))[0], [{1: [10, 11, 12]}],
        [5, 6, 7, 8, 9], weights={"w": (5, 3)},
    ),
    "sparse product": Case(lambda x: torch.sparse.mm(torch.eye(5).to_sparse(), x), [{1: UNITS}], shape=(5, 4)),
    "sparse product over units": lost(lambda x: torch.sparse.mm(torch.eye(4).to_sparse(), x), (4, 5), 0),
    "sparse product with a term": Case(
        lambda x, b: aten._sparse_addmm(b, torch.eye(5).to_sparse(), x), [{0: [5, 6, 7, 8, 9], 1: UNITS}],
        [5, 6, 7, 8, 9], (5, 4), 1, {"b": (5, 4)}, ties=[{1, 10}, {2, 11}, {3, 12}, {4, 13}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_linear(name: str) -> None:
    CASES[name].check()


@pytest.mark.parametrize("change", [lambda w: w * 2, lambda w: w - w.mean(0, keepdim=True), lambda w: w.softmax(0)])
def test_computed_weight_reads_nothing(change: Callable[[Tensor], Tensor]) -> None:
    followed = follow(lambda x, w: x @ change(w), (2, 4), w=torch.randn(4, 3))
    assert set(UNITS) <= set(followed.frozen)
    assert not followed.read and not followed.table.macs


@pytest.mark.parametrize(
    "change", [lambda w: w.t().t(), lambda w: w.view(4, 3), lambda w: w.detach(), lambda w: w.clone()]
)
def test_a_pure_view_of_a_weight_reads(change: Callable[[Tensor], Tensor]) -> None:
    followed = follow(lambda x, w: x @ change(w), (2, 4), w=torch.randn(4, 3))
    assert followed.read == FIRST and not followed.frozen


def test_product_of_two_parameters() -> None:
    followed = follow(lambda x, v, w: v @ w, (2, 4), v=torch.randn(3, 4), w=torch.randn(4, 3))
    assert "a product of two parameters" in followed.reasons


def test_a_weight_that_is_used_twice_counts_twice() -> None:
    followed = follow(lambda x, w: (x @ w, x @ w), (2, 4), w=torch.randn(4, 3))
    assert followed.table.macs == {"w": 48}


def test_every_op_is_run() -> None:
    check_every_op("linear", CASES.values())
