"""The pages on other people's loops: every block runs, in order, and ships at its budget."""

import re
from pathlib import Path

import pytest
from page_blocks import blocks_of, check_shipped, run

from lzero_lab.watching.look import look

ROOT = Path(__file__).parent.parent


def check(names):
    """How many models the blocks of a page have shipped, each within its budget."""
    check_shipped(names["certificates"])
    return len(names["certificates"])


@pytest.mark.slow
def test_the_page_of_loops(group, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("loops.md")
    assert look(tmp_path / "rows.csv").state == "finished"
    assert check(names) == len(blocks_of("loops.md")) >= 12


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_page_of_adapters():
    pytest.importorskip("peft")
    names = run("peft.md")
    assert check(names) == len(blocks_of("peft.md")) == 3
    gap = names["merged"](names["x"]) - names["first"]
    assert float(gap.abs().max()) < 1e-5


def test_the_page_of_distillation():
    names = run("distillation.md")
    assert check(names) == 1 and names["certificates"][0].asked == {"params": 0.3}


def test_the_page_of_cheaper_trainings():
    names = run("cheaper.md")
    assert check(names) == 1 and names["compaction"].removed


def test_the_page_of_several_sizes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("several.md")
    certificates = [result.certificate for result in names["results"]]
    check_shipped(certificates)
    assert [certificate.asked["params"] for certificate in certificates] == [0.6, 0.4, 0.2]
    rows = names["front"].rows
    assert [row["measure"] for row in rows] == ["params", "params", "params", "macs"]
    assert all(row["shipped"] <= row["asked"] for row in rows) and (tmp_path / "front.csv").exists()


@pytest.mark.parametrize("name", ["loops.md", "peft.md", "distillation.md", "cheaper.md", "several.md"])
def test_every_link_leads_somewhere(name):
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    heads = {
        re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^## (.*)$", page, re.M)
    }
    for place in re.findall(r"\]\(([^)]+)\)", page):
        if not place.startswith("https://"):
            assert place[1:] in heads if place.startswith("#") else (ROOT / "docs" / place).exists(), place
