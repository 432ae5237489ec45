"""The figures of a page: one axes each, what the rows have and no more, and nothing outside or on another text."""

import numpy as np
import pytest
from plots.rows import FRONT, HISTOGRAMS, POINTS, RUNS, run

from lzero.errors import RecordError
from lzero.plots import sheet, style

FIGURES = {
    "density": lambda: sheet.dynamics(RUNS, [0.1])["density"],
    "multiplier": lambda: sheet.dynamics(RUNS, [0.1])["multiplier"],
    "loss": lambda: sheet.dynamics({"one": RUNS["constrained"]})["loss"],
    "error": lambda: sheet.dynamics(RUNS)["error"],
    "histogram": lambda: sheet.histogram(HISTOGRAMS),
    "course": lambda: sheet.course(RUNS["constrained"], [0.1]),
    "trade_off": lambda: sheet.trade_off(POINTS),
    "control": lambda: sheet.control(POINTS),
    "params": lambda: sheet.front(FRONT)["params"],
    "milliseconds": lambda: sheet.front(FRONT)["milliseconds"],
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_fits_its_card_and_has_no_title(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    assert width < 500 and height < 350
    for axes in figure.axes:
        box = axes.get_tightbbox(figure.canvas.get_renderer())
        assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, (box, width, height)
        assert axes.get_title() == axes.get_title("left") == ""
    assert figure.axes[0].get_xlabel() and figure.axes[0].get_ylabel()
    assert figure.axes[0].get_window_extent().width > 0.6 * width


def test_there_is_a_panel_for_what_the_rows_have():
    assert list(sheet.dynamics(RUNS)) == ["density", "multiplier", "loss", "error"]
    assert list(sheet.dynamics({"one": [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4}]})) == ["loss"]
    assert sheet.dynamics({"one": [{"step": 1}]}) == {}
    assert list(sheet.front(FRONT)) == ["params", "macs", "milliseconds"]
    assert list(sheet.front([{"params": 0.1, "evaluation": 0.5}])) == ["params"]


def test_the_multiplier_is_that_in_units_of_the_loss_where_there_is_one():
    for more, label in (({}, "λ"), ({"multiplier_loss_units": 3.0}, "λ·u (units of the loss)")):
        (axes,) = sheet.dynamics({"one": run(0.1, **more)})["multiplier"].axes
        assert axes.get_ylabel() == label


def test_each_budget_has_its_own_target_line():
    (axes,) = sheet.dynamics(RUNS, [0.1, 0.3])["density"].axes
    levels = {line.get_ydata()[0]: line.get_color() for line in axes.lines if list(line.get_xdata()) == [0, 1]}
    assert levels == {10.0: style.colour(0), 30.0: style.colour(1)}


def test_the_course_goes_through_every_row_that_has_both():
    rows = [*RUNS["constrained"], {"epoch": 9, "error": 0.5}]
    (axes,) = sheet.course(rows, [0.1]).axes
    line, first, last, target = axes.lines
    np.testing.assert_allclose(line.get_xdata(), [100 * row["deployed"] for row in rows[:-1]])
    np.testing.assert_allclose(line.get_ydata(), [100 * row["error"] for row in rows[:-1]])
    assert first.get_xdata() == line.get_xdata()[0] and last.get_xdata() == line.get_xdata()[-1]
    assert list(target.get_xdata()) == [10, 10]
    with pytest.raises(RecordError, match="no rows to draw"):
        sheet.course([{"deployed": 0.5}])


def test_the_histogram_lets_the_page_through():
    axes = sheet.histogram(HISTOGRAMS).axes[0]
    colours = axes.collections[0].get_cmap()([0.0, 0.5, 1.0])
    assert colours[0, 3] == 0 and colours[2, 3] == 1 and 0 < colours[1, 3] < 1
