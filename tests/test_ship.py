"""The page on shipping: every block on it runs, in order; what compiles or needs other libraries in the slow tests."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import lzero

PAGE = (Path(__file__).parent.parent / "docs" / "ship.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
STACKS = ("torchao", "onnx")
HEAVY = (*STACKS, r"torch\.export", r"torch\.compile")

pytestmark = [
    pytest.mark.filterwarnings("ignore::lzero.LzeroWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated"),
]


def needs(block):
    """What is on the page for the slow tests alone."""
    return [name for name in HEAVY if re.search(rf"\b{name}", block)]


def run(blocks):
    torch.manual_seed(0)
    names: dict = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, "docs/ship.md", "exec"), names)
    return names


def off_by(names):
    """What int8 changes, relative to the outputs."""
    exact = names["small"](names["x"])
    return float((names["int8"](names["x"]) - exact).norm() / exact.norm())


def test_saving_loading_and_int8_run_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run(block for block in BLOCKS if not needs(block))
    certificate = names["result"].certificate
    assert 0 <= certificate.asked["params"] - certificate.deployed["params"] < 0.02
    said = capsys.readouterr().out
    assert "asked 30.00%" in said and re.search(r"^4 +32 -> +\d+ +[\d.]+% +72 -> +\d+ ", said, re.MULTILINE)
    assert off_by(names) < 0.03
    assert {path.name for path in (tmp_path / "small").iterdir()} == {"model.safetensors", "lzero.json", "weights.pt"}


@pytest.mark.slow
def test_all_of_it_runs(tmp_path, monkeypatch):
    for name in (*STACKS, "onnxruntime", "onnxscript"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    monkeypatch.chdir(tmp_path)
    names = run(BLOCKS)
    assert {name for block in BLOCKS for name in needs(block)} == set(HEAVY)
    assert off_by(names) < 0.03 and lzero.gates_of(names["small"]) is None
