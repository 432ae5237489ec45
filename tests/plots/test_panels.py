"""Training dynamics: what each panel shows, in what unit, and what it says where it has nothing to show."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from plots.rows import RUNS, legend_labels, line, run, texts

from lzero import plots
from lzero.errors import RecordError
from lzero.recorder import Recorder


def test_dynamics_has_four_panels_in_percent_with_the_target():
    figure, axes = plots.dynamics(RUNS, 0.1)
    density, multiplier, loss, error = axes.flat
    assert axes.shape == (2, 2)
    assert [panel.get_ylabel() for panel in axes.flat] == ["density (%)", "multiplier λ", "loss", "error (%)"]
    assert axes[1, 0].get_xlabel() == axes[1, 1].get_xlabel() == "epoch"

    rows = RUNS["constrained"]
    deployed, expected = line(density, "constrained"), line(density, "constrained", dashed=True)
    np.testing.assert_allclose(deployed.get_ydata(), [100 * row["deployed"] for row in rows])
    np.testing.assert_allclose(expected.get_ydata(), [100 * row["expected"] for row in rows])
    np.testing.assert_allclose(line(multiplier, "constrained").get_ydata(), [row["multiplier"] for row in rows])
    np.testing.assert_allclose(line(error, "constrained").get_ydata(), [100 * row["error"] for row in rows])
    assert any(np.allclose(one.get_ydata(), 10.0) for one in density.get_lines())
    assert "ε = 10 %" in texts(density)
    assert loss.get_yscale() == "log"  # spans a factor of 128
    assert legend_labels(figure) == [*RUNS, "deployed density", "expected density", "annealed target"]


def test_a_run_has_one_colour_in_every_panel_and_no_two_runs_share_it():
    _, axes = plots.dynamics(RUNS)
    colours = {label: {line(panel, label).get_color() for panel in axes.flat} for label in RUNS}
    assert all(len(found) == 1 for found in colours.values())
    assert len(set.union(*colours.values())) == len(RUNS)


def test_a_panel_without_its_column_says_so():
    figure, axes = plots.dynamics({"only": [{"step": 3, "loss": 0.4}]}, 0.1)
    assert texts(axes[0, 0]) == ["no column deployed or expected\nin these rows"]
    assert texts(axes[0, 1]) == ["no column multiplier\nin these rows"]
    assert texts(axes[1, 1]) == ["no column error\nin these rows"]
    assert texts(axes[1, 0]) == []
    assert axes[1, 0].get_xlabel() == "step"
    assert legend_labels(figure) == ["only"]


def test_a_column_that_one_run_lacks_is_drawn_for_the_others():
    _, axes = plots.dynamics({"with": run(0.1), "without": [{"epoch": 1, "loss": 1.0}]})
    assert [one.get_label() for one in axes[1, 1].get_lines()] == ["with"]


def test_the_multiplier_can_be_shown_in_units_of_the_loss():
    rows = run(0.1, multiplier_loss_units=7.0)
    _, axes = plots.dynamics({"run": rows}, multiplier="multiplier_loss_units")
    assert axes[0, 1].get_ylabel() == "λ·u (units of the loss)"
    np.testing.assert_allclose(line(axes[0, 1], "run").get_ydata(), 7.0)


def test_the_last_panel_says_whose_error_it_is():
    _, axes = plots.dynamics({"run": run(0.1)}, error_label="validation error")
    assert (axes[1, 1].get_title(loc="left"), axes[1, 1].get_ylabel()) == ("Validation error", "validation error (%)")


def test_a_run_of_one_epoch_has_one_tick_and_shows_both_densities():
    figure, axes = plots.dynamics({"a": run(0.1, 1), "b": run(0.2, 1)}, 0.1)
    figure.draw_without_rendering()
    low, high = axes[1, 0].get_xlim()
    for panel in axes[1]:
        assert [tick for tick in panel.get_xticks() if low <= tick <= high] == [1]
    assert all(one.get_marker() != "None" for one in axes[0, 0].get_lines() if one.get_label() in ("a", "b"))
    assert axes[0, 0].get_xlim() == axes[1, 1].get_xlim()  # one time axis for all


def test_nan_leaves_a_gap_and_a_recorder_is_rows():
    recorder = Recorder()
    recorder.append(epoch=1, loss=1.0)
    recorder.append(epoch=2, loss=float("nan"))
    _, axes = plots.dynamics({"run": recorder})
    np.testing.assert_array_equal(line(axes[1, 0], "run").get_ydata(), [1.0, np.nan])


def test_time_is_the_epoch_else_the_step_else_the_row_and_the_same_for_all_runs():
    both, step, row = {"epoch": 5, "step": 70, "loss": 1.0}, {"step": 80, "loss": 1.0}, {"loss": 1.0}
    for runs, name, times in (
        ({"a": [both, {**both, "epoch": 6}]}, "epoch", [[5, 6]]),
        ({"a": [both], "b": [step]}, "step", [[70], [80]]),
        ({"a": [both, both], "b": [row]}, "row", [[1, 2], [1]]),
    ):
        _, axes = plots.dynamics(runs)
        assert axes[1, 0].get_xlabel() == axes[1, 1].get_xlabel() == name
        assert [one.get_xdata().tolist() for one in axes[1, 0].get_lines()] == times


@pytest.mark.parametrize(("last", "scale"), [(0.051, "linear"), (0.049, "log"), (0.0, "linear"), (-1.0, "linear")])
def test_an_axis_is_logarithmic_where_positive_values_span_more_than_a_factor_of_twenty(last, scale):
    rows = [{"epoch": 1, "loss": 1.0, "error": 1.0}, {"epoch": 2, "loss": last, "error": last}]
    _, axes = plots.dynamics({"a": rows})
    assert axes[1, 0].get_yscale() == axes[1, 1].get_yscale() == scale


def test_the_annealed_target_is_that_of_the_first_run_that_records_one():
    rows = {"without": run(0.1), "with": run(0.1, annealed_target=0.4), "another": run(0.1, annealed_target=0.7)}
    _, axes = plots.dynamics(rows)
    drawn = [one.get_ydata() for one in axes[0, 0].get_lines() if one.get_label() not in rows]
    assert len(drawn) == 1
    np.testing.assert_allclose(drawn[0], 40.0)


@pytest.mark.parametrize(
    ("runs", "axes", "message"),
    [
        ({}, None, r"plots\.dynamics: no runs to draw; pass {label: rows}"),
        ({"a": []}, None, r"plots\.dynamics \(a\): no rows to draw"),
        ({"a": run(0.1)}, Figure().subplots(1, 3), "3 axes were given, expected 4"),
        ({"a": [{"epoch": 1, "loss": "low"}]}, None, "column loss holds the text 'low'"),
    ],
)
def test_runs_that_cannot_be_drawn_are_refused(runs, axes, message):
    with pytest.raises(RecordError, match=message):
        plots.dynamics(runs, axes=axes)
