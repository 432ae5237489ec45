"""The pages on other people's loops: every block runs, in order, and ships at its budget."""

import re
import warnings
from pathlib import Path

import pytest
import torch

from lzero.errors import LzeroWarning
from lzero_lab.watching import look

ROOT = Path(__file__).parent.parent


def run(name):
    """What each block of a page leaves as ``result``, and all names at the end."""
    names, results = {"__name__": "page"}, []
    torch.manual_seed(0)
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.DOTALL):
        names.pop("result", None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LzeroWarning)  # the trainings are as short as a page
            exec(compile(block, f"docs/{name}", "exec"), names)
        results.append(names.get("result"))
    return results, names


def check(results):
    shipped = [result for result in results if result is not None]
    for result in shipped:
        certificate = result.certificate
        assert all(certificate.deployed[name] <= asked for name, asked in certificate.asked.items())
        assert certificate.asked and certificate.largest_difference < 1e-4
    return len(shipped)


@pytest.mark.slow
def test_the_page_of_loops(group, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results, _ = run("loops.md")
    assert look(tmp_path / "rows.csv").state == "finished"
    assert check(results) == len(results) >= 12


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_page_of_adapters():
    pytest.importorskip("peft")
    results, names = run("peft.md")
    assert check(results) == len(results) == 3
    gap = names["merged"](names["x"]) - names["first"]
    assert float(gap.abs().max()) < 1e-5


def test_the_page_of_distillation():
    results, _ = run("distillation.md")
    assert check(results) == 1 and results[0].certificate.asked == {"params": 0.3}


def test_the_page_of_cheaper_trainings():
    results, names = run("cheaper.md")
    assert check(results) == 1 and names["compaction"].removed


def test_the_page_of_several_sizes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, names = run("several.md")
    assert check(names["results"]) == 3
    asked = [result.certificate.asked["params"] for result in names["results"]]
    assert asked == [0.6, 0.4, 0.2]
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
