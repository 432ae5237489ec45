"""`lzero purge`: the purged model of a run folder, finished or not."""

import json

import pytest
from commands import error_line
from safetensors.torch import load_file

from lzero_lab.cli import main


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
    states = [load_file(path / "model.safetensors") for path in (folder, trained)]
    assert all(tensor.equal(states[1][name]) for name, tensor in states[0].items())


def test_purge_needs_the_folder_of_one_training(tmp_path, capsys):
    assert main(["purge", str(tmp_path)]) == 1
    assert "config.json: not readable as JSON (No such file or directory); name a run folder" in error_line(capsys)
    (tmp_path / "config.json").write_text('{"command": "sweep", "recipe": {}}')
    assert main(["purge", str(tmp_path)]) == 1
    assert "holds no single training but a sweep; name a folder below it" in error_line(capsys)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[]", "config.json: expected named entries, found a list; name a run folder of lzero"),
        ('{"recipe": {}}', "holds no single training but a thing; name a folder below it"),
        ('{"data": "digits", "recipe": 3}', "config.json: recipe: expected a table of fields, found 3; train anew"),
        (
            '{"data": "digits", "recipe": {"lr": "x"}}',
            "config.json: lr: expected a finite number, found 'x'",
        ),
        ('{"data": ["digits"], "recipe": {}}', "config.json: expected data and data_dir as names"),
        ('{"data": "mnist", "data_dir": 3, "recipe": {}}', "config.json: expected data and data_dir as names"),
        ('{"data": "mnist", "data_dir": "\\u0000", "recipe": {}}', "config.json: expected data and data_dir as names"),
        ('{"data": "nothing", "recipe": {}}', "no data set is called 'nothing'"),
        ('{"data": "digits", "recipe": {"scope": ""}}', "config.json: scope: expected model, layer or a table"),
        ('{"data": "digits", "command": {"a": 1}, "recipe": {}}', "holds no single training"),
        ("[" * 100_000, "config.json: not readable as JSON (RecursionError); name a run folder of lzero"),
    ],
)
def test_purge_of_a_folder_with_another_config_is_one_line(config, message, tmp_path, capsys):
    (tmp_path / "config.json").write_text(config)
    assert main(["purge", str(tmp_path)]) == 1
    assert message in error_line(capsys)
