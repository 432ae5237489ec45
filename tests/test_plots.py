import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from lzero import plots
from lzero.errors import RecordError
from lzero.plots import style
from lzero.recorder import Recorder


def run(end, epochs=8, **extra):
    rows = []
    for epoch in range(1, epochs + 1):
        left = 1 - epoch / epochs
        rows.append(
            {
                "epoch": epoch,
                "deployed": end + (1 - end) * left,
                "expected": end + (0.9 - end) * left,
                "multiplier": 0.1 * epoch,
                "loss": 2.0 * 0.5**epoch,
                "error": 0.02 + 0.5 * left,
                **extra,
            }
        )
    return rows


RUNS = {"constrained": run(0.1, annealed_target=0.5), "penalized λ = 1": run(0.3)}
POINTS = [
    {"method": method, "asked": asked, "shipped": asked * factor, "error": 0.02 + 0.001 / asked, "seed": seed}
    for method, factor in (("constrained", 1.0), ("penalized", 0.6))
    for asked in (0.1, 0.2, 0.5)
    for seed in (0, 1, 2)
]
LAYERS = [{"layer": "fc1", "kept": 214, "total": 300}, {"layer": "conv1", "kept": 1, "total": 20}]
HISTOGRAMS = [
    {"epoch": epoch, **{f"p_{bin:02d}": 100 if bin == epoch else 5 for bin in range(20)}} for epoch in range(1, 6)
]

FIGURES = {
    "dynamics": lambda: plots.dynamics(RUNS, 0.1),
    "dynamics_missing": lambda: plots.dynamics({"only": [{"step": 3, "loss": 0.4}]}, 0.1),
    "control": lambda: plots.control(POINTS),
    "control_log": lambda: plots.control(POINTS, log=True),
    "trade_off": lambda: plots.trade_off(POINTS),
    "trade_off_log": lambda: plots.trade_off(POINTS, log_x=True),
    "architecture": lambda: plots.architecture(LAYERS),
    "gate_histogram": lambda: plots.gate_histogram(HISTOGRAMS),
}


@pytest.fixture(params=FIGURES)
def figure(request):
    return FIGURES[request.param]()[0]


def line(axes, label, dashed=False):
    found = [one for one in axes.get_lines() if one.get_label() == label and (one.get_linestyle() != "-") == dashed]
    assert len(found) == 1
    return found[0]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend_labels(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


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
    assert axes[0, 1].get_ylabel() == "multiplier λ·u (units of the loss)"
    np.testing.assert_allclose(line(axes[0, 1], "run").get_ydata(), 7.0)


def test_nan_leaves_a_gap_and_a_recorder_is_rows():
    recorder = Recorder()
    recorder.append(epoch=1, loss=1.0)
    recorder.append(epoch=2, loss=float("nan"))
    _, axes = plots.dynamics({"run": recorder})
    np.testing.assert_array_equal(line(axes[1, 0], "run").get_ydata(), [1.0, np.nan])


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


def test_architecture_draws_shares_and_writes_counts():
    _, axes = plots.architecture(LAYERS)
    widths = [bar.get_width() for bar in axes.patches]
    np.testing.assert_allclose(widths, [100, 100, 100 * 214 / 300, 5])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["fc1", "conv1"]
    assert "214 / 300" in texts(axes)[0] and "71.3 %" in texts(axes)[0]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first layer on top


def test_gate_histogram_shows_shares_by_epoch_and_the_opening_line():
    _, axes = plots.gate_histogram(HISTOGRAMS)
    (mesh,) = axes.collections
    shares = mesh.get_array()
    assert shares.shape == (20, 5)
    np.testing.assert_allclose(shares.sum(axis=0), 100)
    assert shares[3].argmax() == 2  # epoch 3 has its peak in the bin p_03
    assert axes.get_xlim() == (0.5, 5.5)
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), 0.5)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.dynamics({}), "no runs to draw"),
        (lambda: plots.dynamics({"a": []}), r"plots\.dynamics \(a\): no rows to draw"),
        (lambda: plots.dynamics({"a": run(0.1)}, axes=Figure().subplots(1, 3)), "3 axes were given, expected 4"),
        (lambda: plots.dynamics({"a": [{"epoch": 1, "loss": "low"}]}), "column loss holds the text 'low'"),
        (lambda: plots.control(Recorder()), r"plots\.control: no rows to draw"),
        (lambda: plots.control([{"method": "m", "asked": 0.1}]), "row 1 has no shipped; it has: method, asked"),
        (lambda: plots.trade_off([{"method": "m", "shipped": 0.1}]), "row 1 has no error"),
        (lambda: plots.architecture([{"layer": "fc1", "kept": 5, "total": 4}]), "layer fc1 keeps 5 of 4 units"),
        (lambda: plots.gate_histogram([{"epoch": 1}]), "no columns p_00"),
        (lambda: plots.gate_histogram([{"p_00": 1}, {"p_00": 0}]), "row 2 counts no gates"),
        (lambda: plots.gate_histogram([{"epoch": 2, "p_00": 1}] * 2), "must increase"),
    ],
)
def test_rows_that_cannot_be_drawn_are_refused(draw, message):
    with pytest.raises(RecordError, match=message) as caught:
        draw()
    assert isinstance(caught.value, ValueError)


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


def contrast(one, other):
    """The contrast ratio of the accessibility guidelines, from 1 to 21."""

    def luminance(colour):
        channels = np.array(to_rgb(colour))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_rows_give_the_same_bytes(tmp_path, suffix):
    paths = [plots.save(FIGURES["dynamics"]()[0], tmp_path / name / f"figure.{suffix}", dpi=50) for name in "ab"]
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_text("old")
    figure, _ = plots.architecture(LAYERS)

    def fail(target, **_):
        target.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.save(figure, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["figure.png"]
    with pytest.raises(RecordError, match=r"ends in '\.gif'; use one of \.png, \.svg, \.pdf"):
        plots.save(figure, tmp_path / "figure.gif")


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
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_methods_have_a_panel_a_budget_the_least_error_on_top_and_failures_at_the_edge():
    rows = [
        {"budget": "small", "label": label, "error": error, "published": int(label == "theirs")}
        for label, error in (("a", 0.02), ("a", 0.04), ("b", 0.01), ("theirs", 0.02), ("failed", 0.9))
    ]
    figure, (small, large) = plots.methods([*rows, {"budget": "large", "label": "a", "error": 0.5}])
    assert [axes.get_title("left") for axes in (small, large)] == ["small", "large"]
    assert [label.get_text() for label in small.get_yticklabels()] == ["failed", "a", "theirs", "b"]
    assert [text.get_text() for text in small.texts] == ["90.0 →"] and not large.texts
    assert small.get_xlim()[1] < 5
    hollow = [line for line in small.get_lines() if line.get_marker() == "D"]
    np.testing.assert_allclose([line.get_xydata() for line in hollow], [[[2, 2]]])
    assert legend_labels(figure) == ["mean over seeds", "one training", "published"]


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
