"""Evaluation against what is left: a panel for what the rows have, and what was cut is marked."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from plots.rows import FRONT, legend_labels

from lzero import plots
from lzero.errors import RecordError


def lines(axes):
    """The lines of whole series, without the bars of repetitions."""
    return [line for line in axes.get_lines() if line.get_marker() != "None"]


def test_every_quantity_of_the_rows_has_a_panel():
    figure, axes = plots.front(FRONT, scale=100, label="test error (%)")
    names = ["parameters left (%)", "MACs left (%)", "milliseconds a forward"]
    assert [panel.get_xlabel() for panel in axes] == names and axes[0].get_ylabel() == "test error (%)"
    np.testing.assert_allclose(lines(axes[0])[0].get_xydata(), [[10, 4], [50, 2]])
    np.testing.assert_allclose(lines(axes[1])[0].get_xydata(), [[20, 4], [60, 2]])
    np.testing.assert_allclose(lines(axes[2])[0].get_xydata(), [[1, 4], [3, 2]])
    assert legend_labels(figure) == ["one training, cut at other budgets", "trained"]
    without = [{name: value for name, value in row.items() if name != "milliseconds"} for row in FRONT]
    assert len(plots.front(without)[1]) == 2
    assert len(plots.front([{"params": 0.1, "evaluation": 1.0}])[1]) == 1


def test_what_was_cut_is_dashed_and_said():
    figure, axes = plots.front(FRONT)
    assert [line.get_linestyle() for line in lines(axes[0])] == ["--", "-"]
    assert "not equal to training at each" in figure.get_supxlabel()
    whole = [row for row in FRONT if not row["cut"]]
    assert plots.front(whole)[0].get_supxlabel() == ""


def test_repetitions_are_a_mean_with_bars():
    rows = [{"asked": 0.1, "params": params, "evaluation": value} for params, value in ((0.1, 1.0), (0.08, 3.0))]
    _, (axes,) = plots.front([*rows, {"asked": 0.5, "params": 0.5, "evaluation": 0.0}], log_x=True)
    np.testing.assert_allclose(lines(axes)[0].get_xydata(), [[9, 2], [50, 0]])
    bars = [line.get_xydata().tolist() for line in axes.get_lines() if line.get_marker() == "None"]
    assert any(np.allclose(bar, [[9, 1], [9, 3]]) for bar in bars)
    assert axes.get_xscale() == "log" and axes.get_yscale() == "linear"


def test_the_limits_hold_all_points():
    _, axes = plots.front(FRONT, log_y=True)
    for panel, x in zip(axes, (50, 60, 3), strict=True):
        assert panel.get_xlim()[1] < 2 * x  # of its own: nothing of another panel widens it
        assert panel.get_xlim()[0] < x < panel.get_xlim()[1] and panel.get_ylim()[0] < 0.02 < panel.get_ylim()[1]


def test_the_callers_own_axes_are_drawn_into():
    own = Figure()
    given = own.subplots(1, 3)
    figure, axes = plots.front(FRONT, axes=given)
    assert figure is own and list(given) == axes and own.get_supxlabel() == ""
    assert "cut" in given[0].get_legend().get_texts()[0].get_text()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"plots\.front: no rows to draw"),
        ([{"params": 0.1}], "row 1 has no evaluation; it has: params"),
        ([{"evaluation": 0.1}], "row 1 has no params; it has: evaluation"),
    ],
)
def test_rows_that_cannot_be_drawn_say_what_is_missing(rows, message):
    with pytest.raises(RecordError, match=message):
        plots.front(rows)
    with pytest.raises(RecordError, match="1 axes were given, expected 3"):
        plots.front(FRONT, axes=[Figure().subplots()])
