"""The examples and the page about Hugging Face run, and end at or below their budgets."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "transformers.md"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("stem", "asked", "unit"), [("transformers", 0.40, 0.003), ("accelerate", 0.10, 0.01)])
def test_an_example_ends_within_its_budget_and_prints_both_errors(stem, asked, unit, capsys):
    for package in ("transformers", "accelerate", "sklearn"):
        pytest.importorskip(package)
    names = runpy.run_path(str(ROOT / "examples" / f"{stem}_digits.py"))
    certificate = names["result"].certificate
    assert certificate.requested["params"] == asked and not certificate.warnings
    assert 0 <= asked - certificate.deployed["params"] < unit
    said = capsys.readouterr().out
    errors = {name: float(error) for name, error in re.findall(r"(\w+): test error ([0-9.]+)%", said)}
    assert errors.keys() == {"dense", "purged"} and max(errors.values()) < 10
    assert stem != "transformers" or "the same logits to the bit" in said


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch):
    pytest.importorskip("accelerate")
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        exec(compile(block, "docs/transformers.md", "exec"), names)
        certificate = names["result"].certificate
        assert all(certificate.deployed[name] <= asked for name, asked in certificate.requested.items())
    assert len(blocks) == 8 and names["solver"].steps == names["steps"]
