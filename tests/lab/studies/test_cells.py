"""Studies: a row a training, finished ones never repeated, failures told."""

import errno
import itertools
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from inline import Inline

from lzero.errors import BudgetError, LzeroWarning, RecordError
from lzero.recorder import Recorder
from lzero_lab.datasets import load
from lzero_lab.errors import DataError
from lzero_lab.studies import cell as cell_module
from lzero_lab.studies import workers
from lzero_lab.studies.cell import Cell, train_cell
from lzero_lab.studies.cells import EPOCHS, CellTable, run_cells
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training

TINY = Cell("digits", Recipe(target=0.5, steps=12, batch_size=64))


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


@pytest.fixture
def inline(monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)


@pytest.mark.usefixtures("inline")
def test_a_failed_training_is_tried_again_and_its_row_replaced(tmp_path, monkeypatch):
    path = tmp_path / "cells.csv"
    with monkeypatch.context() as patch:
        patch.setattr(cell_module, "ship", lambda _: (_ for _ in ()).throw(BudgetError("not today")))
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
    expected, _ = train_cell(TINY)
    checkpoint = tmp_path / f"{TINY.file_name}.pt"
    Training(TINY.recipe, load("digits")).save(checkpoint)
    if damage == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    else:
        state = torch.load(checkpoint, weights_only=True)
        torch.save(state | {"epoch": 1, "model": {"other": torch.zeros(1)}}, checkpoint)
    damaged = checkpoint.read_bytes()
    with pytest.warns(LzeroWarning, match=rf"{checkpoint.name}: .*; it is set aside as {checkpoint.name}\.damaged1"):
        (row,) = run_cells([TINY], tmp_path / "cells.csv", folder=tmp_path).rows
    assert row | {"seconds": 0} == expected | {"seconds": 0}
    assert [path.read_bytes() for path in tmp_path.glob("*.damaged*")] == [damaged]


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    ("where", "problem", "raised"),
    [
        ("read", PermissionError(errno.EACCES, "Permission denied"), None),
        ("read", OSError(errno.EMFILE, "Too many open files"), None),
        ("read", MemoryError("no memory"), MemoryError),
        ("load", RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError),
    ],
)
def test_a_checkpoint_that_cannot_be_read_today_stays_and_is_continued_tomorrow(
    tmp_path, monkeypatch, where, problem, raised
):
    cell = Cell("digits", Recipe(target=0.5, epochs=2, batch_size=256))
    expected, _ = train_cell(cell)
    training = Training(cell.recipe, load("digits"))
    training.run_epoch()
    training.save(tmp_path / f"{cell.file_name}.pt")
    content = (tmp_path / f"{cell.file_name}.pt").read_bytes()

    def fails(*_, **__):
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "read_bytes") if where == "read" else (torch, "load")), fails)
        with pytest.raises(raised) if raised else nullcontext():
            (row,) = run_cells([cell], tmp_path / "cells.csv", folder=tmp_path).rows
            assert str(problem.strerror) in row["problem"]
    assert (tmp_path / f"{cell.file_name}.pt").read_bytes() == content
    (row,) = run_cells([cell], tmp_path / "cells.csv", folder=tmp_path).rows
    assert row | {"seconds": 0} == expected | {"seconds": 0} and not list(tmp_path.glob("*.pt*"))


@pytest.mark.usefixtures("inline")
def test_a_second_damaged_checkpoint_does_not_take_the_place_of_the_first(tmp_path):
    for number in (1, 2):
        (tmp_path / f"{TINY.file_name}.pt").write_text(f"damaged {number}")
        with pytest.warns(LzeroWarning, match=f"damaged{number}"):
            run_cells([TINY], tmp_path / f"{number}.csv", folder=tmp_path)
    assert sorted(path.read_text() for path in tmp_path.glob("*.damaged*")) == ["damaged 1", "damaged 2"]


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
        run_cells([TINY, other], tmp_path / "cells.csv", workers=2, progress=interrupt)
    assert {row["cell"] for row in Recorder.from_csv(tmp_path / "cells.csv")} == {TINY.key, other.key}


@pytest.mark.usefixtures("inline")
def test_a_worker_that_is_to_stop_begins_no_further_epoch(tmp_path, monkeypatch):
    cell = Cell("digits", Recipe(target=0.5, epochs=3))
    stop = threading.Event()
    monkeypatch.setattr(workers, "_stop", stop.is_set)
    run_epoch = Training.run_epoch

    def interrupted(training):
        stop.set()
        return run_epoch(training)

    monkeypatch.setattr(Training, "run_epoch", interrupted)
    assert run_cells([cell], tmp_path / "cells.csv", folder=tmp_path).rows == []
    assert Training(cell.recipe, load("digits")).load(*tmp_path.glob("*.pt")).epoch == 1


def test_a_study_that_was_killed_goes_on_from_its_last_epoch(tmp_path, monkeypatch):
    cell = Cell("digits", Recipe(target=0.5, steps=40, batch_size=128))
    whole = run_cells([cell], tmp_path / "whole.csv").rows[0]

    now = itertools.count(step=1800)  # half an hour a look at the clock: time for one epoch
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(cell_module.time, "time", lambda: float(next(now)))
    rows = run_cells([cell], tmp_path / "cells.csv", folder=tmp_path, hours=1.1).rows
    assert rows == [] and len(list(tmp_path.glob("*.pt"))) == 1
    while not rows:
        rows = run_cells([cell], tmp_path / "cells.csv", folder=tmp_path, hours=1.1).rows
    timed = {"seconds"}
    assert {k: v for k, v in rows[0].items() if k not in timed} == {k: v for k, v in whole.items() if k not in timed}
    assert not list(tmp_path.glob("*.pt"))
    epochs = Recorder.from_csv(tmp_path / EPOCHS).rows
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4, 5] and {row["cell"] for row in epochs} == {cell.key}
    assert "p_00" not in epochs[0] and 0 < epochs[-1]["deployed"] <= 1


def test_a_table_keeps_one_row_a_cell_and_says_what_is_unfinished(tmp_path):
    other = Cell("digits", Recipe(target=0.5, seed=1))
    table = CellTable(tmp_path / "cells.csv", tmp_path)
    assert table.unfinished([TINY, other, TINY]) == [TINY, other]
    checkpoint = tmp_path / f"{TINY.file_name}.pt"
    checkpoint.touch()
    table.keep({"cell": TINY.key, "problem": "not today"}, [{"epoch": 1, "loss": 0.5, "p_00": 3}])
    assert table.unfinished([TINY, other]) == [TINY, other] and checkpoint.exists()
    table.keep({"cell": other.key, "shipped": 0.5})
    table.keep({"cell": TINY.key, "shipped": 0.4}, [{"epoch": 1, "loss": 0.25, "p_00": 3}])
    assert table.unfinished([TINY, other]) == [] and not checkpoint.exists()
    rows = [{"cell": other.key, "shipped": 0.5}, {"cell": TINY.key, "shipped": 0.4}]
    assert table.rows.rows == rows == CellTable(tmp_path / "cells.csv").rows.rows
    assert Recorder.from_csv(tmp_path / EPOCHS).rows == [{"cell": TINY.key, "epoch": 1, "loss": 0.25}]


def test_a_file_that_is_no_table_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "cells.csv").write_text("a,b\n1\n")
    with pytest.raises(RecordError, match="expected 2 cells as in the header, found 1"):
        run_cells([TINY], tmp_path / "cells.csv")


DENSE = Cell("digits", Recipe(method="dense", steps=12, batch_size=64), labels=(("label", "d"),), begins_others=True)
LATER = Cell("digits", Recipe(target=0.5, steps=3, batch_size=64, start=DENSE.file_name, distil=0.5))


@pytest.mark.usefixtures("inline")
def test_a_training_begins_with_the_network_of_another_one_once_that_is_finished(tmp_path):
    rows = run_cells([LATER, DENSE], tmp_path / "cells.csv", folder=tmp_path).rows
    assert [row["cell"] for row in rows] == [DENSE.key, LATER.key]
    weights = torch.load(tmp_path / f"{DENSE.file_name}-weights.pt", weights_only=True)
    dense, later = (Training(cell.recipe, load("digits"), start) for cell, start in ((DENSE, None), (LATER, weights)))
    dense.run()
    assert all(weights[name].equal(value) for name, value in dense.model.state_dict().items())
    assert later.run().recorder.rows[-1]["error"] == pytest.approx(
        Recorder.from_csv(tmp_path / EPOCHS).rows[-1]["error"]
    )
    with pytest.raises(DataError, match=r"the weights that it begins with are not in .*; train what leaves them too"):
        run_cells([LATER], tmp_path / "other.csv", folder=tmp_path / "other")
    path = tmp_path / f"{DENSE.file_name}-weights.pt"
    path.unlink()
    table = Recorder()
    table.append(cell=DENSE.key, error=0.1)
    table.to_csv(tmp_path / "third.csv")
    again = run_cells([LATER, DENSE], tmp_path / "third.csv", folder=tmp_path).rows  # its weights are lost
    assert [row["cell"] for row in again] == [DENSE.key, LATER.key] and path.exists()
    assert [row["error"] for row in again] == [row["error"] for row in rows]
