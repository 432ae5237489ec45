"""Every block of Python in README and docs runs: here, or in the test file that is named for it."""

import shlex
import warnings

import pages
import pytest
import torch
from pages import ROOT, blocks, commands, differs

import lzero
from lzero_lab.cli.main import command_parsers

# Pages with tests that say more than that they run.
ELSEWHERE = {
    "docs/architecture.md": "test_architecture.py",
    "docs/cheaper.md": "test_loop_pages.py",
    "docs/distillation.md": "test_loop_pages.py",
    "docs/figures.md": "test_explaining_pages.py",
    "docs/gpus.md": "test_explaining_pages.py",
    "docs/latency.md": "latency/test_page.py",
    "docs/lightning.md": "integrations/lightning/test_page.py",
    "docs/loops.md": "test_loop_pages.py",
    "docs/mathematics.md": "test_explaining_pages.py",
    "docs/methods.md": "test_readme.py",
    "docs/peft.md": "test_loop_pages.py",
    "docs/pretrained.md": "test_explaining_pages.py",
    "docs/several.md": "test_loop_pages.py",
    "docs/ship.md": "test_ship.py",
    "docs/transformers.md": "integrations/test_programs.py",
    "docs/wrong.md": "docs/test_wrong.py",
}
WRITTEN = sorted(str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
PROGRAMS = [page for page in WRITTEN if blocks(page)]
HERE = [page for page in PROGRAMS if page not in ELSEWHERE]
COMMANDS = [(page, line) for page in WRITTEN for line in commands(page) if line.startswith("lzero ")]


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """Files go where nobody minds, and the trainings are as short as a page."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lzero.LzeroWarning)
        yield tmp_path


@pytest.mark.parametrize("page", HERE)
def test_a_page_runs_from_top_to_bottom_and_prints_what_it_says(page):
    found = pages.run(page)
    result = found.get("result")
    if isinstance(result, lzero.PurgeResult):
        certificate = result.certificate
        assert certificate.asked
        assert all(certificate.deployed[name] <= asked for name, asked in certificate.asked.items())


def test_no_page_is_left_out():
    for page, test in ELSEWHERE.items():
        assert page in PROGRAMS, f"{page}: has no blocks of Python; take it out of ELSEWHERE"
        name, path = page.rpartition("/")[2], ROOT / "tests" / test
        assert path.stem == f"test_{name[:-3]}" or name in path.read_text(encoding="utf-8"), f"{test}: {page}"
    assert {"README.md", "docs/index.md", "docs/start.md", "docs/budget.md"} <= set(HERE)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: value if value.startswith("lzero") else None)
def test_a_command_that_is_shown_is_one(page, line):
    words = shlex.split(line, comments=True)[1:]
    parser = command_parsers()[words[0]]
    options = parser.parse_args([word.replace("...", "x") for word in words[1:]])
    assert options.run


def test_what_a_page_says_is_compared_in_words_and_numbers():
    assert not differs("error 2.3%,  1,240 parameters\n", "error 3.0%, 1,204 parameters")
    assert "1,240" in differs("1,240 parameters", "2,240 parameters")
    assert "prints" in differs("4 groups", "4 units")
