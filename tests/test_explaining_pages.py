"""The pages that explain: their formulas hold, their programs run, their links lead somewhere."""

import os
import re
from importlib.util import find_spec

import pytest
import torch
from page_blocks import DOCS, blocks_of, check_shipped, run
from processes import PROCESSES
from processes import run as in_processes

PAGES = ("mathematics.md", "pretrained.md", "figures.md", "gpus.md")


def test_the_formulas_are_what_the_code_computes():
    names = run("mathematics.md")
    assert len(blocks_of("mathematics.md")) >= 12 and names["shipped"][0].certificate.largest_difference < 1e-5


def test_a_formula_that_is_wrong_is_noticed():
    blocks = blocks_of("mathematics.md")
    step = next(number for number, block in enumerate(blocks) if "by_hand" in block)
    names = run("mathematics.md", [block for block in blocks[:step] if "def " in block or "beta" in block])
    run("mathematics.md", [blocks[step]], names)
    changes = (
        ("0.99 * running + 0.01", "0.98 * running + 0.02"),
        ("(step + 1)", "(step + 2)"),
        ("** 3", "** 2"),
        ("max(1, int", "(int"),
    )
    for right, wrong in changes:
        assert right in blocks[step]
        with pytest.raises(AssertionError):
            run("mathematics.md", [blocks[step].replace(right, wrong)], names)


def test_trained_weights_to_a_budget(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    names = run("pretrained.md")
    check_shipped(names["certificates"])
    assert len(names["shipped"]) == 5
    assert names["error"](names["dense"]) < 0.08
    assert all(names["error"](result.model) < 0.15 for result in names["shipped"][:4])


def test_figures_from_rows_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("figures.md")
    check_shipped(names["certificates"])
    assert (tmp_path / "dynamics.png").stat().st_size > 10_000 and (tmp_path / "rows.csv").exists()


def plain_blocks():
    """Those of the page of GPUs that need no other library."""
    return [block for block in blocks_of("gpus.md") if "accelerate" not in block]


def sharded_blocks():
    return [block for block in plain_blocks() if "fully_shard" in block or "FullySharded" in block]


@pytest.mark.filterwarnings("ignore")
def test_the_programs_for_several_gpus_in_one_process(group, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("gpus.md", [block for block in plain_blocks() if block not in sharded_blocks()])
    check_shipped(names["certificates"])
    assert len(names["shipped"]) == 1 and (tmp_path / "small" / "lzero.json").exists()


def whole_page(rank, place):
    os.chdir(place)
    names = run("gpus.md", plain_blocks())
    return {"certificates": names["certificates"], "gates": names["gates"].log_alpha.detach().clone()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_programs_for_several_gpus_in_two_processes(tmp_path):
    found = in_processes(tmp_path, whole_page, place=str(tmp_path))
    assert len(found) == PROCESSES and torch.equal(found[0]["gates"], found[1]["gates"])
    assert [len(one["certificates"]) for one in found] == [3, 1]  # sharded models are purged on the first process
    for one in found:
        check_shipped(one["certificates"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_whole_page_for_several_gpus_where_accelerate_is_installed(group, tmp_path, monkeypatch):
    if find_spec("accelerate") is None:
        pytest.skip("accelerate is not installed")
    monkeypatch.chdir(tmp_path)
    names = run("gpus.md")
    check_shipped(names["certificates"])
    assert len(names["shipped"]) == 4


def heads(page):
    """The anchors of the headings of a page, as code hosts make them."""
    lines = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    return {
        re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^#+ (.*)$", lines, re.M)
    }


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    page = (DOCS / name).read_text(encoding="utf-8")
    for place in re.findall(r"\]\(([^)]+)\)", page):
        if place.startswith("https://"):
            continue
        path, _, anchor = place.partition("#")
        target = DOCS / path if path else DOCS / name
        assert target.exists(), place
        assert not anchor or anchor in heads(target.read_text(encoding="utf-8")), place


def test_every_figure_of_the_library_is_explained():
    from lzero import plots
    from lzero_lab.runs.figures import KINDS

    page = (DOCS / "figures.md").read_text(encoding="utf-8")
    assert all(f"`lzero.plots.{name}`" in page for name in plots.__all__ if name != "save")
    assert all(f"`{kind}`" in page for kind in KINDS)


def test_formulas_read_alike_on_a_code_host():
    """No escape that Markdown takes away, and nothing that the renderer of the site lacks."""
    page = re.sub(r"```.*?```", "", (DOCS / "mathematics.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    formulas = re.findall(r"\$\$(.*?)\$\$", page, re.DOTALL)
    formulas += re.findall(r"\$([^$\n]+)\$", re.sub(r"\$\$.*?\$\$", "", page, flags=re.DOTALL))
    assert len(formulas) > 80
    for formula in formulas:
        assert not re.search(r"\\[^a-zA-Z ]", formula), formula
