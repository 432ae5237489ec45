"""Methods side by side: a panel a budget, a line a method."""

import numpy as np
import pytest
from plots.rows import legend_labels

from lzero import plots
from lzero.errors import RecordError


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


def test_every_training_is_a_dot_and_their_mean_a_larger_one():
    errors = [0.01, 0.02, 0.06]
    figure, (axes,) = plots.methods([{"budget": "b", "label": "a", "error": error} for error in errors])
    small, large = axes.get_lines()
    np.testing.assert_allclose(small.get_xydata(), [[100 * error, 0] for error in errors])
    np.testing.assert_allclose(large.get_xydata(), [[3, 0]])
    assert large.get_markersize() > small.get_markersize()
    assert legend_labels(figure) == ["mean over seeds", "one training"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"plots\.methods: no rows to draw"),
        ([{"budget": "b", "error": 0.1}], "row 1 has no label; it has: budget, error"),
        ([{"budget": "b", "label": "a", "error": "low"}], "column error holds the text 'low'"),
    ],
)
def test_rows_that_cannot_be_drawn_are_refused(rows, message):
    with pytest.raises(RecordError, match=message):
        plots.methods(rows)
