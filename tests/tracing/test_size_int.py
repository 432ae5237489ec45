"""Numbers that know their sizes: they compute like ints, and every question that Python asks of them is noted."""

from __future__ import annotations

import copy
import math
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from lzero.tracing.guards import DimSize, GuardLog, ModuleNumber, SizeExpr
from lzero.tracing.size_int import SizeInt, plain

A, B = DimSize(np.arange(1, 7)), ModuleNumber("layer", "out_features")


def watched(log: GuardLog | None = None, a: int = 6, b: int = 4) -> tuple[SizeInt, SizeInt, GuardLog]:
    log = log or GuardLog(lambda: "layer")
    return SizeInt(a, SizeExpr.of(A), log), SizeInt(b, SizeExpr.of(B), log), log


# Trees of +, -, *, //, % over two sizes and small numbers, as functions of the sizes.
leaves = st.sampled_from([lambda a, b: a, lambda a, b: b]) | st.integers(1, 5).map(lambda n: lambda a, b: n)
OPS = [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod]


def joined(children: Any) -> Any:
    return st.tuples(st.sampled_from(OPS), children, children).map(
        lambda parts: lambda a, b: parts[0](parts[1](a, b), parts[2](a, b))
    )


trees = st.recursive(leaves, joined, max_leaves=6)


@given(trees, st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4))
def test_a_number_is_the_function_of_its_sizes_that_the_forward_computed(
    tree: Callable[[Any, Any], Any], others: list[tuple[int, int]]
) -> None:
    a, b, _ = watched()
    try:
        made, expected = tree(a, b), tree(6, 4)
        truth = [tree(*sizes) for sizes in others]
    except ZeroDivisionError:
        assume(False)
    assert plain(made) == expected
    if isinstance(made, SizeInt):
        values = {A: np.array([one for one, _ in others]), B: np.array([two for _, two in others])}
        with np.errstate(all="ignore"):
            assert np.broadcast_to(made.expr.value(values), len(others)).tolist() == truth


@given(trees)
def test_of_arithmetic_only_division_is_noted(tree: Callable[[Any, Any], Any]) -> None:
    a, b, log = watched()
    try:
        tree(a, b)
    except ZeroDivisionError:
        assume(False)
    assert {guard.act for guard in log.guards} <= {"rounds a share of its size"}


def test_exact_division_is_a_guard_on_the_remainder() -> None:
    a, _, log = watched()
    assert a // 3 == 2
    (guard, _) = log.guards  # and the comparison
    answers = [int(guard.answer(guard.expr.value({A: n}))) for n in range(1, 8)]
    assert answers == [n % 3 for n in range(1, 8)]


STAYS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda n: n + 1, "from the right": lambda n: 7 - n, "negative": lambda n: -n, "square": lambda n: n**2,
    "product of two": lambda n: n * n, "rounded": lambda n: round(n), "floor": math.floor, "ceiling": math.ceil,
    "cut": math.trunc, "positive": lambda n: +n,
}  # fmt: skip
ENDS: dict[str, Callable[[Any], Any]] = {
    "quotient": lambda n: n / 2, "inverse": lambda n: 1 / n, "times a float": lambda n: n * 0.5,
    "float": float, "int": int, "text": str, "format": lambda n: f"{n:>3}",
    "repr": repr, "hash": hash, "power of it": lambda n: 2**n, "power by a float": lambda n: n**0.5,
    "inverse power": lambda n: n**-1, "power of both": lambda n: n**n, "shift": lambda n: n << 1,
    "shifted by it": lambda n: 1 >> n, "bits": lambda n: n & 1, "bits before it": lambda n: 8 | n,
    "xor": lambda n: n ^ 3,
    "list": lambda n: [0] * n, "text of its length": lambda n: n * "x",
}  # fmt: skip


@pytest.mark.parametrize("act", STAYS)
def test_arithmetic_stays_watched_and_asks_nothing(act: str) -> None:
    a, _, log = watched()
    found = STAYS[act](a)
    assert isinstance(found, SizeInt) and not log.guards
    assert plain(found) == STAYS[act](6)
    assert found.expr.value({A: 6, B: 4}) == STAYS[act](6)


@pytest.mark.parametrize("act", ENDS)
def test_what_leaves_the_watched_world_is_noted(act: str) -> None:
    a, _, log = watched()
    found = ENDS[act](a)
    assert not isinstance(found, SizeInt) and found == ENDS[act](6)
    assert log.guards and all(guard.expr.symbols for guard in log.guards)


@pytest.mark.parametrize("op", [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge])
@pytest.mark.parametrize("other", [3, 6, 6.5])
def test_a_comparison_notes_its_answer_at_every_size(op: Callable[[Any, Any], bool], other: float) -> None:
    a, _, log = watched()
    assert op(a, other) == op(6, other)
    (guard,) = log.guards
    assert guard.act == f"compares its size with {other}"
    answers = [bool(guard.answer(guard.expr.value({A: n}))) for n in range(1, 10)]
    assert answers == [op(n, other) for n in range(1, 10)]


def test_two_sizes_are_compared_as_a_difference() -> None:
    a, b, log = watched()
    assert a > b
    (guard,) = log.guards
    assert guard.act == "compares its size with another" and guard.expr.symbols == (A, B)
    assert [bool(guard.answer(guard.expr.value({A: 5, B: n}))) for n in (4, 5, 6)] == [True, False, False]


def test_truth_asks_whether_it_is_zero() -> None:
    a, _, log = watched()
    assert a and not SizeInt(0, SizeExpr.of(A), log)
    assert [bool(log.guards[0].answer(n)) for n in (0, 1, 2)] == [False, True, True]


@pytest.mark.parametrize("act", [range, lambda n: list(range(9))[n], lambda n: 0.5 * n, lambda n: 2.0 - n])
def test_what_c_code_reads_without_a_word_is_not_noted(act: Callable[[Any], Any]) -> None:
    """The limit that the module names: closures of all sizes, and the check of every purge, are left for that."""
    a, _, log = watched()
    assert act(a) == act(6) and not log.guards


def test_other_objects_decide_for_themselves() -> None:
    a, _, log = watched()
    assert isinstance(a + torch.ones(1), torch.Tensor) and isinstance(a & torch.ones(1, dtype=torch.int), torch.Tensor)
    assert (a == "six") is False and not [guard for guard in log.guards if guard.act.startswith("compares")]
    with pytest.raises(TypeError):
        a < "six"  # noqa: B015


def test_divmod_and_abs_are_made_of_what_is_known() -> None:
    a, _, log = watched()
    assert [plain(part) for part in divmod(a, 4)] == [1, 2]
    assert plain(abs(a - 9)) == 3
    assert {guard.act for guard in log.guards} == {"rounds a share of its size", "compares its size with 0"}


def test_copies_are_plain_numbers() -> None:
    a, _, log = watched()
    for made in (copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a)), plain(a)):
        assert type(made) is int and made == 6
    assert not log.guards and plain("word") == "word"
