"""The row of a training: what was asked, what was shipped, and which gates are left to count."""

import itertools
from dataclasses import replace

import pytest

from lzero_lab.studies.cell import Cell, train_cell
from lzero_lab.studies.row import device_name, gate_bins, of_recipe, without_bins
from lzero_lab.training.recipe import Recipe


def test_a_row_says_what_was_asked_and_what_was_shipped():
    row, _ = train_cell(Cell("digits", Recipe(target=0.5, steps=12, batch_size=64)))
    assert row["asked"] == 0.5 and row["steps"] == 12 and row["within_one_unit"] == 1
    assert 0 <= row["slack"] == pytest.approx(0.5 - row["shipped"], abs=1e-12)
    assert row["shipped_params"] == row["shipped"] and row["device"] == "cpu"
    assert len(str(row["gates"]).split()) == 20
    assert sum(map(int, str(row["gates"]).split())) == sum(int(part.split("/")[1]) for part in str(row["kept"]).split())
    kept = [part.split("=")[1].split("/") for part in str(row["kept"]).split()]
    widths = [int(open_) for open_, _ in kept]
    inputs, classes = 64, 10
    sizes = [inputs, *widths, classes]
    assert round(row["shipped"] * 50_610) == sum((a + 1) * b for a, b in itertools.pairwise(sizes))


@pytest.mark.parametrize(
    ("recipe", "share"),
    [
        (Recipe(method="same_size", target=0.3), 0.3),
        (Recipe(method="same_size", target=0.3, measure="macs"), 0.3),
        (Recipe(method="dense"), 1),
    ],
)
def test_a_network_without_gates_ships_its_share_of_the_whole_one_in_the_measure_asked_for(recipe, share):
    row, _ = train_cell(Cell("digits", replace(recipe, steps=3)))
    assert 0.85 * share < row["shipped"] == row["before_settling"] == row[f"shipped_{recipe.measure}"] <= share
    assert all(0.8 * share < row[f"shipped_{measure}"] <= 1.05 * share for measure in ("params", "macs"))


def test_the_bins_of_an_epoch_are_one_text_in_their_order_or_left_out():
    epoch = {"p_0.50": 2, "loss": 0.5, "p_0.00": 7}
    assert gate_bins(epoch) == "7 2" and without_bins(epoch) == {"loss": 0.5}


def test_targets_and_coefficients_by_layer_are_one_text():
    row = of_recipe(Recipe(method="penalized", coefficient={"fc1": 0.3}, scope={"fc1": 0.5}))
    assert (row["coefficient"], row["scope"]) == ('{"fc1": 0.3}', '{"fc1": 0.5}') and "asked" not in row
    assert device_name("cpu") == "cpu"
