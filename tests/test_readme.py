"""README says what the committed measurements say, and its programs run."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent


def test_the_measured_part_is_what_the_csv_files_give(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["readme.py", "--check"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(ROOT / "figures" / "readme.py"), run_name="__main__")
    assert exit_.value.code == 0, "README.md is older than the CSV files: run python figures/readme.py"


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_an_example_ships_what_it_asks_for(example, capsys):
    names = runpy.run_path(str(example))
    certificate = names["result"].certificate
    assert 0 <= certificate.requested["params"] - certificate.deployed["params"] < 0.01
    assert "asked 10.00%" in capsys.readouterr().out


def test_the_plain_loop_stays_short():
    assert len((ROOT / "examples" / "plain_loop.py").read_text().splitlines()) < 30


def test_the_page_of_methods_runs_from_top_to_bottom():
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), re.DOTALL)
    torch.manual_seed(0)
    for block in blocks:
        exec(compile(block, "docs/methods.md", "exec"), names)
        if "result" in names:
            certificate = names["result"].certificate
            assert all(certificate.deployed[name] <= asked for name, asked in certificate.requested.items())
    assert len(blocks) > 4 and sum(p.numel() for p in names["small"].parameters()) <= 0.3 * 1268
