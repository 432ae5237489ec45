"""README says what the committed measurements say, and the page of methods runs."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("script", ["readme", "measured", "lessons"])
def test_what_was_measured_is_what_the_csv_files_give(script, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--check"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(ROOT / "figures" / f"{script}.py"), run_name="__main__")
    assert exit_.value.code == 0, f"it is older than the CSV files: run python figures/{script}.py"


def test_the_page_of_methods_runs_from_top_to_bottom():
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), re.DOTALL)
    torch.manual_seed(0)
    for block in blocks:
        exec(compile(block, "docs/methods.md", "exec"), names)
        if "result" in names:
            certificate = names["result"].certificate
            assert all(certificate.deployed[name] <= asked for name, asked in certificate.asked.items())
    assert len(blocks) > 4 and sum(p.numel() for p in names["small"].parameters()) <= 0.3 * 1268
