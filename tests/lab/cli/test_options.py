"""Options: what they mean as recipes, configurations, data and folders."""

import argparse
from pathlib import Path

import pytest
import torch

from lzero_lab.cli import options as opt
from lzero_lab.errors import DataError
from lzero_lab.training.recipe import Recipe


def parsed(*arguments, command="train"):
    parser = argparse.ArgumentParser()
    opt.add_data(parser)
    opt.add_training(parser)
    opt.add_run(parser)
    opt.add_measure(parser)
    return argparse.Namespace(command=command, **vars(parser.parse_args(arguments)))


def test_the_defaults_are_those_of_a_recipe_but_for_the_epochs_of_digits():
    assert opt.recipe(parsed()) == Recipe(epochs=200)
    assert opt.recipe(parsed("--data", "mnist")) == Recipe()


def test_options_make_the_recipe_and_the_command_has_the_last_word():
    options = parsed("--model", "lenet5", "--lr", "0.1", "--seed", "3", "--measure", "macs", "--epochs", "2")
    recipe = opt.recipe(options, target=0.3, seed=4)
    assert recipe == Recipe("lenet5", target=0.3, lr=0.1, seed=4, measure="macs", epochs=2)


def test_a_configuration_is_all_that_decides_the_result(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = parsed("--data-dir", "here", "--device", "cpu", "--quiet")
    config = opt.config(options, Recipe(), grid=[1.0])
    named = {"command": "train", "data": "digits", "data_dir": str(tmp_path / "here"), "grid": [1.0]}
    assert config == {**named, "recipe": Recipe().to_dict()}
    assert opt.config(parsed(), Recipe())["data_dir"] is None


def test_a_run_folder_is_named_after_what_is_run():
    assert opt.out(parsed(), "params", "0.1", "seed0") == Path("runs/train-digits-mlp-params-0.1-seed0")
    assert opt.out(parsed("--out", "mine"), "params") == Path("mine")


def test_data_is_loaded_with_the_threads_and_on_the_device_asked_for():
    data = opt.load_data(parsed("--threads", "1"))
    assert data.name == "digits" and data.train_x.device.type == "cpu" and torch.get_num_threads() == 1
    assert (torch.tensor([2.0**-130]) * 0.5).item() == 0  # denormals are flushed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"command": "sweep", "recipe": {}, "data": "digits"}, "here: holds no single training but a sweep"),
        ({"recipe": {}}, "here: holds no single training but a thing; name a folder below it"),
        ({"recipe": {"lr": "x"}, "data": "digits"}, r"here/config\.json: lr: expected a finite number, found 'x'"),
    ],
)
def test_a_configuration_of_something_else_is_refused(values, message):
    with pytest.raises(DataError, match=message):
        opt.read_recipe(values, Path("here"))


def test_the_recipe_of_a_configuration_comes_back():
    recipe = Recipe(target=0.3, seed=2)
    assert opt.read_recipe(opt.config(parsed(), recipe), Path("here")) == recipe


def test_the_command_line_takes_its_name(capsys):
    parser = argparse.ArgumentParser()
    opt.add_data(parser)
    assert parser.parse_args(["--model", "wrn-16-4"]).model == "wrn-16-4"
    with pytest.raises(SystemExit):
        parser.parse_args(["--model", "wrn-16"])
    assert "expected mlp, lenet5, resnet, resnet20 or wrn-<depth>-<width>" in capsys.readouterr().err
