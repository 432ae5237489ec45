"""Reading and writing at given indices: the indexed dim stays whole, the others keep their units."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from tracing.rules.follow import SAME, UNITS, Case, check_every_op

aten = torch.ops.aten
MASK = torch.ones(2, 4, 6, 6).bool()
ONE, TWO = torch.tensor([1]), torch.tensor([1, 0])


def at(x: Tensor, dim: int, number: int = 0) -> Tensor:
    """An index of the shape of ``x``, one long on ``dim``."""
    return torch.full([1 if d == dim else n for d, n in enumerate(x.shape)], number)


CASES = {
    "index by constant": Case(lambda x: x[:, torch.tensor([2, 0])], [{}], UNITS),
    "index elsewhere": Case(lambda x: x[TWO], SAME),
    "index of two dims": Case(lambda x: x[:, :, TWO, TWO], SAME),
    "index of two dims apart": Case(lambda x: x[TWO, :, TWO], SAME),
    "index of two dims around the units": Case(lambda x: x[TWO, :, :, TWO], SAME),
    "index by a matrix": Case(lambda x: x[torch.zeros(3, 2).long()], [{2: UNITS}]),
    "index by mask": Case(lambda x: x[torch.tensor([True, False])], SAME),
    "index by mask of units": Case(lambda x: x[:, torch.tensor([True, False, True, True])], [{}], UNITS),
    "index by mask of several dims": Case(lambda x: x[torch.ones(2, 4).bool()], [{}], UNITS),
    "index by mask of batch and space": Case(lambda x: x.transpose(1, 2)[torch.ones(2, 6).bool()], [{1: UNITS}]),
    "units as an index": Case(lambda x: torch.ones(9)[(x * 0).long()], [{}], UNITS),
    "index_select": Case(lambda x: x.index_select(1, ONE), [{}], UNITS),
    "index_select elsewhere": Case(lambda x: x.index_select(-1, TWO), SAME),
    "index_put elsewhere": Case(lambda x: x.index_put((ONE,), x[0]), SAME),
    "index_put of units": Case(lambda x: x.index_put((torch.zeros(1).long(), ONE), torch.ones(6, 6)), SAME, UNITS),
    "index_put of one for all": Case(lambda x: x.index_put((ONE,), torch.ones(())), SAME, UNITS),
    "index_put at a mask of several dims": Case(
        lambda x, w: x.movedim(1, -1).clone().index_put_((MASK[:, 0],), w), [{3: UNITS}], weights={"w": (4,)},
        ties=[{1, 5}, {2, 6}, {3, 7}, {4, 8}],
    ),
    "index_put at a mask and an index": Case(
        lambda x: x.index_put((torch.ones(2, 4).bool(), torch.zeros(8).long()), torch.ones(6)), SAME, UNITS
    ),
    "index_put of a number where it is negative": Case(lambda x: x.index_put((x < 0,), torch.ones(())), SAME, ties=[]),
    "index_put of a number at a fixed mask": Case(
        lambda x: x.index_put((MASK,), torch.ones(())), SAME, UNITS
    ),
    "index_put of a number at a mask of no dims": Case(
        lambda x: x.index_put((torch.tensor(True),), torch.ones(())), [{}], UNITS
    ),
    "index_put impl": Case(lambda x: aten._index_put_impl(x, [ONE], x[0]), SAME),
    "index_put of other units": Case(
        lambda x, w: aten.index_put(x, [None, None, ONE], w[:, None, None]), SAME, weights={"w": (4,)},
        ties=[{1, 5}, {2, 6}, {3, 7}, {4, 8}],
    ),
    "write at an index": Case(lambda x: x.index_put_((ONE,), x[0].clone()), SAME),
    "index_add elsewhere": Case(lambda x: x.index_add(0, ONE, x[:1]), SAME),
    "index_add of units": Case(lambda x: x.index_add(1, ONE, torch.ones(2, 1, 6, 6)), SAME, UNITS),
    "index_copy elsewhere": Case(lambda x: x.index_copy(0, ONE, x[:1]), SAME),
    "index_reduce elsewhere": Case(lambda x: x.index_reduce(0, ONE, x[:1], "amax"), SAME),
    "index_reduce of units": Case(lambda x: x.index_reduce(1, ONE, torch.ones(2, 1, 6, 6), "prod"), SAME, UNITS),
    "gather": Case(lambda x: x.gather(1, at(x, 1)), [{}], UNITS),
    "gather elsewhere": Case(lambda x: x.gather(2, at(x, 2)), [{}], UNITS),
    "scatter": Case(lambda x: x.scatter(2, at(x, 2), 1.0), [{}], UNITS),
    "scatter_add": Case(lambda x: torch.zeros(2, 4, 6, 6).scatter_add(2, at(x, 2), x), [{}], UNITS),
    "take_along_dim": Case(lambda x: torch.take_along_dim(x, at(x, 1), 1), [{}], UNITS),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_indexing(name: str) -> None:
    CASES[name].check()


def test_every_op_is_run() -> None:
    check_every_op("indexing", CASES.values())
