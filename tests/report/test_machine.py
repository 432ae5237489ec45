"""Versions and machine, as this process has them."""

import platform

import torch

import lzero
from lzero.report import machine


def test_versions_are_those_of_this_process():
    found = machine.versions()
    assert found == {"lzero": lzero.__version__, "PyTorch": torch.__version__, "Python": platform.python_version()}
    assert all(type(value) is str for value in found.values())


def test_the_machine_is_named_with_its_threads():
    found = machine.machine()
    assert found["Processor"].endswith("1 thread") and found["System"].startswith(platform.system())
    assert ("CUDA device" in found) == torch.cuda.is_available()
