"""The study of the gradients: it runs, what it integrates is unbiased, and its page is what its rows say."""

import importlib.util
import sys
from pathlib import Path

import pytest

from lzero.recorder import Recorder

FIGURES = Path(__file__).parents[2] / "figures"


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(FIGURES)
    spec = importlib.util.spec_from_file_location("gradients", FIGURES / "gradients.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gradients", module)
    spec.loader.exec_module(module)
    return module


def test_the_study_runs_at_a_tiny_size(study, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "OPEN", (0.5,))
    study.main(["--scale", "64", "--steps", "5", "--out", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {"gradients.csv", "gradients.md", "gradients.png"}
    rows = Recorder.from_csv(tmp_path / "gradients.csv").rows
    assert {row["estimator"] for row in rows} == set(study.ESTIMATORS)
    assert len(rows) == 2 * (3 + 2 * (len(study.ESTIMATORS) - 3))
    for row in rows:
        if row["estimator"] in ("ARM", "AR"):
            assert row["bias_binary"] < 1e-9 and row["direction_binary"] == pytest.approx(1)


def test_the_page_is_what_the_rows_say(study):
    rows = Recorder.from_csv(FIGURES / "gradients.csv").rows
    assert (FIGURES / "gradients.md").read_text() == study.report(rows), "run python figures/gradients.py --redraw"


def test_the_measured_biases_are_where_the_theory_has_them():
    for row in Recorder.from_csv(FIGURES / "gradients.csv").rows:
        if row["estimator"] in ("ARM", "AR"):
            assert row["bias_binary"] < 1e-9
        elif row["estimator"] == "straight-through":
            assert row["bias_binary"] > 4 * row["error_binary"] or row["network"] == "untrained"
        elif row["estimator"] == "deterministic":
            assert row["bias_own"] < 1e-6 and row["deviation"] == 0 and row["direction_own"] == pytest.approx(1)
        else:  # a pathwise gradient is unbiased for the objective that it smooths
            assert row["bias_own"] <= 3 * row["error_own"]
