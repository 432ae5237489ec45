"""Asked, shipped and test error: where the points lie, and which side of the line is met."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from plots.rows import POINTS, legend_labels

from lzero import plots
from lzero.errors import RecordError
from lzero.plots import style
from lzero.recorder import Recorder


def test_control_puts_methods_on_the_percent_square_with_the_feasible_side_shaded():
    figure, axes = plots.control([*POINTS, {"method": "theirs", "asked": 0.3, "shipped": 0.076, "published": 1}])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("density asked for (%)", "density shipped (%)")
    assert axes.get_xlim() == axes.get_ylim()
    methods = [one for one in axes.get_lines() if one.get_marker() != "None"]
    assert len({one.get_marker() for one in methods}) == 3
    np.testing.assert_allclose(methods[1].get_ydata(), 60 * np.repeat([0.1, 0.2, 0.5], 3))
    assert to_rgb(methods[2].get_markerfacecolor()) == to_rgb(style.CARD)  # hollow
    assert to_rgb(methods[0].get_markerfacecolor()) != to_rgb(style.CARD)
    assert legend_labels(figure) == ["constrained", "penalized", "theirs (published)", "shipped = asked", "budget met"]
    (shade,) = axes.collections
    path = shade.get_paths()[0]
    assert path.contains_point((50, 20))
    assert not path.contains_point((20, 50))


def test_published_points_of_a_method_are_told_from_our_own():
    rows = [{"method": "m", "asked": 0.3, "shipped": 0.3, "error": 0.1, "published": flag} for flag in (0, 1)]
    for draw in (plots.control, plots.trade_off):
        figure, axes = draw(rows)
        ours, theirs = (one for one in axes.get_lines() if one.get_marker() != "None")
        assert to_rgb(theirs.get_markerfacecolor()) == to_rgb(style.CARD) != to_rgb(ours.get_markerfacecolor())
        assert legend_labels(figure)[:2] == ["m", "m (published)"]


def test_trade_off_joins_the_means_over_seeds_and_bars_their_range():
    rows = [
        {"method": "m", "asked": 0.2, "shipped": 0.20, "error": 0.01},
        {"method": "m", "asked": 0.2, "shipped": 0.16, "error": 0.03},
        {"method": "m", "asked": 0.1, "shipped": 0.10, "error": 0.05},
    ]
    _, axes = plots.trade_off(rows)
    (means,) = [one for one in axes.get_lines() if one.get_label() == "m"]
    np.testing.assert_allclose(means.get_xydata(), [[10, 5], [18, 2]])
    bars = [one.get_xydata().tolist() for one in axes.get_lines() if one is not means]
    assert any(np.allclose(bar, [[18, 1], [18, 3]]) for bar in bars)
    assert any(np.allclose(bar, [[16, 2], [20, 2]]) for bar in bars)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("density shipped (%)", "test error (%)")
    assert plots.trade_off(rows, log_x=True)[1].get_xscale() == "log"


def test_logarithmic_axes_begin_below_the_smallest_positive_density():
    rows = [{"method": "m", "asked": asked, "shipped": shipped} for asked, shipped in ((0.01, 0.0), (0.5, 0.4))]
    _, axes = plots.control(rows, log=True)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    np.testing.assert_allclose(axes.get_xlim(), (0.7, 65))
    assert axes.get_xlim() == axes.get_ylim()
    assert plots.control(rows)[1].get_xlim()[0] == 0


def test_without_what_was_asked_runs_that_shipped_alike_are_seeds_of_one_point():
    rows = [
        {"method": "m", "shipped": shipped, "error": error} for shipped, error in ((0.2, 0.1), (0.2, 0.3), (0.1, 0.5))
    ]
    _, axes = plots.trade_off(rows)
    (means,) = [one for one in axes.get_lines() if one.get_label() == "m"]
    np.testing.assert_allclose(means.get_xydata(), [[10, 50], [20, 20]])


@pytest.mark.parametrize(
    ("draw", "rows", "message"),
    [
        (plots.control, Recorder(), r"plots\.control: no rows to draw"),
        (plots.control, [{"method": "m", "asked": 0.1}], "row 1 has no shipped; it has: method, asked"),
        (plots.trade_off, [], r"plots\.trade_off: no rows to draw"),
        (plots.trade_off, [{"method": "m", "shipped": 0.1}], "row 1 has no error"),
        (plots.trade_off, [*POINTS, {"method": "m", "shipped": "x", "error": 1}], "column shipped holds the text 'x'"),
    ],
)
def test_rows_that_cannot_be_drawn_are_refused(draw, rows, message):
    with pytest.raises(RecordError, match=message):
        draw(rows)
