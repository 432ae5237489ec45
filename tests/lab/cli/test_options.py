"""Options: what their texts mean as numbers, recipes, configurations and folders."""

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


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (opt.positive(int), "3", 3),
        (opt.positive(float), "1e-9", 1e-9),
        (opt.density, "1", 1.0),
        (opt.distance, "0.01", 0.01),
        (opt.seed, str(2**64 - 1), 2**64 - 1),
        (opt.scope, "layer", "layer"),
        (opt.scope, "fc1=0.3, fc2=1", {"fc1": 0.3, "fc2": 1.0}),
        (opt.further_budget, "macs=0.1", ("macs", 0.1)),
        (opt.model, "wrn-16-4", "wrn-16-4"),
        (opt.device, "cpu", "cpu"),
    ],
)
def test_texts_that_are_taken(type_, text, value):
    assert type_(text) == value


@pytest.mark.parametrize(
    ("type_", "text", "message"),
    [
        (opt.positive(int), "0", "expected a number above 0, found 0"),
        (opt.positive(float), "nan", "expected a number above 0, found nan"),
        (opt.density, "0", r"expected a density in \(0, 1\]"),
        (opt.distance, "1", r"expected a distance in \(0, 1\)"),
        (opt.seed, str(2**64), "expected a seed from"),
        (opt.scope, "=0.3", "expected model, layer or"),
        (opt.scope, "fc1=much", "expected model, layer or"),
        (
            opt.further_budget,
            "flops=0.1",
            "expected params, macs, gates, each with =0.1 or the like, found 'flops=0.1'",
        ),
        (opt.further_budget, "macs", "expected params, macs, gates, each with"),
        (opt.further_budget, "macs=2", r"expected a density in \(0, 1\]"),
        (opt.model, "wrn-16", "expected mlp, lenet5, resnet, resnet20 or wrn-<depth>-<width>"),
        (opt.device, "cuda:99", "PyTorch sees no such GPU here; use --device cpu"),
        (opt.device, "meta", "expected cpu or cuda, found 'meta'"),
    ],
)
def test_texts_that_are_refused(type_, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        type_(text)


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
