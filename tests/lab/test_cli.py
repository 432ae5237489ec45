import json
import re
import shlex
import shutil

import pytest
import torch

from lzero.recorder import Recorder
from lzero_lab.cli import main
from lzero_lab.training import Training

FAST = ["--epochs", "2", "--batch-size", "256", "--quiet"]
TRAIN = ["train", "--target", "0.3", *FAST]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*TRAIN, "--out", str(folder)]) == 0
    return folder


def names(folder):
    return {path.name for path in folder.iterdir()}


def error_line(capsys):
    """The one line on standard error."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_train_writes_a_whole_run(trained):
    assert names(trained) == {
        "config.json",
        "rows.csv",
        "checkpoint.pt",
        "purged.pt",
        "certificate.json",
        "architecture.csv",
        "summary.json",
        "dynamics.png",
        "architecture.png",
        "histogram.png",
    }
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
    states = [torch.load(path / "purged.pt", weights_only=True)["state"] for path in (folder, trained)]
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


def test_compare_shows_every_way_and_draws_the_figure(tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = ["compare", "--target", "0.3", "--grid", "0.01", "100", "--max-trainings", "3", *FAST]
    assert main([*arguments, "--out", str(folder)]) == 0
    text = capsys.readouterr().out
    assert all(way in text for way in ("constrained", "penalized", "grid search", "bisection", "dense"))
    assert f"figure: {folder / 'dynamics.png'}\n" in text
    assert {"comparison.csv", "dynamics.png", "trade-off.png", "constrained", "dense"} <= names(folder)

    rows = (folder / "comparison.csv").read_bytes()
    assert main([*arguments, "--out", str(folder), "--resume"]) == 0
    assert (folder / "comparison.csv").read_bytes() == rows
    assert main([*arguments[:3], *FAST, "--out", str(folder), "--resume"]) == 1
    assert "holds a run with grid [0.01, 100.0] and not" in capsys.readouterr().err


def test_sweep_has_a_row_for_every_cell_and_draws_the_figures(tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = ["sweep", "--target", "0.3", "0.6", "--seed", "0", "1", "--measure", "params", *FAST, "--epochs", "1"]
    assert main([*arguments, "--out", str(folder)]) == 0
    assert len(Recorder.from_csv(folder / "sweep.csv")) == 4
    assert {"control.png", "trade-off.png"} <= names(folder)
    assert f"figure: {folder / 'control.png'}\n" in capsys.readouterr().out


def test_sweep_trains_what_is_asked_twice_once(tmp_path):
    arguments = ["sweep", "--target", "0.3", "0.3", "--seed", "0", "0", *FAST, "--epochs", "1"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert len(Recorder.from_csv(tmp_path / "sweep.csv")) == 1
    assert json.loads((tmp_path / "config.json").read_text())["seeds"] == [0]


def test_plot_draws_a_run_folder_again(trained, capsys):
    before = (trained / "histogram.png").read_bytes()
    (trained / "histogram.png").unlink()
    assert main(["plot", str(trained)]) == 0
    assert (trained / "histogram.png").read_bytes() == before
    assert capsys.readouterr().out.splitlines()[0] == f"figure: {trained / 'dynamics.png'}"


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("dynamics", "rows.csv"),
        ("histogram", "rows.csv"),
        ("architecture", "architecture.csv"),
        ("control", "densities.csv"),
        ("trade-off", "densities.csv"),
    ],
)
def test_plot_draws_each_kind_from_a_csv(kind, source, trained, tmp_path):
    densities = Recorder()
    for asked in (0.2, 0.5):
        densities.append(method="constrained", asked=asked, shipped=asked, error=0.1)
    densities.to_csv(tmp_path / "densities.csv")
    path = (tmp_path if source == "densities.csv" else trained) / source
    assert main(["plot", str(path), "--kind", kind, "--out", str(tmp_path / "figure.svg")]) == 0
    assert (tmp_path / "figure.svg").read_text().startswith("<?xml")


def test_plot_of_what_has_no_rows_is_one_line(tmp_path, trained, capsys):
    assert main(["plot", str(tmp_path)]) == 1
    assert "nothing to draw; expected comparison.csv, sweep.csv, rows.csv" in error_line(capsys)
    assert main(["plot", str(tmp_path / "none.csv")]) == 1
    assert "none.csv: not readable as a CSV of rows" in error_line(capsys)
    assert main(["plot", str(trained / "rows.csv"), "--kind", "control", "--out", str(tmp_path / "a.png")]) == 1
    assert "plots.control: no rows to draw" in error_line(capsys)


def test_purge_writes_the_purged_model_of_an_unfinished_run(trained, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.json", "checkpoint.pt"):
        (folder / name).write_bytes((trained / name).read_bytes())
    assert main(["purge", str(folder)]) == 0
    assert "params: asked 30.00%, shipped 29." in capsys.readouterr().out
    assert json.loads((folder / "certificate.json").read_text()) == json.loads(
        (trained / "certificate.json").read_text()
    )
    states = [torch.load(path / "purged.pt", weights_only=True)["state"] for path in (folder, trained)]
    assert all(tensor.equal(states[1][name]) for name, tensor in states[0].items())


def test_purge_needs_the_folder_of_one_training(tmp_path, capsys):
    assert main(["purge", str(tmp_path)]) == 1
    assert "config.json: not readable as JSON (No such file or directory); is this a run folder" in error_line(capsys)
    (tmp_path / "config.json").write_text('{"command": "sweep", "recipe": {}}')
    assert main(["purge", str(tmp_path)]) == 1
    assert "holds no single training but a sweep; name a folder below it" in error_line(capsys)


@pytest.mark.parametrize(
    ("name", "text", "way_out"),
    [
        ("summary.json", "[1]", "delete it and continue with --resume"),
        ("summary.json", "{}", "delete it and continue with --resume"),
        ("summary.json", None, "delete it and continue with --resume"),
        ("config.json", "3", "is this a run folder of lzero?"),
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


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[]", "config.json: expected named entries, found a list; is this a run folder of lzero?"),
        ('{"recipe": {}}', "holds no single training but a thing; name a folder below it"),
        ('{"data": "digits", "recipe": 3}', "config.json: recipe: expected a table of fields, found 3; train anew"),
        (
            '{"data": "digits", "recipe": {"lr": "x"}}',
            "config.json: lr: expected a finite number, found 'x'",
        ),
    ],
)
def test_purge_of_a_folder_with_another_config_is_one_line(config, message, tmp_path, capsys):
    (tmp_path / "config.json").write_text(config)
    assert main(["purge", str(tmp_path)]) == 1
    assert message in error_line(capsys)


def test_info_prints_the_plan_and_the_size(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert "fc1" in text
    assert "50,610" in text
    assert "50,200" in text  # MACs of one image


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "users_nets.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def net():\n    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))\n"
        "def with_inputs():\n    return net(), torch.randn(1, 8)\n"
        "def number():\n    return 3\n"
        "def broken():\n    raise RuntimeError('no weights here')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("arguments", [["users_nets:with_inputs"], ["users_nets:net", "--input", "1,8"]])
def test_info_reads_a_model_from_a_function_of_the_user(arguments, user_module, capsys):
    assert main(["info", *arguments]) == 0
    text = capsys.readouterr().out
    assert arguments[0] in text
    assert re.search(r"\b68\b", text)  # parameters
    assert re.search(r"\b60\b", text)  # MACs


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("users_nets:net", "returned a model without example inputs; return (model, example_inputs), or pass --input"),
        ("users_nets:number", "returned int; expected an nn.Module"),
        ("users_nets:broken", "RuntimeError: no weights here; expected an importable function without arguments"),
        ("users_nets:missing", "has no attribute 'missing'"),
        ("no_such_module:net", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("users_nets", "expected package.module:function"),
    ],
)
def test_a_function_that_gives_no_model_is_one_line(place, message, user_module, capsys):
    assert main(["info", place]) == 1
    line = error_line(capsys)
    assert line.startswith(f"lzero: error: {place}: ")
    assert message in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: command"),
        (["prune"], "invalid choice: 'prune'"),
        (["train", "--target", "1.5"], "expected a density in (0, 1], such as 0.1 for a tenth, found 1.5"),
        (["train", "--target", "nan"], "expected a density in (0, 1]"),
        (["train", "--target", "tenth"], "invalid density value: 'tenth'"),
        (["train", "--epochs", "0"], "expected a number above 0, found 0"),
        (["train", "--epochs", "many"], "invalid int value: 'many'"),
        (["train", "--lr", "inf"], "expected a number above 0, found inf"),
        (["train", "--scope", "fc1"], "expected model, layer or \"name=0.3,name=0.5\", found 'fc1'"),
        (
            ["train", "--scope", "fc1=2"],
            "argument --scope: expected a density in (0, 1], such as 0.1 for a tenth, found 2",
        ),
        (["train", "--scope", "fc1=0.3", "--target", "0.5"], "leave out --target"),
        (["train", "--scope", "layer", "--dense"], "--scope is for a target"),
        (["train", "--target", "0.5", "--dense"], "not allowed with argument --target"),
        (["train", "--device", "toaster"], "expected cpu or cuda, found 'toaster'"),
        (["train", "--device", "mps"], "expected cpu or cuda, found 'mps'"),
        (["train", "--device", "cuda:99"], "cuda:99: PyTorch sees no such GPU here; use --device cpu"),
        (["train", "--seed", str(2**64)], "expected a seed from -2^63 to 2^64 - 1, found 18446744073709551616"),
        (["train", "--seed", "x"], "argument --seed: invalid seed value: 'x'"),
        (["sweep", "--seed", "0", str(-(2**63) - 1)], "expected a seed from -2^63"),
        (["study", "mnist", "--seeds", str(2**64)], "expected a seed from -2^63"),
        (["compare", "--tolerance", "1"], "expected a distance in (0, 1), such as 0.01 for one point, found 1"),
        (["compare", "--tolerance", "0"], "expected a distance in (0, 1)"),
        (["compare", "--grid", "-1"], "expected a number above 0, found -1"),
        (["plot"], "the following arguments are required: source"),
        (["info", "--input", "1,8"], "--input is for a package.module:function"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: lzero")
    assert message in error.splitlines()[-1]


@pytest.mark.parametrize("command", ["train", "compare", "sweep", "plot", "purge", "info"])
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: lzero {command}")


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([*TRAIN, "--out", str(tmp_path / "file" / "run")]) == 1
    assert error_line(capsys).startswith("lzero: error: ")
