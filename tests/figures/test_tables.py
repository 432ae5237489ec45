"""The committed tables are what their scripts make of the committed rows, and the rows keep what the page promises."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from lzero.recorder import Recorder
from lzero_lab.studies.report import finished, remarks, said, table
from lzero_lab.studies.study import Study

FIGURES = Path(__file__).parents[2] / "figures"


def script(name):
    spec = importlib.util.spec_from_file_location(name, FIGURES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["mnist_control", "mnist_cost", "norm_fill", "block_gates", "front_batchnorm", "deterministic", "pace"]
)
def test_a_table_is_what_its_rows_say(name):
    rows = Recorder.from_csv(FIGURES / f"{name}.csv").rows
    assert (FIGURES / f"{name}.md").read_text(encoding="utf-8") == script(name).table(rows)


def study_of(name):
    study = Study.read("cifar" if name == "cifar" else "mnist")
    return replace(study, data="fashion-mnist") if "fashion" in name else study


@pytest.mark.parametrize("name", ["study", "study-fashion", "cifar"])
def test_the_table_of_a_study_is_what_its_rows_say(name):
    folder, study = FIGURES / name, study_of(name)
    rows = finished(folder, study)
    made = table(rows, said(rows, study), remarks(folder, study))
    assert (folder / "table.md").read_text(encoding="utf-8") == made


def test_the_plane_of_two_budgets_is_what_the_rows_of_the_study_say():
    plane = script("plane")
    rows = [row for row in finished(FIGURES / "study", study_of("study")) if row["model"] == "lenet5"]
    assert (FIGURES / "plane.md").read_text(encoding="utf-8") == plane.page(rows, plane.means(rows))


def test_every_gated_training_of_the_study_ships_at_or_below_its_budget():
    rows = [
        row for row in finished(FIGURES / "study", study_of("study")) if row["method"] not in ("dense", "same_size")
    ]
    assert len(rows) > 40 and all(row["asked"] - row["shipped"] >= 0 and row["within_one_unit"] for row in rows)


def test_the_table_of_the_front_is_what_its_rows_say_and_every_model_meets_its_budget():
    front = script("front")
    rows = front.everything()
    assert (FIGURES / "front.md").read_text(encoding="utf-8") == front.table(rows)
    assert all(row["asked"] - row["shipped"] >= 0 for row in rows)
    trained = [row for row in rows if row["way"] != "cut"]
    assert len(trained) >= 32 and all(row["within_one_unit"] for row in trained)


def test_every_choice_that_is_told_of_was_trained():
    tuning = script("tuning")
    trained = set(Recorder.from_csv(FIGURES / "tuning.csv").column("cell"))
    assert {tuning.Cell("mnist", tuning.Recipe(**recipe)).key for recipe in tuning.RECIPES} == trained
