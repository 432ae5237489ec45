"""Studies: a row a training, finished ones never repeated, failures told."""

import itertools
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lzero.experiments.cells import Cell, run_cell, run_cells
from lzero.experiments.recipe import Recipe
from lzero.recorder import Recorder

TINY = Cell("digits", Recipe(target=0.5, steps=12, batch_size=64))


def test_a_row_says_what_was_asked_and_what_was_shipped():
    row = run_cell(TINY)
    assert row["asked"] == 0.5 and row["steps"] == 12 and row["exhausted"] == 1
    assert 0 <= row["slack"] == pytest.approx(0.5 - row["shipped"], abs=1e-12)
    assert row["shipped_params"] == row["shipped"]
    kept = [part.split("=")[1].split("/") for part in str(row["kept"]).split()]
    widths = [int(open_) for open_, _ in kept]
    inputs, classes = 64, 10
    sizes = [inputs, *widths, classes]
    assert round(row["shipped"] * 50_610) == sum((a + 1) * b for a, b in itertools.pairwise(sizes))


def test_a_training_that_cannot_be_done_is_a_row_with_its_reason():
    row = run_cell(Cell("digits", Recipe(target=1e-6, steps=3)))
    assert "cannot be met" in row["problem"] and "trained" not in row


def test_finished_cells_are_read_and_the_others_trained(tmp_path):
    path = tmp_path / "study.csv"
    before = Recorder()
    before.append(cell=TINY.key, shipped=0.123)
    before.to_csv(path)
    other = Cell("digits", Recipe(target=0.5, steps=12, batch_size=64, seed=1))
    seen = []
    rows = run_cells([TINY, other], path, progress=seen.append).rows
    assert [row["cell"] for row in rows] == [TINY.key, other.key] and rows[0]["shipped"] == 0.123
    assert [row["cell"] for row in seen] == [other.key]
    assert Recorder.from_csv(path).rows == rows


def test_a_key_names_what_is_not_a_default():
    assert TINY.key == 'digits {"batch_size": 64, "steps": 12, "target": 0.5}'
    assert Cell("mnist", TINY.recipe, "/somewhere").key == Cell("mnist", TINY.recipe, "/elsewhere").key


KILLED = """
from lzero.experiments.cells import Cell, run_cells
from lzero.experiments.recipe import Recipe
if __name__ == "__main__":
    run_cells([Cell("digits", Recipe(target=0.5, epochs=100_000))], "cells.csv", folder=".")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads the children of a process from /proc")
def test_a_study_that_is_killed_leaves_no_worker_behind(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    study = subprocess.Popen([sys.executable, "killed.py"], cwd=tmp_path)
    wait_for(lambda: list(tmp_path.glob("*.pt")))
    workers = Path(f"/proc/{study.pid}/task/{study.pid}/children").read_text().split()
    study.kill()
    study.wait()
    assert workers
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def wait_for(condition, seconds=120):
    for _ in range(10 * seconds):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")
