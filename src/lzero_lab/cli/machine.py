"""What ``lzero info`` says of where it runs: versions, devices and the frameworks that are there."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from lzero import __version__
from lzero.integrations import STACKS
from lzero.latency.timer import device_name, processor
from lzero_lab.cli.console import console

_NEEDED = ("torch", "cooper-optim", "numpy", "scipy", "safetensors", "matplotlib", "jinja2")
_BESIDE = ("onnx", "onnxruntime", "tensorboard", "timm", "torchao", "torchvision", "tqdm")  # purged models meet them


def show_machine() -> None:
    """Print versions and machine, a line each: what a report of a bug begins with."""
    rows = [("lzero", __version__), *((name, _version(name) or "not installed") for name in _NEEDED)]
    rows += [
        ("python", f"{platform.python_version()}, {platform.python_implementation()}"),
        ("system", platform.platform()),
        ("machine", f"{processor()} of torch, {os.cpu_count()} cores"),
        ("device", _devices()),
    ]
    found = [f"{name} {number}" for name in _stacks() if (number := _version(name))]
    rows.append(("beside", ", ".join(found) or "nothing"))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        console().print(f"{name:<{width}}  {text}")


def _stacks() -> list[str]:
    """Every framework that has an integration, and what else is tested with purged models."""
    packages = {name for names in STACKS.values() for name in names} - {*_NEEDED}
    return [*sorted(packages), *_BESIDE]


def _version(name: str) -> str | None:
    """Of what is installed under this name; None where nothing is."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> str:
    """What PyTorch could compute on beside the CPU, in words."""
    if torch.cuda.is_available():
        names = [device_name(torch.device("cuda", index)) for index in range(torch.cuda.device_count())]
        return f"cuda {torch.version.cuda or torch.version.hip}: {', '.join(names)}"
    return "mps" if torch.backends.mps.is_available() else "cpu alone"
