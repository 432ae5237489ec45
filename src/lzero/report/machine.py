"""What a report was made with: versions and machine, in words."""

from __future__ import annotations

import platform

import torch

from lzero.latency.timer import device_name, processor
from lzero.version import __version__


def versions() -> dict[str, str]:
    """Those of lzero, PyTorch and Python in this process."""
    return {"lzero": __version__, "PyTorch": str(torch.__version__), "Python": platform.python_version()}


def machine() -> dict[str, str]:
    """The system, the processor with the threads that PyTorch computes with, and a CUDA device where there is one."""
    found = {"System": f"{platform.system()} {platform.machine()}", "Processor": processor()}
    if torch.cuda.is_available():
        found["CUDA device"] = device_name(torch.device("cuda"))
    return found
