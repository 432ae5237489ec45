"""The way of a newcomer is that of the README, and its steps are timed and summed."""

import re
import subprocess
import sys
from pathlib import Path

import newcomer
import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = """
.venv/.installed venv:
\tmkdir -p .venv/bin && ln -s {python} .venv/bin/python && touch .venv/.installed
demo:
\tmkdir -p runs/demo && touch runs/demo/{figure}
"""
LOOP = "import os; os.makedirs('runs/examples'); open('runs/examples/plain_loop.png', 'w')"


def repository(folder, figure):
    """A small one whose targets leave what the real ones leave."""
    (folder / "examples").mkdir(parents=True)
    (folder / "examples" / "plain_loop.py").write_text(LOOP)
    (folder / "Makefile").write_text(MAKEFILE.format(python=sys.executable, figure=figure))
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return folder


def test_each_step_is_timed_and_the_two_ways_are_their_sums(tmp_path, capsys):
    newcomer.main(["--of", str(repository(tmp_path / "of", "dynamics.png"))])
    said = capsys.readouterr().out
    seconds = {name.strip(): float(value) for name, value in re.findall(r"^(\D+?) +([\d.]+) s$", said, re.MULTILINE)}
    assert [*seconds] == [*newcomer.steps("", ""), "clone to first figure", "clone to own model purged"]


def test_sums_leave_the_other_way_out():
    lines = newcomer.told({"clone": 1.0, "environment": 20.0, "make demo": 300.0, "plain_loop.py": 4000.0})
    assert lines[-2].endswith(" 321.0 s") and lines[-1].endswith(" 4021.0 s")


def test_a_step_that_leaves_nothing_is_an_error(tmp_path):
    of = repository(tmp_path / "of", "another.png")
    (tmp_path / "clone").mkdir()
    with pytest.raises(RuntimeError, match=r"make demo: make demo left no runs/demo/dynamics\.png"):
        newcomer.walk(tmp_path / "clone", of, sys.executable)


def test_the_real_targets_and_files_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, (command, _) in newcomer.steps(ROOT, "python3").items():
        if command[0] == "make":
            assert re.search(rf"^{command[1]}:", makefile, re.MULTILINE), name
    assert (ROOT / "examples" / "plain_loop.py").is_file()
