"""Figures of run folders, from their CSV files alone."""

import pytest

from lzero.errors import RecordError
from lzero.recorder import Recorder
from lzero_lab.errors import DataError
from lzero_lab.runs import figures
from lzero_lab.runs.figures import KINDS, default_kind, draw, draw_all


def written(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    recorder = Recorder()
    for row in rows:
        recorder.append(**row)
    recorder.to_csv(path)
    return path


def epochs(target=None):
    asked = {} if target is None else {"target": target, "multiplier_loss_units": 0.1}
    bins = {f"p_{number:02d}": 5 for number in range(20)}
    return [{"epoch": n, "step": 9 * n, "loss": 1 / n, "error": 0.1, "expected": 0.5, "deployed": 0.5, **asked, **bins}
            for n in (1, 2, 3)]  # fmt: skip


@pytest.fixture
def training(tmp_path):
    written(tmp_path / "run" / "rows.csv", epochs(0.3))
    return tmp_path / "run"


@pytest.fixture
def comparison(tmp_path):
    folder = tmp_path / "comparison"
    rows = [{"method": "constrained", "asked": 0.3, "shipped": 0.3, "error": 0.1, "folder": "constrained"}]
    rows += [{"method": "penalized", "coefficient": 0.5, "shipped": 0.6, "error": 0.1, "folder": "penalized-0.5"}]
    rows += [{"method": "grid search", "coefficient": 0.5, "asked": 0.3, "shipped": 0.6, "error": 0.1}]
    rows += [{"method": "dense", "shipped": 1.0, "error": 0.1, "folder": "dense"}]
    written(folder / "comparison.csv", rows)
    for name in ("constrained", "penalized-0.5"):
        written(folder / name / "rows.csv", epochs(0.3 if name == "constrained" else None))
    return folder


def test_a_training_has_the_figures_of_what_it_wrote(training):
    assert [path.name for path in draw_all(training)] == ["dynamics.png"]
    written(training / "architecture.csv", [{"layer": "fc1", "kept": 3, "total": 9}])
    assert [path.name for path in draw_all(training)] == ["dynamics.png", "architecture.png", "histogram.png"]
    assert all((training / f"{name}.png").stat().st_size > 1000 for name in ("dynamics", "architecture", "histogram"))


def test_a_comparison_has_a_line_a_training_and_a_point_a_way(comparison, monkeypatch):
    drawn = {}
    for kind in ("dynamics", "trade_off"):
        original = getattr(figures.plots, kind)
        monkeypatch.setattr(
            figures.plots, kind, lambda *a, k=kind, o=original, **b: (drawn.update({k: a}), o(*a, **b))[1]
        )
    assert [path.name for path in draw_all(comparison)] == ["dynamics.png", "trade-off.png"]
    runs, target = drawn["dynamics"]
    assert list(runs) == ["constrained", "penalized, λ = 0.5"] and target == 0.3  # as the rows say
    assert [row["method"] for row in drawn["trade_off"][0]] == ["constrained", "penalized", "dense"]


def test_the_error_of_our_own_rows_is_said_to_be_the_validation_sets(training, tmp_path, monkeypatch):
    labels = []
    original = figures.plots.dynamics
    monkeypatch.setattr(
        figures.plots, "dynamics", lambda *a, **b: (labels.append(b["error_label"]), original(*a, **b))[1]
    )
    draw(training, tmp_path / "a.png")
    draw(training / "rows.csv", tmp_path / "a.png")
    (training / "config.json").write_text("{}")
    draw(training / "rows.csv", tmp_path / "a.png")
    assert labels == ["validation error", "error", "validation error"]


def test_a_comparison_has_its_control_too_where_that_is_asked_for(comparison, tmp_path):
    assert draw(comparison, tmp_path / "control.png", "control").stat().st_size > 1000


def test_the_most_important_kind_is_the_default(comparison, training, tmp_path):
    written(tmp_path / "sweep" / "sweep.csv", [{"method": "constrained", "asked": 0.3, "shipped": 0.3, "error": 0.1}])
    places = (comparison, training, tmp_path / "sweep", training / "rows.csv")
    assert [default_kind(place) for place in places] == ["dynamics", "dynamics", "control", "dynamics"]
    assert [path.name for path in draw_all(tmp_path / "sweep")] == ["control.png", "trade-off.png"]


def test_what_cannot_be_drawn_says_why(training, tmp_path):
    with pytest.raises(DataError, match=f"no kind is called 'pie'; there are: {', '.join(KINDS)}"):
        draw(training, tmp_path / "a.png", "pie")
    with pytest.raises(DataError, match=r"nothing to draw; expected comparison\.csv, sweep\.csv, rows\.csv"):
        draw_all(tmp_path)
    kinds = "dynamics, architecture, histogram"
    with pytest.raises(
        DataError, match=f"holds one training, of which there .* the kind control; choose one of {kinds}"
    ):
        draw(training, tmp_path / "a.png", "control")
    with pytest.raises(DataError, match="the kind control needs the columns method, asked, shipped, and there is no"):
        draw(training / "rows.csv", tmp_path / "a.png", "control")
    with pytest.raises(DataError, match=r"has no architecture\.csv to draw; choose another --kind"):
        draw(training, tmp_path / "a.png", "architecture")
    with pytest.raises(RecordError, match=r"ends in '\.gif'"):
        draw(training, tmp_path / "a.gif")
    assert not list(tmp_path.glob("a.*"))
