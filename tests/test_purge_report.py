"""The report of a purged model, from anybody's loop: with rows of the training, and without."""

import subprocess
import sys

import pytest
import torch
from html_pages import checked
from torch import nn

import lzero

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # of trainings that are this short


@pytest.fixture(scope="module")
def trained():
    """A result, and the rows of the few steps that led to it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 2))
    x = torch.randn(256, 8)
    gates = lzero.attach_gates(model, x[:2])
    constraints = [lzero.Constraint(0.3), lzero.Constraint(0.5, "macs")]
    solver = lzero.Solver(gates, constraints=constraints, total_steps=40)
    optimizer, recorder = torch.optim.Adam(model.parameters(), lr=1e-2), lzero.Recorder()
    for step in range(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())
        loss.backward()
        solver.step()
        optimizer.step()
        recorder.append(step=step, loss=loss, **solver.metrics(), **gates.histogram())
    front = lzero.front(model, [0.3, 0.1], lambda small: small(x).square().mean())
    return lzero.purge(model), recorder, front


def test_the_page_of_a_loop_has_it_all(trained, tmp_path):
    result, recorder, front = trained
    given = {"front": front.rows, "title": "A small net", "configuration": {"lr": 1e-2}}
    path = result.report(tmp_path / "report.html", recorder, **given)
    page = checked(path.read_text(encoding="utf-8"))
    certificate = result.certificate
    for column in (certificate.asked, certificate.expected, certificate.before_settling, certificate.deployed):
        assert all(f"{100 * value:.2f} %" in page.text for value in column.values())
    for name in ("parameters", "macs"):
        assert f"{result.table().total(f'{name}_before'):,} → {result.table().total(name):,}" in page.text
    for row in result.table().rows:
        assert f"{row['parameters_before']:,} → {row['parameters']:,}" in page.text
    assert len(page.all("svg")) == 3 + 1 + 2  # density, multiplier, loss; gates; two measures of the front
    assert all(words in page.text for words in ("A small net", "Gates over time", "lr 0.01", *certificate.warnings))


def test_without_rows_it_shows_what_there_is(trained, tmp_path):
    page = checked(trained[0].report(tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.all("svg") == [] and "Layer by layer" in page.text and "Sequential" in page.pieces


def test_what_purged_nothing_has_a_report_too(trained, tmp_path):
    result = lzero.PurgeResult(nn.Linear(2, 2), trained[0].certificate, {})
    assert "Layer by layer" not in checked(result.report(tmp_path / "a.html").read_text(encoding="utf-8")).text


def test_a_report_needs_a_name_of_a_file(trained, tmp_path):
    with pytest.raises(lzero.RecordError, match="report: expected the name of a file"):
        trained[0].report("")


@pytest.mark.slow
def test_purging_loads_neither_templates_nor_figures():
    code = (
        "import sys, torch, lzero\n"
        "model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))\n"
        "gates = lzero.attach_gates(model, torch.randn(1, 2))\n"
        "gates.histogram(), lzero.purge(model, settle=False)\n"
        "print([name for name in ('matplotlib', 'jinja2', 'lzero.report', 'lzero.plots') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
