"""The architecture: shares as bars, counts beside them, in the order of the rows."""

import numpy as np
import pytest
from plots.rows import LAYERS, texts

from lzero import plots
from lzero.errors import RecordError


def test_architecture_draws_shares_and_writes_counts():
    _, axes = plots.architecture(LAYERS)
    widths = [bar.get_width() for bar in axes.patches]
    np.testing.assert_allclose(widths, [100, 100, 100 * 214 / 300, 5])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["fc1", "conv1"]
    assert "214 / 300" in texts(axes)[0] and "71.3 %" in texts(axes)[0]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first layer on top


def test_counts_are_as_wide_as_the_widest_so_that_columns_align():
    rows = [
        {"layer": str(n), "kept": kept, "total": total} for n, (kept, total) in enumerate([(1, 2), (7, 10), (0, 3000)])
    ]
    _, axes = plots.architecture(rows)
    written = texts(axes)
    assert len({len(text) for text in written}) == len({text.index("/") for text in written}) == 1
    assert [text.replace("\u2007", " ").split() for text in written] == [
        ["1", "/", "2", "50.0", "%"],
        ["7", "/", "10", "70.0", "%"],
        ["0", "/", "3000", "0.0", "%"],
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"plots\.architecture: no rows to draw"),
        ([{"layer": "fc1", "kept": 5}], "row 1 has no total; it has: layer, kept"),
        ([{"layer": "fc1", "kept": 5, "total": 4}], "layer fc1 keeps 5 of 4 units; expected 0 <= kept <= total"),
        ([*LAYERS, {"layer": "fc1", "kept": -1, "total": 4}], "layer fc1 keeps -1 of 4 units"),
        ([{"layer": "fc1", "kept": 0, "total": 0}], "layer fc1 keeps 0 of 0 units; expected .* and total >= 1"),
    ],
)
def test_rows_that_cannot_be_drawn_are_refused(rows, message):
    with pytest.raises(RecordError, match=message):
        plots.architecture(rows)
