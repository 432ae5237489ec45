"""The page of documentation on reports: its block runs, and its commands and columns are those that there are."""

import re
from pathlib import Path

import pytest
import torch
from html_pages import checked

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # its training is short
def test_the_block_writes_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {"__name__": "page"}
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "docs/report.md", "exec"), names)
    found = checked((tmp_path / names["page"]).read_text(encoding="utf-8"))
    assert "Eight numbers, two classes" in found.text and "Gates over time" in found.text
    assert names["result"].certificate.deployed["params"] <= 0.3


def test_every_link_leads_somewhere():
    places = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert places and all((ROOT / "docs" / place).exists() for place in places)


def test_its_options_are_those_of_the_command(capsys):
    from lzero_lab.cli import main

    assert main(["report", "--help"]) == 0
    said = capsys.readouterr().out
    asked = set(re.findall(r"(?<![|-])--[a-z-]+", PAGE))
    assert asked == {"--front", "--files-only"} and all(option in said for option in asked)
