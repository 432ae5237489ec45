"""The page on latency: every block on it runs, in order, with a clock that follows a formula."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from ticking import Ticking
from torch import nn

import lzero

PAGE = (Path(__file__).parents[2] / "docs" / "latency.md").read_text(encoding="utf-8")
TIMES = {
    nn.Linear: lambda layer, x: 1e-7 * layer.weight.numel() + 1e-6,
    nn.Conv2d: lambda layer, x: 1e-6 * layer.weight.numel() + 1e-6,
}


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    clock = Ticking(TIMES)
    monkeypatch.setattr(lzero.latency, "measure", partial(lzero.latency.measure, clock=clock))
    torch.manual_seed(0)
    names: dict = {"__name__": "page"}
    with clock.running():
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "docs/latency.md", "exec"), names)
    certificate = names["result"].certificate
    assert 0 <= 0.5 - certificate.deployed["latency"] < 0.05
    assert certificate.latency.measured is not None
    assert "by the table (batch 32, 1 thread); measured again" in capsys.readouterr().out
