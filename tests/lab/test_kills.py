"""Commands that are killed at any moment, and continued: what they leave is what an uninterrupted one leaves."""

import os
import random
from pathlib import Path

import pytest
from killing import Mother, content

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes as Linux does")
FAST = ["--batch-size", "256", "--quiet"]
STUDY = """
data = "digits"
seeds = [0]
networks.mlp = { epochs = 4, batch_size = 256 }
budgets.half = { target = 0.5 }
methods.constrained = {}
methods.dense = { method = "dense" }
"""
# name -> (arguments, runs, kills in each)
COMMANDS = {
    "train": (["train", "--target", "0.3", "--epochs", "4", *FAST], 6, 3),
    "sweep": (["sweep", "--target", "0.3", "0.6", "--epochs", "2", *FAST], 5, 3),
    "compare": (
        ["compare", "--target", "0.3", "--grid", "1", "--max-trainings", "2", "--epochs", "2", *FAST],
        5,
        3,
    ),
    "study": (["study", "study.toml", "--device", "cpu"], 3, 3),
}


def resumed(command):
    return [] if command == "study" else ["--resume"]


@pytest.fixture(scope="module")
def mother(tmp_path_factory):
    path = tmp_path_factory.mktemp("kills")
    (path / "study.toml").write_text(STUDY)
    with Mother(path) as mother:
        mother.path = path
        yield mother


def finish(mother, name, out):
    """Continue to the end, and compare with the run that nobody killed."""
    arguments, _, _ = COMMANDS[name]
    end = mother.run(*arguments, "--out", f"{out}/{name}", *resumed(name))
    assert end["code"] == 0, end["said"]
    whole, killed = content(mother.path / "whole" / name), content(mother.path / out / name)
    assert killed.keys() == whole.keys()
    assert [path for path, value in whole.items() if killed[path] != value] == []


def test_a_training_killed_in_its_first_writes_is_as_if_uninterrupted(mother):
    name, (arguments, _, _) = "train", COMMANDS["train"]
    whole = mother.run(*arguments, "--out", f"whole/{name}")
    assert whole["code"] == 0, whole["said"]
    out = Path("first", name)
    for file in (".config", ".checkpoint"):
        opened = [number for number, event in enumerate(whole["events"], 1) if event.startswith(f"open {file}")]
        at = opened[2]  # the first makes the file, the second writes it, the third flushes it
        assert mother.run(*arguments, "--out", out, *resumed(name), at=at)["code"] == -9
        left = [path for path in (mother.path / out).iterdir() if path.name.startswith(file)]
        assert len(left) == 1 and left[0].stat().st_size > 0
        assert (mother.path / out / "config.json").exists() == (file == ".checkpoint")
    finish(mother, name, "first")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_commands_killed_at_random_are_as_if_uninterrupted(mother, name, record_property):
    arguments, runs, kills = COMMANDS[name]
    chance = random.Random(f"kills of {name}")
    whole = mother.run(*arguments, "--out", f"whole/{name}", *resumed(name))
    assert whole["code"] == 0, whole["said"]
    total = 0
    for number in range(runs):
        out, left, tries = f"{name}-{number}", kills, 0
        while left and tries < 5 * kills:
            tries += 1
            moment = {"after": chance.uniform(0, whole["seconds"] / kills), "group": chance.random() < 0.5}
            if chance.random() < 0.5:
                moment = {"at": chance.randint(1, len(whole["events"]) // kills)}
            end = mother.run(*arguments, "--out", f"{out}/{name}", *(resumed(name) if left < kills else []), **moment)
            if end["code"] == 0 and left == kills:  # it was faster
                out, tries = f"{out}-again", 0
            assert end["code"] in (-9, 0), end["said"]
            left -= end["code"] == -9
            total += end["code"] == -9
        finish(mother, name, out)
    record_property("kills", f"{total} in {runs} runs, all equal")
    assert total >= runs * kills // 2
