"""Sweeps: a row a cell, continued where they stopped."""

from dataclasses import replace

import pytest

from lzero.recorder import Recorder
from lzero_lab.runs.sweep import sweep
from lzero_lab.training.recipe import Recipe

RECIPE = Recipe(epochs=2, batch_size=64, gate_lr=0.2)
CELLS = {"targets": [0.2, 0.6], "seeds": [0, 1], "measures": ["params", "macs"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def rows(data, folder):
    return sweep(RECIPE, data, folder, **CELLS)


def test_every_cell_has_a_row_that_keeps_to_its_budget(rows, folder):
    cells = [(row["measure"], row["asked"], row["seed"]) for row in rows]
    assert cells == [(m, t, s) for m in CELLS["measures"] for t in CELLS["targets"] for s in CELLS["seeds"]]
    assert all(0 <= row["asked"] - row["shipped"] < 0.01 for row in rows)
    assert all(row["within_one_unit"] == 1 for row in rows)
    assert {row["method"] for row in rows} == {"constrained, params", "constrained, macs"}
    assert Recorder.from_csv(folder / "sweep.csv").rows == rows.rows


def test_finished_cells_are_not_trained_again(rows, data, folder):
    seen = []
    lost = folder / "macs-0.6-seed1"
    for name in ("summary.json", "checkpoint.pt"):
        (lost / name).unlink()
    again = sweep(RECIPE, data, folder, **CELLS, on_epoch=lambda label, row: seen.append((label, row["epoch"])))
    assert seen == [("macs 0.6, seed 1", 1), ("macs 0.6, seed 1", 2)]
    assert [row | {"seconds": 0} for row in again] == [row | {"seconds": 0} for row in rows]


def test_an_interrupted_sweep_leaves_the_rows_so_far(data, tmp_path):
    def stop(label, row):
        if label == "params 0.6, seed 0":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(RECIPE, data, tmp_path, targets=[0.2, 0.6], on_epoch=stop)
    assert Recorder.from_csv(tmp_path / "sweep.csv").column("asked") == [0.2]


def test_with_a_budget_for_every_layer_the_densest_one_is_reported(data, tmp_path):
    rows = sweep(replace(RECIPE, scope="layer"), data, tmp_path, targets=[0.3])
    (row,) = rows.rows
    assert row["shipped"] <= 0.3
    assert row["within_one_unit"] == 1
