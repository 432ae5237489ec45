"""Gate probabilities over time: shares by epoch, and the line above which a gate is open."""

import numpy as np
import pytest
from plots.rows import HISTOGRAMS

from lzero import plots
from lzero.errors import RecordError


def test_gate_histogram_shows_shares_by_epoch_and_the_opening_line():
    _, axes = plots.gate_histogram(HISTOGRAMS)
    (mesh,) = axes.collections
    shares = mesh.get_array()
    assert shares.shape == (20, 5)
    np.testing.assert_allclose(shares.sum(axis=0), 100)
    assert shares[3].argmax() == 2  # epoch 3 has its peak in the bin p_03
    assert axes.get_xlim() == (0.5, 5.5)
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), 0.5)


def test_cells_reach_half_way_to_their_neighbours_and_an_empty_cell_counts_nothing():
    rows = [{"step": step, "p_00": 3, **({"p_01": 1} if step > 1 else {})} for step in (1, 3, 9)]
    _, axes = plots.gate_histogram(rows)
    (mesh,) = axes.collections
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], [0, 2, 6, 12])
    np.testing.assert_allclose(corners[:, 0, 1], [0, 0.5, 1])
    np.testing.assert_allclose(mesh.get_array(), [[100, 75, 75], [0, 25, 25]])
    assert axes.get_xlabel() == "step" and axes.get_title("left").startswith("4 gates;")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"plots\.gate_histogram: no rows to draw"),
        ([{"epoch": 1}], "no columns p_00"),
        ([{"p_00": 1}, {"p_00": 0}], "row 2 counts no gates"),
        ([{"epoch": 2, "p_00": 1}] * 2, "must increase from row to row; pass the rows of one run"),
    ],
)
def test_rows_that_cannot_be_drawn_are_refused(rows, message):
    with pytest.raises(RecordError, match=message):
        plots.gate_histogram(rows)


def test_one_epoch_has_one_tick():
    figure, axes = plots.gate_histogram(HISTOGRAMS[:1])
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]
