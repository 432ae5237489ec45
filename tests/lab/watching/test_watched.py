"""A training as its files tell it: its phases, its speed and what is left, with numbers by hand."""

import os
import sys

import pytest
from lab.watched import epochs, run_folder, written

from lzero_lab.lock import alone_in
from lzero_lab.watching.look import look

posix = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")


@posix
def test_speed_and_time_left_are_those_of_the_latest_rows(tmp_path):
    folder = run_folder(tmp_path / "run", 0)
    rows = epochs(5)
    rows[-1]["seconds"] = 20.0  # 2 s an epoch, and 12 s the last: 36 steps in 18 s after the first row
    with alone_in(folder):
        written(folder / "rows.csv", rows)
        seen = look(folder)
        assert seen.steps_per_second == pytest.approx(36 / 18)
        assert seen.seconds_left == pytest.approx(45 / 2, abs=1.0)
        os.utime(folder / "rows.csv", (0, (folder / "rows.csv").stat().st_mtime - 10))
        assert look(folder).seconds_left == pytest.approx(45 / 2 - 10, abs=1.0)
        written(folder / "rows.csv", epochs(1))
        assert look(folder).steps_per_second == pytest.approx(4.5)


def test_several_parts_are_at_the_target_once_all_are(tmp_path):
    row = {"step": 1, "a:target": 0.1, "a:annealed_target": 0.1, "b:target": 0.2, "b:annealed_target": 0.3}
    row |= {"a:multiplier": 1.0, "b:multiplier": 3.0}
    path = written(tmp_path / "rows.csv", [row])
    assert (look(path).phase, look(path).multiplier, look(path).target) == ("annealing the target", 3.0, None)
    written(path, [row | {"b:annealed_target": 0.2}])
    assert look(path).phase == "at the target"
    written(path, [{"step": 1, "multiplier": 0.1}])
    assert look(path).phase == "under a penalty"
