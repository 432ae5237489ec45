"""`lzero info`: the plan of a network by its name, or of a function's model."""

import re

import pytest
from commands import error_line

from lzero_lab.cli import main


def test_info_prints_the_plan_and_the_size(capsys):
    assert main(["info", "--model", "mlp"]) == 0
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
        "def leaves():\n    raise SystemExit(3)\n"
        "def interrupts():\n    raise KeyboardInterrupt\n"
        "class Leaving(nn.Module):\n    def forward(self, x):\n        raise SystemExit('gone')\n"
        "def leaving():\n    return Leaving(), torch.randn(1, 8)\n"
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
        ("users_nets:leaves", "SystemExit: 3; expected an importable function without arguments"),
        ("users_nets:interrupts", "KeyboardInterrupt: ; expected an importable function without arguments"),
        ("users_nets:missing", "has no attribute 'missing'"),
        ("no_such_module:net", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("users_nets", "expected package.module:function"),
    ],
)
def test_a_function_that_gives_no_model_is_one_line(place, message, user_module, capsys):
    assert main(["info", place]) == 2
    line = error_line(capsys)
    assert line.startswith(f"lzero: error: {place}: ")
    assert message in line


@pytest.mark.parametrize("code", ["import sys; sys.exit(0)", "raise KeyboardInterrupt", "raise SystemExit"])
def test_a_module_that_exits_where_it_is_imported_is_one_line(code, tmp_path, monkeypatch, capsys):
    (tmp_path / "leaving_nets.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["info", "leaving_nets:net"]) == 2
    assert "expected an importable function without arguments" in error_line(capsys)


def test_a_model_that_exits_and_an_input_that_is_too_large_are_one_line(user_module, capsys):
    assert main(["info", "users_nets:leaving"]) == 2
    assert "sys.exit('gone')" in error_line(capsys)
    for shape in ("99999999999,99999999999", "4294967296,4294967296,4"):
        assert main(["info", "users_nets:net", "--input", shape]) == 2
        assert "--input: no tensor of shape" in error_line(capsys)


def test_info_says_the_floor_and_whether_targets_can_be_met(user_module, capsys):
    assert main(["info", "users_nets:with_inputs", "--target", "0.2", "0.1"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    params, macs = (8 + 1 + 2 + 2) / 68, (8 + 2) / 60  # with one hidden unit of six
    assert f"the floor, one unit of each, is {params:.1%} of the parameters and {macs:.1%} of the MACs" in text
    assert "0.2 of the params: satisfiable, the floor is 0.1912" in text
    assert "0.1 of the params: not satisfiable" in text and "0.1 of the macs: not satisfiable" in text
