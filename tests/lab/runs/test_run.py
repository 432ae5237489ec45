"""Run folders: what they hold, whom they refuse, and runs that are read, continued or trained."""

import json
import shutil
from dataclasses import replace

import pytest
from commands import RUN_FILES

from lzero.errors import StructureError
from lzero.recorder import Recorder
from lzero.reload import load_purged
from lzero_lab import models
from lzero_lab.errors import DamagedError, DataError
from lzero_lab.lock import LOCK
from lzero_lab.runs.run import RunFolder, complete
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training

RECIPE = Recipe(target=0.3, epochs=2, granularity="input")


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    with RunFolder(tmp_path_factory.mktemp("run")).claim({"epochs": 2}) as folder:
        return complete(folder, RECIPE, data)


def test_a_finished_run_has_all_its_files_and_nothing_else(finished):
    assert {path.name for path in finished.folder.path.iterdir()} == RUN_FILES
    assert finished.folder.finished


def test_the_purged_model_comes_back_from_its_folder(finished, data):
    model = load_purged(models.build(RECIPE.model, data), finished.folder.path).eval()
    purged = Training(RECIPE, data).load(finished.folder.checkpoint).purge().model.eval()
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


def test_a_finished_run_is_read_and_not_trained_again(finished, data):
    again = complete(finished.folder, RECIPE, data, lambda label, row: pytest.fail("trained again"))
    assert again.summary == finished.summary
    assert again.certificate == finished.certificate
    assert again.rows.rows == finished.rows.rows


def test_an_interrupted_run_goes_on_where_it_stopped(finished, data, tmp_path):
    seen = []

    def stop(label, row):
        seen.append((label, row["epoch"]))
        if len(seen) == 1:
            raise KeyboardInterrupt

    folder = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        complete(folder, RECIPE, data, stop, "mine")
    assert not folder.finished
    assert len(Recorder.from_csv(folder.rows)) == 1
    run = complete(folder, RECIPE, data, stop, "mine")
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


def test_a_free_folder_is_claimed_also_after_an_attempt_that_wrote_nothing(tmp_path):
    with RunFolder(tmp_path / "new").claim({"epochs": 2}) as folder:
        assert folder.read_config() == {"epochs": 2}
    with folder.claim({"epochs": 3}):
        assert folder.read_config() == {"epochs": 3}


@pytest.mark.parametrize(
    ("config", "resume", "message"),
    [
        ({"recipe": {"epochs": 3}}, True, "holds a run with epochs 2 and not 3; choose another folder"),
        ({"recipe": {"epochs": 3}}, False, r"epochs 2 and not 3; choose another folder \(--out\), or delete this one"),
        ({"recipe": {"epochs": 2}, "grid": [1]}, True, r"grid null and not \[1\]"),
        ({"recipe": {"epochs": 2}}, False, "holds this run already; continue it with --resume, or choose"),
    ],
)
def test_a_folder_that_holds_a_run_is_refused(config, resume, message, tmp_path):
    with RunFolder(tmp_path).claim({"recipe": {"epochs": 2}}) as folder:
        folder.rows.write_text("epoch\n1\n")
    with pytest.raises(DataError, match=message), folder.claim(config, resume=resume):
        pass
    assert folder.read_config() == {"recipe": {"epochs": 2}}
    with folder.claim({"recipe": {"epochs": 2}}, resume=True) as same:
        assert same is folder


def test_a_folder_of_other_files_and_a_file_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    mine = RunFolder(tmp_path).claim({}, resume=True)
    with pytest.raises(DataError, match="holds files but no run; choose another folder"), mine:
        pass
    with pytest.raises(DataError, match=r"notes\.txt: is a file; choose another folder"):
        RunFolder(tmp_path / "notes.txt").claim({}).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_truncated_purged_model_is_refused(finished, data, tmp_path):
    folder = RunFolder(tmp_path)
    folder.purged.write_bytes(finished.folder.purged.read_bytes()[:500])
    folder.description.write_bytes(finished.folder.description.read_bytes())
    with pytest.raises(StructureError, match=r"model\.safetensors: expected the [0-9,]+ bytes .*damaged"):
        load_purged(models.build(RECIPE.model, data), folder.path)


def test_a_folder_in_which_the_first_write_was_killed_is_free(tmp_path):
    (tmp_path / ".config.0123456789abcdef.json").write_text('{"epo')
    (tmp_path / LOCK).write_text("process 1 on a machine that is no more")
    with RunFolder(tmp_path).claim({"epochs": 2}) as folder:
        assert {path.name for path in tmp_path.iterdir()} == {"config.json", LOCK}
    assert folder.read_config() == {"epochs": 2} and not (tmp_path / LOCK).exists()


LEFT = ("model.safetensors", "lzero.json", "rows.csv", "certificate.json", "architecture.csv", "summary.json")


@pytest.mark.parametrize("name", LEFT)
def test_what_a_finished_run_has_lost_is_made_again_from_its_checkpoint(name, finished, data, tmp_path):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(finished.folder.path, folder.path)
    (folder.path / name).unlink()
    again = complete(folder, RECIPE, data, lambda label, row: pytest.fail("trained again"))
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == {
        path.name: path.read_bytes() for path in finished.folder.path.iterdir()
    }
    assert again.summary == finished.summary and again.rows.rows == finished.rows.rows


def test_what_cannot_be_made_again_is_said(finished, data, tmp_path):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(finished.folder.path, folder.path)
    for path in (folder.checkpoint, folder.purged, folder.rows):
        path.unlink()
    message = r"without rows\.csv, model\.safetensors, and without checkpoint\.pt to make that from; put it back"
    with pytest.raises(DataError, match=message):
        complete(folder, RECIPE, data)
    assert folder.summary.is_file()


def test_a_finished_dense_run_lacks_no_architecture(data, tmp_path):
    recipe = Recipe(method="dense", epochs=1)
    folder = complete(RunFolder(tmp_path), recipe, data).folder
    folder.checkpoint.unlink()
    assert complete(folder, recipe, data).folder.lost(recipe) == []


@pytest.mark.parametrize("name", ["asked", "expected", "before_settling", "deployed", "threshold", "moved", "warnings"])
@pytest.mark.parametrize("value", [None, "text", [1], {"params": "much"}, {"other": 0.5}, [[]]], ids=str)
def test_a_certificate_of_another_shape_is_refused(name, value, finished, tmp_path):
    folder = RunFolder(tmp_path)
    values = json.loads(finished.folder.certificate.read_text())
    folder.certificate.write_text(json.dumps(values | {name: value}))
    if name == "warnings" and isinstance(value, list):
        assert all(isinstance(text, str) for text in folder.read_certificate().warnings)
        return
    with pytest.raises(DamagedError, match=r"certificate\.json: .*; write it anew with lzero purge"):
        folder.read_certificate()


def test_a_run_of_several_processes_is_not_continued_by_another_number(tmp_path):
    for began, asked, words in (
        ({"processes": 2}, {}, "processes 2 and not 1"),
        ({}, {"processes": 3}, "processes 1 and not 3"),
    ):
        folder = RunFolder(tmp_path / words)
        with folder.claim(began):
            folder.checkpoint.write_bytes(b"")
        with pytest.raises(DataError, match=words), folder.claim(asked, resume=True):
            pass
        with folder.claim(began, resume=True):
            pass
