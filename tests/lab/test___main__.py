"""``python -m lzero_lab`` is the command line."""

import subprocess
import sys

from lzero import __version__


def test_the_package_runs_as_a_module_as_the_command_does():
    command = [sys.executable, "-m", "lzero_lab"]
    found = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0 and __version__ in found.stdout
    wrong = subprocess.run([*command, "nothing"], capture_output=True, text=True, check=False, timeout=120)
    assert wrong.returncode == 2 and "nothing" in wrong.stderr
