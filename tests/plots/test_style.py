"""The look that all figures share: opaque, readable, nothing over anything else, and the caller's settings kept."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from colours import contrast
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from plots.rows import FIGURES, HISTOGRAMS, LAYERS, POINTS, RUNS

from lzero import plots
from lzero.errors import RecordError
from lzero.plots import style


@pytest.fixture(params=FIGURES)
def figure(request):
    return FIGURES[request.param]()[0]


def test_nothing_lies_outside_the_figure_or_on_another_text(figure):
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    width, height = figure.bbox.size
    boxes = [
        text.get_window_extent(renderer)
        for text in figure.findobj(lambda one: hasattr(one, "get_text") and one.get_visible() and one.get_text())
    ]
    # Tick labels beyond the view limits exist but are not drawn.
    drawn = [
        box
        for box in boxes
        if box.width and box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1
    ]
    assert len(drawn) > 5
    for legend in figure.legends:
        box = legend.get_window_extent(renderer)
        assert box.x0 >= 0 and box.x1 <= width and box.y1 <= height
        assert not any(axes.get_window_extent(renderer).overlaps(box) for axes in figure.axes)
    for axes in figure.axes:
        tight = axes.get_tightbbox(renderer)
        assert tight.x0 >= -1 and tight.x1 <= width + 1 and tight.y0 >= -1 and tight.y1 <= height + 1
        margin = [text.get_window_extent(renderer) for text in axes.texts]
        assert not any(a.overlaps(b) for i, a in enumerate(margin) for b in margin[:i])


def test_the_card_is_opaque_and_its_text_has_contrast(figure, tmp_path):
    with matplotlib.rc_context({"savefig.transparent": True, "savefig.facecolor": "none"}):
        pixels = imread(plots.save(figure, tmp_path / "figure.png", dpi=50))
    assert (pixels[..., 3] == 1).all()
    np.testing.assert_allclose(pixels[0, 0, :3], to_rgb(style.CARD), atol=1 / 255)
    assert contrast(style.INK, style.CARD) > 7
    assert contrast(style.MUTED, style.CARD) > 4.5


def test_series_colours_differ_also_in_luminance_or_marker():
    assert len(set(style.COLOURS)) == len(style.COLOURS) == len(set(style.MARKERS))
    assert all(contrast(one, style.CARD) > 1.9 for one in style.COLOURS)


def test_drawing_leaves_matplotlib_as_it_was():
    # Not the key "backend": reading it is what imports pyplot.
    code = (
        "import sys, matplotlib\n"
        "from lzero import plots\n"
        "settings = lambda: {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != 'backend'}\n"
        "before = settings()\n"
        "plots.architecture([{'layer': 'fc1', 'kept': 1, 'total': 2}])\n"
        "sys.exit('matplotlib.pyplot' in sys.modules or settings() != before)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_the_callers_axes_are_drawn_on_and_keep_their_figure():
    figure = Figure()
    grid = figure.subplots(2, 4).ravel()
    _, axes = plots.dynamics(RUNS, 0.1, axes=grid[:4])
    assert list(axes.flat) == list(grid[:4])
    for draw, rows, ax in zip(
        (plots.control, plots.trade_off, plots.architecture, plots.gate_histogram),
        (POINTS, POINTS, LAYERS, HISTOGRAMS),
        grid[4:],
        strict=True,
    ):
        assert draw(rows, ax=ax) == (figure, ax)
        assert ax.has_data()


def test_series_beyond_the_eighth_begin_anew():
    assert [style.colour(n) for n in (0, 7, 8)] == [style.COLOURS[0], style.COLOURS[7], style.COLOURS[0]]
    assert [style.marker(n) for n in (0, 7, 9)] == [style.MARKERS[0], style.MARKERS[7], style.MARKERS[1]]


def test_settings_hold_within_the_style_alone_also_after_an_error():
    before = matplotlib.rcParams["axes.facecolor"]
    with pytest.raises(RuntimeError), style.styled():
        assert matplotlib.rcParams["axes.facecolor"] == style.CARD
        raise RuntimeError
    assert matplotlib.rcParams["axes.facecolor"] == before != style.CARD


def test_axes_may_come_in_any_nesting_and_must_be_as_many_as_panels():
    grid = Figure().subplots(2, 2)
    for given in (grid, list(grid), [list(row) for row in grid], grid.ravel(), tuple(grid.flat)):
        figure, axes = style.canvases(given, 2, 2, height=1.0)
        assert figure is grid[0, 0].figure and axes.shape == (2, 2) and list(axes.flat) == list(grid.flat)
    with pytest.raises(RecordError, match="plots: 2 axes were given, expected 4; leave axes out for a new figure"):
        style.canvases(grid[0], 2, 2, height=1.0)


def test_a_logarithmic_axis_has_plain_numbers():
    axes = Figure().subplots()
    axes.set_xlim(0.1, 200)
    axes.set_xscale("log")
    style.log_ticks(axes.xaxis)
    ticks = [tick for tick in axes.get_xticks() if 0.1 <= tick <= 200]
    np.testing.assert_allclose(ticks, [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200])
    assert axes.xaxis.get_major_formatter().format_ticks(ticks) == [f"{tick:g}" for tick in ticks]
