"""A module of the tests in two processes, as ``torchrun`` and ``accelerate launch`` start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import lzero

TESTS, SOURCE = Path(__file__).parent.parent, Path(lzero.__file__).parent.parent


def launch(module: str, *arguments: object) -> str:
    """What two processes of ``module`` print; both of them must end well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    paths = os.pathsep.join([str(SOURCE), str(TESTS)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_addr", "127.0.0.1", "--master_port", port, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
