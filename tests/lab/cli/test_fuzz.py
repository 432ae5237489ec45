"""Argument lists of all kinds: an exit code of 0, 1 or 2, and a line that says why, never a traceback."""

import random
import shutil
import sys

import pytest

from lzero_lab.cli import main

SHORT = {"--epochs": "1", "--batch-size": "2048"}
BAD = [
    *("", " ", "-", "--", "0", "-1", "nan", "inf", "-inf", "1e400", "1e-400", "9" * 5000, str(10**30), str(2**63)),
    *("½", "１", "1,2", "a\0b", "a\nb", "\udcff", "\ud800", "λ", "x" * 5000, "x/" * 3000, "[bold]", "%s", "{}"),
    *("$\\frac$", "None", "True", "../..", "/dev/null", "/proc/self/mem", "/"),
]
PATHS = [
    *("loop", "loop/below", "file", "file/below", "folder", "missing", "missing/below", "empty", "run", "run/rows.csv"),
    *("table.csv", "nested.json", "nested.toml", "binary", "$x$ {0}", "no run", "shapes", "dead"),
]
SUFFIXES = ["", ".png", ".svg", ".pdf", ".PNG", ".txt", ".csv"]
PLACES = [
    *("nets:good", "nets:exits", "nets:interrupts", "nets:fails", "nets:number", "nets:deep", "nets:leaves", "a b:c"),
    *("exiting:net", "interrupting:net", "broken:net", "nets", ":", "a:b:c", "..:x", ":good", "os:getcwd"),
]
NUMBERS = ["1", "2", "0.5", "0.3", "1e-9", "1e300", "3"]
MODELS = [
    *("mlp", "lenet5", "wrn-10-0", "wrn-0-1", "wrn-10-99999", "wrn-٣-1", "wrn-" + "9" * 5000 + "-1", "wrn-4-1"),
    *("wrn-5-1", "wrn--1"),
]
NETS = """
import sys, torch
from torch import nn
class Leaves(nn.Module):
    def forward(self, x): sys.exit("gone")
def good(): return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(1, 4)
def exits(): sys.exit(3)
def interrupts(): raise KeyboardInterrupt
def fails(): raise RuntimeError("no\\nweights")
def number(): return 3
def deep(): return deep()
def leaves(): return Leaves(), torch.randn(1, 4)
def none(): return None, None
"""
OPTIONS = {
    "train": "--target --penalty --dense --measure --scope --also --data --data-dir --model --granularity --round-to "
    "--epochs --batch-size --lr --gate-lr --estimator --optimizer --seed --out --resume --device --threads",
    "sweep": "--target --measure --scope --seed --threads --out --resume --model --data-dir --data",
    "compare": "--target --grid --tolerance --max-trainings --measure --out --resume --seed",
    "study": "--data --methods --budgets --seeds --out --hours --workers --data-dir --device",
    "plot": "--kind --target --out",
    "watch": "--once --every",
    "purge": "--data-dir",
    "report": "--out --data-dir --front --files-only",
    "info": "--input --data --model --granularity --round-to",
}
CHOICES = {
    "--measure": ["params", "macs", "gates"],
    "--scope": ["model", "layer", "fc1=0.5", "fc1=0.5,fc2=", "nothing=0.5", "=", "fc1=0.5,fc1=0.4"],
    "--also": ["macs=0.5", "params=0.5", "macs", "macs=2"],
    "--data": ["digits", "mnist", "cifar10"],
    "--granularity": ["unit", "input", "weight"],
    "--estimator": ["hard_concrete", "deterministic"],
    "--optimizer": ["adam", "sgd"],
    "--kind": ["dynamics", "control", "trade-off", "architecture", "histogram"],
    "--device": ["cpu", "cuda", "cpu:7", "cuda:99", "meta", "cpu:x", "cpu:-1"],
    "--input": ["1,4", "0,4", "1", "1,4,4", "99999999999,9999999999", "4294967296,4294967296,4"],
    "--model": MODELS,
    "--methods": ["constrained", "none"],
    "--budgets": ["half", "none"],
    "--epochs": ["1"],
    "--batch-size": ["300", "2000"],
    "--max-trainings": ["1", "2"],
    "--hours": ["1e-9"],
}
FLAGS = {"--dense", "--resume", "--once", "--files-only"}
FOLDERS = {"--out", "--data-dir"}
STUDY = """
data = "digits"
seeds = [0]
networks.mlp = { steps = 2 }
budgets.half = { target = 0.5 }
methods.constrained = {}
"""


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A folder of traps to stand in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "loop").symlink_to("loop")
    shutil.copytree(trained, tmp_path / "run")
    for name in ("folder", "empty", "no run", "shapes", "dead"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder" / "config.json").write_text("[" * 100_000 + "]" * 100_000)
    (tmp_path / "no run" / "notes.txt").write_text("mine")
    (tmp_path / "shapes" / "config.json").write_text('{"data": ["digits"], "recipe": {}, "data_dir": 3}')
    (tmp_path / "dead" / ".config.0123456789abcdef.json").write_text("{")
    (tmp_path / "file").write_text("text")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "table.csv").write_text("epoch,error,loss\n1,0.5,nan\n2,inf,1e300\n")
    (tmp_path / "nested.json").write_text("[" * 100_000)
    (tmp_path / "nested.toml").write_text("data = " + "[" * 100_000)
    (tmp_path / "study.toml").write_text(STUDY)
    codes = {"exiting": "raise SystemExit(7)", "interrupting": "raise KeyboardInterrupt", "broken": "def ("}
    for name, code in codes.items():
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "nets.py").write_text(NETS)
    yield tmp_path
    for name in ("nets", "exiting", "interrupting", "broken"):
        sys.modules.pop(name, None)


def value(option, chance):
    kinds = [BAD, CHOICES.get(option, PATHS if option in FOLDERS else NUMBERS)]
    return chance.choice(kinds[chance.random() < 0.7])


def arguments(chance):
    command = chance.choice([*OPTIONS, *OPTIONS, "", "--version", chance.choice(BAD)])
    listed = [command]
    if command in ("plot", "watch", "purge", "report") and chance.random() < 0.95:
        listed.append(chance.choice([*PATHS, chance.choice(BAD)]))
    if command == "info" and chance.random() < 0.8:
        listed.append(chance.choice([*PLACES, *PLACES, chance.choice(BAD)]))
    if command == "study":
        listed.append(chance.choice(["study.toml", "study.toml", "nested.toml", "mnist", *PATHS, *BAD]))
    options = OPTIONS.get(command, "").split()
    for option in chance.sample(options, chance.randint(0, min(3, len(options)))):
        chosen = value(option, chance)
        if command == "plot" and option == "--out":
            chosen = f"{chosen}{chance.choice(SUFFIXES)}"
        listed += [option] if option in FLAGS else [option, chosen]
    if command == "study" and "--report" not in listed and chance.random() < 0.9:
        listed.append("--report")
    if command in ("train", "sweep", "compare"):
        short = {**SHORT, "--out": f"out-{chance.random()}"}
        short |= {"--target": "0.5"} if command == "sweep" else {}
        short |= {"--max-trainings": "1", "--grid": "1"} if command == "compare" else {}
        listed += [part for name, text in short.items() if name not in listed for part in (name, text)]
    return [part for part in listed if part or chance.random() < 0.9]


def survives(listed, capsys):
    try:
        code = main(listed)
    except BaseException as problem:
        raise AssertionError(f"{listed!r}: {type(problem).__name__}: {problem}") from problem
    shown = capsys.readouterr()
    said = [line for line in shown.err.splitlines() if line.startswith("lzero")]
    assert code in (0, 1, 2), (listed, code)
    assert "Traceback" not in shown.err
    assert (len(said) == 1) == (code != 0), (listed, code, shown.err)
    return code


@pytest.mark.parametrize("number", [30, pytest.param(600, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_no_arguments_end_in_a_traceback(number, place, capsys):
    chance = random.Random(number)
    codes = [survives(arguments(chance), capsys) for _ in range(number)]
    assert {0, 1, 2} <= set(codes)
