"""Runs: what they leave in their folder, and how they are read, continued or trained."""

import json
import shutil
from dataclasses import replace

import pytest
from commands import RUN_FILES

from lzero.errors import StructureError
from lzero.recorder import Recorder
from lzero.reload import load_purged
from lzero_lab import models
from lzero_lab.errors import DataError
from lzero_lab.runs.folder import RunFolder
from lzero_lab.runs.run import complete
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training


def test_a_finished_run_has_all_its_files_and_nothing_else(finished):
    assert {path.name for path in finished.folder.path.iterdir()} == RUN_FILES
    assert finished.folder.finished


def test_the_purged_model_comes_back_from_its_folder(finished, data, recipe):
    model = load_purged(models.build(recipe.model, data), finished.folder.path).eval()
    purged = Training(recipe, data).load(finished.folder.checkpoint).purge().model.eval()
    assert model(data.test_x).equal(purged(data.test_x))
    wrong = (model(data.test_x).argmax(1) != data.test_y).double().mean()
    assert float(wrong) == pytest.approx(finished.summary.test_error)
    said = json.loads(finished.folder.description.read_text())
    assert (said["class"], said["certificate"]["asked"]) == ("MLP", {"params": 0.3})


def test_the_summary_agrees_with_the_certificate_and_the_architecture(finished):
    certificate, summary = finished.certificate, finished.summary
    assert summary.shipped == certificate.deployed["params"] <= 0.3
    assert summary.before_settling == certificate.before_settling["params"]
    assert summary.within_one_unit
    assert (summary.parameters, summary.parameters_before) == (certificate.parameters, 50_610)
    layers = {row["layer"]: row for row in Recorder.from_csv(finished.folder.architecture)}
    assert [layers[name]["total"] for name in ("fc1.input", "fc1", "fc2")] == [64, 300, 100]
    inputs, first, second = (layers[name]["kept"] for name in ("fc1.input", "fc1", "fc2"))
    assert inputs * first + first + first * second + second + second * 10 + 10 == summary.parameters


def test_a_finished_run_is_read_and_not_trained_again(finished, data, recipe):
    again = complete(finished.folder, recipe, data, lambda label, row: pytest.fail("trained again"))
    assert again.summary == finished.summary
    assert again.certificate == finished.certificate
    assert again.rows.rows == finished.rows.rows


def test_an_interrupted_run_goes_on_where_it_stopped(finished, data, tmp_path, recipe):
    seen = []

    def stop(label, row):
        seen.append((label, row["epoch"]))
        if len(seen) == 1:
            raise KeyboardInterrupt

    folder = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        complete(folder, recipe, data, stop, "mine")
    assert not folder.finished
    assert len(Recorder.from_csv(folder.rows)) == 1
    run = complete(folder, recipe, data, stop, "mine")
    assert seen == [("mine", 1), ("mine", 2)]
    assert [row | {"seconds": 0} for row in run.rows] == [row | {"seconds": 0} for row in finished.rows]
    assert replace(run.summary, seconds=0.0) == replace(finished.summary, seconds=0.0)


def test_a_dense_run_ships_the_model_as_it_is(data, tmp_path):
    run = complete(RunFolder(tmp_path), Recipe(method="dense", epochs=1), data)
    assert (run.summary.before_settling, run.summary.shipped, run.summary.parameters) == (1.0, 1.0, 50_610)
    assert not run.folder.architecture.exists()


def test_the_shipped_density_is_in_the_measure_of_the_recipe(data, tmp_path):
    recipe = Recipe(method="penalized", coefficient=30.0, measure="macs", epochs=3, gate_lr=1.0)
    run = complete(RunFolder(tmp_path), recipe, data)
    kept = {row["layer"]: row["kept"] for row in Recorder.from_csv(run.folder.architecture)}
    macs = 64 * kept["fc1"] + kept["fc1"] * kept["fc2"] + kept["fc2"] * 10
    assert run.summary.shipped == pytest.approx(macs / (64 * 300 + 300 * 100 + 100 * 10))
    assert run.summary.before_settling == run.summary.shipped < 1


def test_a_truncated_purged_model_is_refused(finished, data, tmp_path, recipe):
    folder = RunFolder(tmp_path)
    folder.purged.write_bytes(finished.folder.purged.read_bytes()[:500])
    folder.description.write_bytes(finished.folder.description.read_bytes())
    with pytest.raises(StructureError, match=r"model\.safetensors: expected the [0-9,]+ bytes .*damaged"):
        load_purged(models.build(recipe.model, data), folder.path)


LEFT = ("model.safetensors", "lzero.json", "rows.csv", "certificate.json", "architecture.csv", "summary.json")


@pytest.mark.parametrize("name", LEFT)
def test_what_a_finished_run_has_lost_is_made_again_from_its_checkpoint(name, finished, data, tmp_path, recipe):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(finished.folder.path, folder.path)
    (folder.path / name).unlink()
    again = complete(folder, recipe, data, lambda label, row: pytest.fail("trained again"))
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == {
        path.name: path.read_bytes() for path in finished.folder.path.iterdir()
    }
    assert again.summary == finished.summary and again.rows.rows == finished.rows.rows


def test_what_cannot_be_made_again_is_said(finished, data, tmp_path, recipe):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(finished.folder.path, folder.path)
    for path in (folder.checkpoint, folder.purged, folder.rows):
        path.unlink()
    message = r"without rows\.csv, model\.safetensors, and without checkpoint\.pt to make that from; put it back"
    with pytest.raises(DataError, match=message):
        complete(folder, recipe, data)
    assert folder.summary.is_file()


def test_a_finished_dense_run_lacks_no_architecture(data, tmp_path):
    recipe = Recipe(method="dense", epochs=1)
    folder = complete(RunFolder(tmp_path), recipe, data).folder
    folder.checkpoint.unlink()
    assert complete(folder, recipe, data).folder.lost(recipe) == []
