"""When the target of a training has come down and when its gates settle, by the lengths that were given."""

import pytest

from lzero.errors import LzeroWarning, SolverError
from lzero.solver.schedule import SHORTEST, cubic, fixed, schedule_of, timetable, warn_of_few


@pytest.mark.parametrize(
    ("given", "length", "annealed", "settles"),
    [
        ((1000, None, None), 1000, 500, 800),
        ((1000, 100, None), 1000, 100, 800),
        ((1000, None, 0.0), 1000, 500, None),
        ((1000, None, 0.5), 1000, 500, 500),
        ((None, 300, None), 600, 300, None),
        ((1, None, None), 1, 1, 1),
        ((7, None, 0.3), 7, 3, 5),
    ],
)
def test_half_anneals_and_the_last_fifth_is_held_unless_told(given, length, annealed, settles):
    times = timetable(*given)
    assert (times.total, times.length, times.annealed, times.settles_at) == (given[0], length, annealed, settles)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((None, None, None), "total_steps: expected the number of optimizer steps of the whole training"),
        ((0, None, None), "total_steps: expected a positive number of optimizer steps, found 0"),
        ((10, 0, None), "anneal_steps: expected a positive number of optimizer steps, found 0"),
        ((10, None, 1.0), r"finetune: expected a share in \[0, 1\), found 1.0"),
        ((None, 10, 0.2), "finetune: is a share of total_steps; give total_steps too"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(given, message):
    with pytest.raises(SolverError, match=message):
        timetable(*given)


def test_short_trainings_are_warned_of_at_the_line_that_calls():
    def build(total):
        warn_of_few(total, stacklevel=2)

    with pytest.warns(LzeroWarning, match=f"{SHORTEST - 1} optimizer steps are few .* not epochs") as seen:
        build(SHORTEST - 1)
    assert seen[0].filename == __file__
    build(SHORTEST)
    build(None)
    assert len(seen) == 1


def test_targets_fall_from_one_to_what_was_asked():
    assert [cubic(0.2, t) for t in (0.0, 1.0, 2.0)] == [1.0, 0.2, 0.2] and fixed(0.2, 0.0) == 0.2
    assert cubic(0.2, 0.5) == pytest.approx(0.2 + 0.8 / 8)
    assert schedule_of("cubic") is cubic and schedule_of(len) is len
    with pytest.raises(SolverError, match="schedule: expected one of cubic, fixed or a function, found 'linear'"):
        schedule_of("linear")
