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
    assert axes.get_xlabel().startswith("density asked for (%)\n") and axes.get_ylabel() == "density shipped (%)"
    assert axes.get_xlim() == axes.get_ylim()
    methods = [one for one in axes.get_lines() if one.get_marker() != "None"]
    assert len({one.get_marker() for one in methods}) == 3
    away = methods[1].get_ydata() - methods[1].get_xdata()
    np.testing.assert_allclose(away, -40 * np.repeat([0.1, 0.2, 0.5], 3))
    assert to_rgb(methods[2].get_markerfacecolor()) == to_rgb(style.CARD)  # hollow
    assert to_rgb(methods[0].get_markerfacecolor()) != to_rgb(style.CARD)
    assert legend_labels(figure) == ["constrained", "penalized", "theirs (published)", "shipped = asked", "budget met"]
    (shade,) = axes.collections
    path = shade.get_paths()[0]
    assert path.contains_point((50, 20))
    assert not path.contains_point((20, 50))


@pytest.mark.parametrize("log", [False, True])
def test_trainings_that_were_asked_for_the_same_stand_apart_and_as_far_from_the_line_as_they_are(log):
    rows = [
        {"method": method, "asked": asked, "shipped": asked - 1e-4}
        for method in ("a", "b")
        for asked in (0.1, 0.5)
        for _ in range(3)
    ]
    _, axes = plots.control([*rows, {"method": "theirs", "asked": 0.1, "shipped": 0.1, "published": 1}], log=log)
    figure = axes.get_figure()
    figure.draw_without_rendering()
    lines = [one for one in axes.get_lines() if one.get_marker() != "None"]
    at = np.concatenate([axes.transData.transform(one.get_xydata()) for one in lines[:2]])
    apart = [np.linalg.norm(one - other) for n, one in enumerate(at) for other in at[:n]]
    assert len(at) == 12 and min(apart) > 0.5 * plots.densities._SMALL * figure.dpi / 72
    for one in lines[:2]:
        x, y = one.get_xdata(), one.get_ydata()
        np.testing.assert_allclose(y / x if log else x - y, np.repeat([0.999, 0.9998], 3) if log else 0.01, atol=1e-9)
    np.testing.assert_allclose(lines[2].get_xydata(), [[10, 10]])  # what others published stays where it is
    assert "side by side along the line" in axes.get_xlabel()
    if not log:
        assert axes.get_xticks().tolist() == axes.get_yticks().tolist() == [0, 10, 50]


def test_one_training_a_target_stays_where_it_is():
    _, axes = plots.control([{"method": "m", "asked": asked, "shipped": asked} for asked in (0.1, 0.5)])
    np.testing.assert_allclose(axes.get_lines()[1].get_xydata(), [[10, 10], [50, 50]])
    assert axes.get_xlabel() == "density asked for (%)"


def test_only_what_was_asked_for_is_joined_and_the_target_is_a_line():
    rows = [{"method": "m", "asked": asked, "shipped": asked, "error": 0.1} for asked in (0.1, 0.5)]
    rows += [{"method": "p", "coefficient": c, "shipped": c / 4, "error": 0.1} for c in (1.0, 2.0)]
    figure, axes = plots.trade_off(rows)
    styles = {one.get_label(): one.get_linestyle() for one in axes.get_lines()}
    assert (styles["m"], styles["p"]) == ("-", "None")
    assert [text.get_text() for text in axes.texts] == ["λ = 1", "λ = 2"]
    lines = [one.get_xdata() for one in axes.get_lines() if np.ptp(one.get_ydata()) == 1.0]
    np.testing.assert_allclose(lines, [[10, 10], [50, 50]])
    assert legend_labels(figure) == ["m", "p", "asked"]
    assert legend_labels(plots.trade_off(rows[:1])[0]) == ["m", "asked: 10 %"]
    assert legend_labels(plots.trade_off(rows[2:])[0]) == ["p"]


def test_errors_that_span_decades_have_a_log_axis_with_room_for_the_coefficients():
    rows = [{"method": "p", "coefficient": c, "shipped": 0.1, "error": e} for c, e in ((1, 0.02), (2, 0.9))]
    _, axes = plots.trade_off(rows)
    assert axes.get_yscale() == "log" and axes.get_ylim()[1] > 120
    _, axes = plots.trade_off([rows[0] | {"error": 0.1}, rows[1]])
    assert axes.get_yscale() == "linear" and axes.get_ylim()[0] >= 0


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
