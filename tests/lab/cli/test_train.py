"""`lzero train`: a whole run, resumed where it was interrupted, in a folder of its own."""

import json
import re
import shlex
import shutil

import pytest
from commands import FAST, RUN_FILES, TRAIN, error_line, names
from killing import content
from safetensors.torch import load_file

from lzero.recorder import Recorder
from lzero_lab.cli import main
from lzero_lab.training.training import Training


def test_train_writes_a_whole_run(trained):
    assert names(trained) == RUN_FILES | {"dynamics.png", "architecture.png", "histogram.png"}
    assert len(Recorder.from_csv(trained / "rows.csv")) == 2
    assert json.loads((trained / "certificate.json").read_text())["deployed"]["params"] <= 0.3


def test_train_ends_in_a_table_a_certificate_and_the_path_of_the_figure(trained, capsys):
    assert main([*TRAIN, "--out", str(trained), "--resume"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("trainings", "seconds", "asked", "shipped", "test error"))
    assert "params: asked 30.00%, shipped 29." in text
    assert f"figure: {trained / 'dynamics.png'}\n" in text


def test_a_budget_for_each_named_layer_has_its_own_row(tmp_path, capsys):
    arguments = ["train", "--scope", "fc1=0.3,fc2=0.5", "--measure", "macs", *FAST, "--epochs", "1"]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert re.search(r"macs/fc1 .* 30\.00%", text)
    assert re.search(r"macs/fc2 .* 50\.00%", text)


def test_a_further_budget_is_met_beside_the_target(tmp_path, capsys):
    arguments = ["train", "--target", "0.4", "--also", "gates=0.3", *FAST, "--epochs", "1"]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 0
    certificate = json.loads((tmp_path / "run" / "certificate.json").read_text())
    assert certificate["asked"] == {"params": 0.4, "gates": 0.3}
    assert certificate["deployed"]["params"] <= 0.4 and certificate["deployed"]["gates"] <= 0.3
    assert re.search(r"gates .* 30\.00%", capsys.readouterr().out)


@pytest.mark.parametrize("kind", [["--dense"], ["--penalty", "0.5"]], ids=["dense", "penalty"])
def test_train_also_has_the_baselines(kind, tmp_path, capsys):
    assert main(["train", *kind, *FAST, "--epochs", "1", "--out", str(tmp_path / "run")]) == 0
    assert "dynamics.png" in names(tmp_path / "run")
    assert ("histogram.png" in names(tmp_path / "run")) == (kind != ["--dense"])
    assert kind[0].removeprefix("--")[:5] in capsys.readouterr().out


def test_an_interrupted_training_says_how_to_go_on_and_ends_as_if_uninterrupted(trained, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "a run"  # with a space, to be quoted
    run_epoch = Training.run_epoch

    def interrupted(training):
        if training.epoch == 1:
            raise KeyboardInterrupt
        return run_epoch(training)

    monkeypatch.setattr(Training, "run_epoch", interrupted)
    assert main([*TRAIN, "--out", str(folder)]) == 130
    monkeypatch.undo()
    line = error_line(capsys)
    assert line.startswith("lzero: interrupted; finished epochs are saved; continue with: lzero train ")
    assert names(folder) == {"config.json", "rows.csv", "checkpoint.pt"}

    assert main(shlex.split(line.partition("continue with: lzero ")[2])) == 0
    assert Training.run_epoch is run_epoch
    rows = [Recorder.from_csv(path / "rows.csv") for path in (folder, trained)]
    assert [row | {"seconds": 0} for row in rows[0]] == [row | {"seconds": 0} for row in rows[1]]
    states = [load_file(path / "model.safetensors") for path in (folder, trained)]
    assert all(tensor.equal(states[1][name]) for name, tensor in states[0].items())


def test_a_folder_with_another_run_is_refused(trained, capsys):
    assert main([*TRAIN, "--lr", "0.01", "--out", str(trained)]) == 1
    assert error_line(capsys) == (
        f"lzero: error: {trained}: holds a run with lr 0.0007 and not 0.01; choose another folder (--out), "
        "or delete this one"
    )
    assert main([*TRAIN, "--out", str(trained)]) == 1
    assert "holds this run already; continue it with --resume" in error_line(capsys)


def test_resume_starts_a_run_that_was_never_begun(tmp_path):
    assert main([*TRAIN, "--epochs", "1", "--out", str(tmp_path / "new"), "--resume"]) == 0


def test_an_attempt_that_cannot_be_trained_leaves_the_folder_free(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "--target", "0.00001", *FAST, "--out", str(folder)]) == 1
    assert re.fullmatch(
        r"lzero: error: params: a density of 1e-05 cannot be met: .* at least 0\.\d+", error_line(capsys)
    )
    assert main(["train", "--target", "0.5", *FAST, "--epochs", "1", "--out", str(folder)]) == 0


def test_a_damaged_checkpoint_is_one_line_and_exit_code_1(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main([*TRAIN, "--out", str(folder)]) == 0
    (folder / "summary.json").unlink()
    checkpoint = folder / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    assert main([*TRAIN, "--out", str(folder), "--resume"]) == 1
    assert "checkpoint.pt: not readable as saved tensors" in error_line(capsys)


def test_missing_data_is_said_in_the_words_of_the_data_set(tmp_path, capsys):
    assert main(["train", "--data", "mnist", "--data-dir", str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    line = error_line(capsys)
    assert line.startswith("lzero: error: mnist: missing train-images-idx3-ubyte")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "text", "way_out"),
    [
        ("summary.json", "[1]", "delete it and continue with --resume"),
        ("summary.json", "{}", "delete it and continue with --resume"),
        ("summary.json", None, "delete it and continue with --resume"),
        ("config.json", "3", "name a run folder of lzero"),
    ],
)
def test_a_file_of_a_run_that_holds_something_else_is_one_line_with_its_path(
    name, text, way_out, trained, tmp_path, capsys
):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    if text is None:
        text = json.dumps(json.loads((folder / name).read_text()) | {"test_error": "low"})
    (folder / name).write_text(text)
    assert main([*TRAIN, "--out", str(folder), "--resume"]) == 1
    line = error_line(capsys)
    assert line.startswith(f"lzero: error: {folder / name}: ") and line.endswith(way_out) and line.count(way_out) == 1


@pytest.mark.parametrize("depth", [900, 970, 985, 990])
def test_a_config_nested_to_the_edge_of_what_can_be_read_is_one_line(depth, trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text(f'{{"recipe": {"[" * depth}{"]" * depth}}}')
    assert main([*TRAIN, "--out", str(tmp_path / "run"), "--resume"]) == 1
    assert len(error_line(capsys)) < 1500


def test_figures_and_files_that_a_finished_run_has_lost_are_made_again(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    for name in ("dynamics.png", "histogram.png", "model.safetensors", "rows.csv", "certificate.json"):
        (folder / name).unlink()
    assert main([*TRAIN, "--out", str(folder), "--resume"]) == 0
    assert content(folder) == content(trained)


def test_train_ships_widths_that_were_asked_for(tmp_path, capsys):
    assert main([*TRAIN, "--round-to", "8", "--epochs", "1", "--out", str(tmp_path / "run")]) == 0
    assert "widths: whole or multiples of 8 (" in capsys.readouterr().out
    weights = load_file(tmp_path / "run" / "model.safetensors")
    widths = {len(tensor) for tensor in weights.values()} - {10}  # classes
    assert widths and all(width % 8 == 0 for width in widths - {300, 100})
    assert json.loads((tmp_path / "run" / "certificate.json").read_text())["round_to"] == 8
