"""A program under torchrun, as people launch it: two processes, one purged model."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "ddp_digits.py"


@pytest.mark.slow
def test_two_processes_of_torchrun_ship_the_same_model_at_its_budget(tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(EXAMPLE)]
    ran = subprocess.run(launch, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "2 processes, all with the same purged model: True" in ran.stdout
    shipped = float(re.search(r"asked 10\.00%, shipped ([0-9.]+)%", ran.stdout).group(1))
    assert 0 <= 10 - shipped < 1 and "warning" not in ran.stdout
    errors = [float(text) for text in re.findall(r"test error ([0-9.]+)%", ran.stdout)]
    assert len(errors) == 2 and max(errors) < 6
