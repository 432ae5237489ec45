"""The page about Lightning: its blocks run from top to bottom, and what it ships is what it asks for."""

import re
from pathlib import Path

import pytest
import torch

import lzero

PAGE = (Path(__file__).parents[3] / "docs" / "lightning.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "error::lzero.LzeroWarning")
@pytest.mark.filterwarnings("ignore:.*whatever is open is shipped:lzero.LzeroWarning")
def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict = {"__name__": "page"}
    shipped = []
    for block in BLOCKS:
        exec(compile(block, "docs/lightning.md", "exec"), names)
        result = names.get("result")
        if result is not None and result not in shipped:
            shipped.append(result)
    assert len(shipped) == 2  # by the Trainer and by Fabric
    for result in shipped:
        unit = (64 + 1 + 40) / result.certificate.parameters_before
        assert 0 <= 0.3 - result.certificate.deployed["params"] < unit and not result.certificate.warnings
    assert "asked 30.00%" in capsys.readouterr().out
    assert isinstance(names["budget"], lzero.integrations.lightning.Budget)


def test_the_page_says_how_many_lines_there_are_to_write():
    counted = [int(number) for number in re.findall(r"^\| [^|]+ \| (\d)\b", PAGE, re.MULTILINE)]
    assert counted == [1, 1, 0, 0]
    assert len([line for line in BLOCKS[1].splitlines() if "Budget(" in line]) == 1
    fabric = BLOCKS[-1]
    assert re.findall(r"  # (\d)$", fabric, re.MULTILINE) == ["1", "2"]
