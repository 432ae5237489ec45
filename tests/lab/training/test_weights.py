import pytest

from lzero_lab.errors import DataError
from lzero_lab.training.weights import SCHEDULES, rate_factor


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", {0: 1, 119: 1, 120: 1, 160: 0.5, 190: 0.125}),
        ("cosine", {0: 1, 50: 0.8535534, 100: 0.5, 150: 0.1464466}),
        ("drops", {0: 1, 59: 1, 60: 0.2, 119: 0.2, 120: 0.04, 160: 0.008, 199: 0.008}),
    ],
)
def test_the_factor_at_steps_of_200(schedule, expected):
    assert {step: rate_factor(schedule, step, 200, 0.4) for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_it_begins_at_1_and_never_rises(schedule, steps):
    factors = [rate_factor(schedule, step, steps, 0.4) for step in range(steps)]
    assert factors[0] == 1 and min(factors) > 0
    assert factors == sorted(factors, reverse=True)


def test_an_unknown_schedule_lists_the_known():
    with pytest.raises(DataError, match="expected one of linear, cosine, drops, found 'steps'"):
        rate_factor("steps", 0, 1, 0.4)
