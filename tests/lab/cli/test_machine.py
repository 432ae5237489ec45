"""`lzero info` alone: versions and machine, what a report of a bug begins with."""

from importlib.metadata import PackageNotFoundError, version

import torch

import lzero
from lzero_lab.cli import machine, main


def said(capsys):
    """Name -> text of each line."""
    assert main(["info"]) == 0
    return dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())


def test_versions_and_machine_are_named_a_line_each(capsys):
    lines = said(capsys)
    assert lines["lzero"] == lzero.__version__
    assert lines["torch"] == version("torch") and lines["cooper-optim"] == version("cooper-optim")
    assert f"{torch.get_num_threads()} thread" in lines["machine"] and "cores" in lines["machine"]
    assert [*lines][-1] == "beside" and {"python", "system", "device"} <= lines.keys()


def test_frameworks_that_are_there_are_named_and_others_are_not(capsys, monkeypatch):
    def versions(name):
        if name in ("lightning", "onnx"):
            return "9.9"
        raise PackageNotFoundError(name)

    monkeypatch.setattr(machine, "version", versions)
    lines = said(capsys)
    assert lines["beside"] == "lightning 9.9, onnx 9.9" and lines["torch"] == "not installed"


def test_every_framework_with_an_integration_is_looked_for():
    assert {"accelerate", "lightning", "peft", "pytorch_lightning", "transformers"} <= {*machine._stacks()}
    assert "torch" not in machine._stacks()


def test_devices_are_those_that_torch_sees(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index}")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert said(capsys)["device"] == "cuda 12.8: card 0, card 1"


def test_with_a_model_or_any_other_option_it_is_the_plan(capsys):
    for asked in (["--model", "mlp"], ["--data", "digits"], ["--granularity", "input"], ["--target", "0.5"]):
        assert main(["info", *asked]) == 0
        text = capsys.readouterr().out
        assert "50,610" in text and "cooper-optim" not in text
