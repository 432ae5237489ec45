"""One cell: its key, its row, its training from checkpoint to checkpoint."""

import itertools
from dataclasses import replace

import pytest

from lzero_lab.studies.cell import Cell, run_cell
from lzero_lab.training.recipe import Recipe

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


def test_a_key_names_what_is_not_a_default():
    assert TINY.key == 'digits {"batch_size": 64, "steps": 12, "target": 0.5}'
    assert Cell("mnist", TINY.recipe, "/somewhere").key == Cell("mnist", TINY.recipe, "/elsewhere").key


@pytest.mark.parametrize(
    ("recipe", "share"), [(Recipe(method="same_size", target=0.3), 0.3), (Recipe(method="dense"), 1)]
)
def test_a_network_without_gates_ships_its_share_of_the_whole_one(recipe, share, data):
    row = run_cell(Cell("digits", replace(recipe, steps=3)))
    assert 0.85 * share < row["shipped_params"] == row["shipped"] <= share
    assert 0.8 * share < row["shipped_macs"] <= 1.05 * share
