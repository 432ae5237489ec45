"""The page about Hugging Face runs, and ends at or below its budgets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "transformers.md"

pytestmark = pytest.mark.slow


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
        assert all(certificate.deployed[name] <= asked for name, asked in certificate.asked.items())
    assert len(blocks) == 8 and names["solver"].steps == names["steps"]
