"""Which of several short dims carries the units of a long one: every situation of two dims, enumerated."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lzero.plan.refusal import Reason
from lzero.tracing.label_book import LabelBook
from lzero.tracing.split_dims import Factor, State, decide

SHAPE = (2, 3)
GRID = np.arange(1, 7).reshape(SHAPE)  # labels 1 to 6 of a tensor; 7 to 11 of others; 12 to 16 of the forward's own
FACTOR = Factor(GRID, (np.array([12, 13]), np.array([14, 15, 16])))
MADE, COUNT = 11, 17


def test_rows_are_the_slices_under_each_index() -> None:
    grid = np.arange(24).reshape(2, 3, 4)
    factor = Factor(grid, tuple(np.zeros(size, np.int64) for size in grid.shape))
    for position, size in enumerate(grid.shape):
        rows = factor.rows(position)
        for index in range(size):
            assert sorted(rows[index]) == sorted(grid.take(index, axis=position).reshape(-1))


SITUATIONS = list(product((-1, 0, 1), (-1, 0, 1), (None, 0, 1), (False, True), (False, True)))


def situation(frozen: tuple[int, int], united: int | None, reached: tuple[bool, bool]) -> State:
    root, when = np.arange(COUNT), np.full(COUNT, -1)
    for dim, labels in enumerate(FACTOR.dims):
        when[labels] = frozen[dim]
        if reached[dim]:
            root[labels] = labels - 5
    if united is not None:
        for row in FACTOR.rows(united):
            root[row] = row.min()
    return State(root, when, MADE)


def carrier(frozen: tuple[int, int], united: int | None, reached: tuple[bool, bool]) -> int:
    """The rule in words: the free one; else the united; else the reached; else the one with most units."""
    if min(frozen) >= 0:
        return 1 if frozen[1] > frozen[0] else 0  # the reason of the last stands for both
    if max(frozen) >= 0:
        return frozen.index(-1)
    if united is not None:
        return united
    if reached[0] != reached[1]:
        return reached.index(True)
    return 1  # three units and not two


@pytest.mark.parametrize("case", SITUATIONS, ids=str)
def test_the_carrier_of_two_dims(case: tuple[int, int, int | None, bool, bool]) -> None:
    frozen, united, reached = case[:2], case[2], case[3:]
    settled: list[int] = []
    decide([FACTOR], lambda: situation(frozen, united, reached), lambda _, dim: settled.append(dim))
    assert settled == [carrier(frozen, united, reached)]


def test_equal_dims_that_nothing_tells_apart_go_to_the_outermost() -> None:
    factor = Factor(np.arange(1, 5).reshape(2, 2), (np.array([5, 6]), np.array([7, 8])))
    settled: list[int] = []
    decide([factor], lambda: State(np.arange(9), np.full(9, -1), 4), lambda _, dim: settled.append(dim))
    assert settled == [0]


def test_what_is_certain_is_settled_first_and_tells_the_rest() -> None:
    """Of two equal factors the second has a frozen dim; settled, it freezes the outer dim of the first."""
    first = Factor(np.arange(1, 5).reshape(2, 2), (np.array([9, 10]), np.array([11, 12])))
    second = Factor(np.arange(5, 9).reshape(2, 2), (np.array([13, 14]), np.array([15, 16])))
    frozen, settled = np.full(17, -1), list[tuple[Factor, int]]()
    frozen[[13, 14]] = 0

    def settle(factor: Factor, dim: int) -> None:
        settled.append((factor, dim))
        frozen[first.dims[0]] = 1

    decide([first, second], lambda: State(np.arange(17), frozen, 8), settle)
    assert settled == [(second, 1), (first, 1)]


@given(st.lists(st.tuples(st.integers(2, 3), st.integers(2, 3)), min_size=1, max_size=5), st.randoms())
def test_every_factor_is_settled_once(shapes: list[tuple[int, int]], random: object) -> None:
    start, factors = 1, []
    for shape in shapes:
        grid = np.arange(start, start + shape[0] * shape[1]).reshape(shape)
        start += grid.size
        outer, inner = np.split(np.arange(start, start + sum(shape)), [shape[0]])
        start += sum(shape)
        factors.append(Factor(grid, (outer, inner)))
    frozen = np.array([random.choice([-1, -1, -1, 0, 1]) for _ in range(start)])  # type: ignore[attr-defined]
    settled: list[Factor] = []
    decide(factors, lambda: State(np.arange(start), frozen, start), lambda factor, _: settled.append(factor))
    assert sorted(map(id, settled)) == sorted(map(id, factors))


@pytest.mark.parametrize("picked", [0, 1])
def test_in_a_book_the_dim_that_is_not_picked_from_carries(picked: int) -> None:
    """(2 heads, 3 features) = 6 units: with one of the two frozen, units are the slices of the other."""
    book = LabelBook()
    (units,) = book.enrol("w", (6,))
    dims = [book.fresh(2), book.fresh(3)]
    book.factor(units.reshape(2, 3), dims)
    book.freeze(dims[picked], Reason("picked"))
    classes = book.classes()
    slices = units.reshape(2, 3) if picked else units.reshape(2, 3).T
    assert classes.root[1:].tolist() == [min(row) for unit in units for row in slices if unit in row]
    assert (classes.reason < 0).all()


def test_in_a_book_two_frozen_dims_freeze_the_long_one() -> None:
    book = LabelBook()
    (units,) = book.enrol("w", (6,))
    dims = [book.fresh(2), book.fresh(3)]
    book.factor(units.reshape(2, 3), dims)
    for labels, why in zip(dims, ("first", "last"), strict=True):
        book.freeze(labels, Reason(why))
    classes = book.classes()
    assert {classes.reasons[i].text for i in classes.reason[1:]} == {"last"}
