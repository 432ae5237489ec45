"""Studies: a row a training, finished ones never repeated, failures told."""

import itertools

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
