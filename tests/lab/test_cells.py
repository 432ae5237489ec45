"""Studies: a row a training, finished ones never repeated, failures told."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch
from inline import Inline

from lzero.errors import BudgetError, LzeroError
from lzero.recorder import Recorder
from lzero_lab import cells, workers
from lzero_lab.cells import EPOCHS, Cell, run_cell, run_cells
from lzero_lab.datasets import load
from lzero_lab.recipe import Recipe
from lzero_lab.training import Training

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


@pytest.fixture
def inline(monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)


@pytest.mark.usefixtures("inline")
def test_a_failed_training_is_tried_again_and_its_row_replaced(tmp_path, monkeypatch):
    path = tmp_path / "cells.csv"
    with monkeypatch.context() as patch:
        patch.setattr(cells, "ship", lambda _: (_ for _ in ()).throw(BudgetError("not today")))
        (row,) = run_cells([TINY], path, folder=tmp_path).rows
    assert row["problem"] == "not today"
    trained = []
    monkeypatch.setattr(Training, "run_epoch", lambda self: trained.append(self.step))
    (row,) = run_cells([TINY], path, folder=tmp_path).rows
    assert "problem" not in row and row["steps"] == 12 and not trained  # from its last epoch, which was kept
    assert Recorder.from_csv(path).rows == [row] and not list(tmp_path.glob("*.pt"))


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("damage", ["truncated", "foreign"])
def test_a_training_whose_checkpoint_cannot_be_loaded_begins_anew(tmp_path, damage):
    expected = run_cell(TINY)
    checkpoint = tmp_path / cells._checkpoint_name(TINY.key)
    Training(TINY.recipe, load("digits")).save(checkpoint)
    if damage == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    else:
        state = torch.load(checkpoint, weights_only=True)
        torch.save(state | {"epoch": 1, "model": {"other": torch.zeros(1)}}, checkpoint)
    (row,) = run_cells([TINY], tmp_path / "cells.csv", folder=tmp_path).rows
    assert row | {"seconds": 0} == expected | {"seconds": 0}


@pytest.mark.usefixtures("inline")
def test_a_crash_between_the_two_files_repeats_no_epoch(tmp_path, monkeypatch):
    def crash(recorder, path):
        if Path(path).name == "cells.csv":
            raise OSError("no space")
        to_csv(recorder, path)

    to_csv = Recorder.to_csv
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "to_csv", crash)
        with pytest.raises(OSError, match="no space"):
            run_cells([TINY], tmp_path / "cells.csv", folder=tmp_path)
    run_cells([TINY], tmp_path / "cells.csv", folder=tmp_path)
    assert [row["epoch"] for row in Recorder.from_csv(tmp_path / EPOCHS)] == [1]


@pytest.mark.usefixtures("inline")
def test_an_interrupted_study_has_every_row_that_is_finished(tmp_path):
    other = Cell("digits", Recipe(target=0.5, steps=12, batch_size=64, seed=1))
    seen = []

    def interrupt(row):
        seen.append(row)
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells([TINY, other], tmp_path / "cells.csv", progress=interrupt)
    assert {row["cell"] for row in Recorder.from_csv(tmp_path / "cells.csv")} == {TINY.key, other.key}


@pytest.mark.usefixtures("inline")
def test_a_worker_that_is_to_stop_begins_no_further_epoch(tmp_path, monkeypatch):
    cell = Cell("digits", Recipe(target=0.5, epochs=3))
    monkeypatch.setattr(workers, "_stop", threading.Event())
    run_epoch = Training.run_epoch

    def interrupted(training):
        workers._stop.set()
        return run_epoch(training)

    monkeypatch.setattr(Training, "run_epoch", interrupted)
    assert run_cells([cell], tmp_path / "cells.csv", folder=tmp_path).rows == []
    assert Training(cell.recipe, load("digits")).load(*tmp_path.glob("*.pt")).epoch == 1


def test_a_worker_that_was_killed_is_said_in_one_line_and_what_is_finished_is_kept(monkeypatch):
    class Broken(Inline):
        def submit(self, function, *arguments):
            future = super().submit(function, *arguments)
            if arguments == (2,):
                future = Future()
                future.set_exception(BrokenProcessPool("a child process terminated abruptly"))
            return future

    kept = []
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Broken)
    with pytest.raises(LzeroError, match=r"a worker was killed.* run this again, with fewer workers"):
        workers.work(abs, [(1,), (2,), (-3,)], kept.append, 2)
    assert sorted(kept) == [1, 3]


KILLED = """
from lzero_lab.cells import Cell, run_cells
from lzero_lab.recipe import Recipe
if __name__ == "__main__":
    run_cells([Cell("digits", Recipe(target=0.5, epochs=100_000))], "cells.csv", folder=".")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads the children of a process from /proc")
def test_a_study_that_is_killed_leaves_no_worker_behind(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    study = subprocess.Popen([sys.executable, "killed.py"], cwd=tmp_path)
    wait_for(lambda: list(tmp_path.glob("*.pt")))
    left = children(study)
    study.kill()
    study.wait()
    assert left
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in left))


STUDY = """
data = "digits"
seeds = [0, 1]
budgets.half = { target = 0.5 }
networks.mlp = { epochs = 100_000 }
methods.constrained = {}
"""
COMMAND = "import sys; from lzero_lab.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads the children of a process from /proc")
@pytest.mark.parametrize("at_once", [True, False])
def test_ctrl_c_ends_a_study_after_its_epoch_and_a_killed_worker_is_one_line(tmp_path, at_once):
    (tmp_path / "study.toml").write_text(STUDY)
    command = [sys.executable, "-c", COMMAND, "study", "study.toml", "--out", ".", "--workers", "2", "--device", "cpu"]

    def begin():
        study = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
        wait_for(lambda: len(children(study)) == 3)  # two workers, and what Python frees their semaphore with
        return study

    study = begin()
    if not at_once:
        wait_for(lambda: len(list(tmp_path.glob("*.pt"))) == 2)
    os.killpg(study.pid, signal.SIGINT)
    _, said = study.communicate(timeout=120)
    assert study.returncode == 130 and said == "lzero: interrupted; run the command again\n"
    assert len(list(tmp_path.glob("*.pt"))) == (0 if at_once else 2)
    if not at_once:
        study = begin()
        os.kill(int(children(study)[-1]), signal.SIGKILL)
        _, said = study.communicate(timeout=120)
        assert study.returncode == 1 and said.startswith("lzero: error: a worker was killed") and said.count("\n") == 1
        assert len(list(tmp_path.glob("*.pt"))) == 2


def children(process):
    """The numbers of its processes, in the order in which they began."""
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def wait_for(condition, seconds=120):
    for _ in range(10 * seconds):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")
