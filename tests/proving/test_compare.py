"""How far two runs are apart: one measure against a slow loop, and one table of tolerances."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lzero.proving.compare import TOLERANCES, Difference, comparable, difference, tolerance_of


class TestRelativeDifference:
    def test_is_relative_to_what_differs(self) -> None:
        for constant in (100.0, -1e30, math.inf):
            one, two = torch.tensor([1.0, 4.0, constant]), torch.tensor([1.0, 5.0, constant])
            assert difference([one], [two]).relative == pytest.approx(0.25)
        one, two = torch.tensor([1e-9, 2.0, 4.0]), torch.tensor([2e-9, 2.0 + 1e-5, 4.0 + 1e-5])
        assert difference([one], [two]).relative == pytest.approx(5e-6, rel=0.05)  # 1e-9 of the median

    def test_rounding_about_zero_is_no_difference(self) -> None:
        one, two = torch.tensor([1e-17, 3.0], dtype=torch.float64), torch.tensor([0.0, 3.0], dtype=torch.float64)
        assert difference([one], [two]).relative < 1e-9

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ([torch.ones(2)], [torch.ones(3)]),
            ([torch.ones(2)], []),
            ([torch.ones(2)], [torch.tensor([1.0, math.nan])]),
            ([torch.tensor([1])], [torch.tensor([2])]),
            ([torch.tensor([math.inf, 1.0])], [torch.tensor([1.0, 1.0])]),
        ],
    )
    def test_what_does_not_match_is_infinitely_far(self, a: list[Tensor], b: list[Tensor]) -> None:
        assert difference(a, b).relative == math.inf

    def test_equal_infinities_match(self) -> None:
        masked = torch.tensor([-math.inf, 2.0])
        assert difference([masked, torch.tensor([3])], [masked.clone(), torch.tensor([3])]).relative == 0.0


numbers = st.floats(-10, 10) | st.sampled_from([0.0, 1e-17, 1e-8, 1e30, -1e30, math.inf, -math.inf, math.nan])
pairs = st.lists(st.tuples(numbers, numbers) | numbers.map(lambda n: (n, n)), max_size=6)


def slowly(tensors: list[list[tuple[float, float]]]) -> tuple[float, float]:
    """Number by number: relative to itself, or to the lower median of what differs, or to 1e-6."""
    absolute = relative = 0.0
    for entries in tensors:
        moved = [(a, b) for a, b in entries if a != b]
        if any(math.isnan(a) or math.isnan(b) for a, b in moved):
            return math.inf, math.inf
        sizes = sorted(abs(a) for a, _ in moved)
        for a, b in moved:
            gap = abs(a - b)
            least = max(abs(a), sizes[(len(sizes) - 1) // 2], 1e-6)
            absolute = max(absolute, gap)
            relative = max(relative, math.inf if math.isinf(gap) else 0.0 if math.isinf(least) else gap / least)
    return absolute, relative


@given(st.lists(pairs, max_size=3))
def test_the_difference_is_that_of_a_slow_loop(tensors: list[list[tuple[float, float]]]) -> None:
    one = [torch.tensor([a for a, _ in entries], dtype=torch.float64) for entries in tensors]
    two = [torch.tensor([b for _, b in entries], dtype=torch.float64) for entries in tensors]
    found = difference(one, two)
    absolute, relative = slowly(tensors)
    assert found.relative == pytest.approx(relative, rel=1e-12)
    assert found.absolute == pytest.approx(absolute, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64])
def test_it_is_measured_in_double(dtype: torch.dtype) -> None:
    one, two = torch.tensor([1.0, 2.0], dtype=dtype), torch.tensor([1.0, 2.5], dtype=dtype)
    assert difference([one], [two]).relative == 0.25 and difference([one], [two]).absolute == 0.5


def test_a_complex_number_is_as_far_as_its_parts() -> None:
    one, two = torch.tensor([3 + 4j]), torch.tensor([0j])
    assert difference([one], [two]).absolute == 5.0 and difference([one], [two]).relative == 1.0


def test_tensors_with_a_gradient_and_without_entries() -> None:
    one = torch.ones(2, requires_grad=True)
    assert difference([one, torch.ones(0)], [one + 1, torch.ones(0)]).relative == 1.0


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_the_tolerance_is_that_of_the_coarsest_dtype(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(2, 2).double(), nn.Linear(2, 2).to(dtype))
    assert tolerance_of(model) == TOLERANCES[dtype]


def test_models_without_floats_and_with_rare_ones() -> None:
    model: Any = nn.Module()
    model.count = nn.Parameter(torch.ones(2, dtype=torch.long), requires_grad=False)
    assert tolerance_of(model) == TOLERANCES[torch.float64]
    model.rare = nn.Parameter(torch.ones(2).to(torch.float8_e5m2), requires_grad=False)
    assert tolerance_of(model) == max(TOLERANCES.values())


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([torch.ones(2)], True),
        ([torch.ones(2), torch.tensor([1])], True),
        ([torch.ones(2) * 1j], True),
        ([torch.tensor([math.inf])], True),
        ([torch.ones(0)], True),
        ([torch.tensor([1])], False),
        ([], False),
        ([torch.ones(2), torch.tensor([math.nan])], False),
    ],
)
def test_what_can_be_compared(outputs: list[Tensor], expected: bool) -> None:
    assert comparable(outputs) is expected


@pytest.mark.parametrize("dtype", [torch.long, torch.int32, torch.bool])
def test_integers_that_differ_do_not_match_but_the_gap_is_a_number(dtype: torch.dtype) -> None:
    one, two = torch.tensor([0, 1, 1]).to(dtype), torch.tensor([0, 1, 0]).to(dtype)
    assert difference([one], [two]) == Difference(1.0, math.inf)
    assert difference([one], [one.clone()]) == Difference(0.0, 0.0)
