"""One training by two processes of torchrun, as it is launched: one run folder, one voice, and how it goes on."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from commands import RUN_FILES, TRAIN, names
from killing import content

from lzero_lab.lock import LOCK

LIMIT = 300  # seconds for one command, on a machine that is busy with others
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
SCRIPT = Path(sysconfig.get_path("scripts"), "lzero")
MODULE = ["-m", "lzero_lab"]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]


def started(*arguments, cwd=None):
    """Two processes; ``--standalone``, so that they meet at a port that is free."""
    where = {"PATH": f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*LAUNCH, "--standalone", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | where,
        cwd=cwd,
    )


def ended(process):
    """Its exit code, what it showed, and the lines of ``lzero`` on standard error."""
    try:
        shown, said = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return (
        process.returncode,
        shown,
        [line for line in said.splitlines() if re.match("lzero( train)?:", line)],
    )


@pytest.mark.parametrize("how", [["--no-python", SCRIPT], MODULE], ids=["the script", "the module"])
def test_a_training_has_one_folder_and_one_table(how, tmp_path):
    if how != MODULE and not SCRIPT.exists():
        pytest.skip("the package is not installed")
    folder = tmp_path / "run"
    code, shown, said = ended(started(*how, *TRAIN, "--out", folder))
    assert (code, said) == (0, []) and shown.count("params: asked 30.00%") == shown.count("run: ") == 1
    assert names(folder) == RUN_FILES | {"dynamics.png", "architecture.png", "histogram.png"}
    assert json.loads((folder / "certificate.json").read_text())["deployed"]["params"] <= 0.3
    assert json.loads((folder / "config.json").read_text())["processes"] == 2
    before = content(folder)
    code, shown, said = ended(started(*how, *TRAIN, "--out", folder))
    assert code != 0 and not shown and len(said) == 1 and "holds this run already; continue it with --resume" in said[0]
    code, shown, said = ended(started(*how, *TRAIN, "--out", folder, "--resume"))
    assert (code, said) == (0, []) and shown.count("params: asked 30.00%") == 1 and content(folder) == before
    alone = subprocess.run(
        [sys.executable, *MODULE, *TRAIN, "--out", folder, "--resume"], capture_output=True, text=True, timeout=LIMIT
    )
    assert alone.returncode == 1 and "holds a run with processes 2 and not 1; choose another folder" in alone.stderr


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["train", "--out", "run", "--data", "mnist"], "mnist: no data folder was named"),
        (["train", "--out", "run", "--epochs", "0"], "argument --epochs: expected a number above 0, found 0"),
        (["train", "--out", "run", "--device", "cuda:99"], "PyTorch sees no such GPU here; use --device cpu"),
        (["sweep"], "lzero sweep runs in one process, and torchrun has started 2: leave torchrun out"),
    ],
    ids=["no data", "usage", "no GPU", "sweep"],
)
def test_what_goes_wrong_is_said_once(command, line, tmp_path):
    code, shown, said = ended(started(*MODULE, *command, cwd=tmp_path))
    assert code != 0 and not shown and len(said) == 1 and line in said[0] and not list(tmp_path.iterdir())


def test_an_interrupted_training_goes_on_as_it_says_and_ends_as_if_uninterrupted(tmp_path):
    arguments = [*TRAIN, "--epochs", "150", "--out"]
    assert ended(started(*MODULE, *arguments, tmp_path / "straight" / "run"))[0] == 0
    folder = tmp_path / "broken" / "run"
    process, limit = started(*MODULE, *arguments, folder), time.monotonic() + LIMIT
    while not (folder / "checkpoint.pt").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, shown, said = ended(process)
    assert code != 0 and not shown and len(said) == 1 and not (folder / "summary.json").exists()
    start, _, command = said[0].partition("continue with: ")
    words = shlex.split(command)
    assert start == "lzero: interrupted; finished epochs are saved; "
    assert words[:5] == ["torchrun", "--nproc-per-node", "2", "--no-python", "lzero"] and words[-1] == "--resume"
    code, _, said = ended(started(*MODULE, *words[5:]))
    assert (code, said) == (0, [])
    assert LOCK not in names(folder) and content(folder) == content(tmp_path / "straight" / "run")
