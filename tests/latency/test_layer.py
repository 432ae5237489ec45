"""One layer: exact where it was timed, bilinear between, and checked when it is made."""

import pytest

from lzero.errors import BudgetError
from lzero.latency import Layer

ROWS, COLUMNS = (("fc.weight", 0, 4),), (("fc.weight", 1, 8),)


def layer(**changes):
    fields = {
        "path": "fc",
        "rows": ROWS,
        "columns": COLUMNS,
        "row_widths": (1, 2, 4),
        "column_widths": (2, 8),
        "ms": ((1.0, 4.0), (2.0, 8.0), (2.0, 20.0)),
    }
    return Layer(**{**fields, **changes})


@pytest.mark.parametrize(
    ("rows", "columns", "ms"),
    [
        (1, 2, 1.0),
        (2, 8, 8.0),
        (4, 8, 20.0),
        (1, 5, 2.5),  # in the middle of two columns
        (3, 8, 14.0),  # of two rows
        (1.5, 5, (1 + 4 + 2 + 8) / 4),  # of a cell
        (0.25, 1, 1.0),  # below all that was timed
    ],
)
def test_it_is_bilinear_between_what_was_timed(rows, columns, ms):
    assert layer().predict(rows, columns) == pytest.approx(ms, abs=1e-12)
    assert layer().total == 20.0


def test_a_single_width_is_a_constant():
    one = layer(columns=(), column_widths=(0,), ms=((1.0,), (2.0,), (5.0,)))
    assert [one.predict(rows, 0) for rows in (1, 2, 3, 4)] == [1.0, 2.0, 3.5, 5.0]


def test_the_upper_ones_of_pairs_are_no_knots():
    steps = layer(
        rows=(("fc.weight", 0, 33),),
        row_widths=(1, 8, 9, 16, 17, 32, 33),
        ms=tuple((float(n), float(n)) for n in range(7)),
    )
    assert steps.knots() == ((0, 1, 3, 5, 6), (0, 1))
    every = layer(row_widths=(1, 2, 3, 4), ms=tuple((float(n), float(n)) for n in range(4)))
    assert every.knots() == ((0, 1, 2, 3), (0, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row_widths": (1, 2, 3)}, r"fc, widths of rows: expected rising ones up to 4, found \[1, 2, 3\]"),
        ({"row_widths": (2, 1, 4)}, "widths of rows: expected rising"),
        ({"column_widths": (2, 7)}, "widths of columns: expected rising ones up to 8"),
        ({"ms": ((1.0, 4.0),)}, "fc, ms: expected 3 rows of 2 numbers"),
        ({"ms": ((1.0, 4.0), (2.0, 8.0), (2.0, float("nan")))}, "fc, ms: expected finite numbers >= 0"),
        ({"ms": ((1.0, 4.0), (2.0, 8.0), (2.0, 7.0))}, "never fall with a width, found some that do"),
        ({"ms": ((1.0, 4.0), (2.0, 8.0), (9.0, 8.0))}, "never fall with a width, found some that do"),
    ],
)
def test_what_is_no_layer_is_refused(changes, message):
    with pytest.raises(BudgetError, match=message):
        layer(**changes)
