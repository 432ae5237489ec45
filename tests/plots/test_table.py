"""Rows as columns: what is missing, what is text, and what belongs together."""

import numpy as np
import pytest

from lzero.errors import RecordError
from lzero.plots.table import checked, grouped, numbers
from lzero.recorder import Recorder


def test_rows_of_a_recorder_and_of_a_list_are_the_same_and_are_copies():
    rows, recorder = [{"a": 1, "b": 2.5}, {"a": 3}], Recorder()
    recorder.append(a=1, b=2.5)
    recorder.append(a=3)
    found = checked(rows, "figure", ["a"])
    assert found == rows == checked(recorder, "figure", ["a"])
    found[0]["a"] = 7
    assert rows[0]["a"] == 1


@pytest.mark.parametrize(
    ("rows", "needed", "message"),
    [
        ([], [], r"^plots\.figure: no rows to draw; record at least one, or check that the CSV is the right one$"),
        (Recorder(), [], r"plots\.figure: no rows to draw"),
        ([{"a": 1, "b": 2}, {"a": 1}], ["a", "b"], r"^plots\.figure: row 2 has no b; it has: a$"),
        ([{"a": None, "c": 1}], ["a", "b"], r"^plots\.figure: row 1 has no a, b; it has: a, c$"),
    ],
)
def test_rows_without_a_needed_column_are_refused(rows, needed, message):
    with pytest.raises(RecordError, match=message) as caught:
        checked(rows, "figure", needed)
    assert isinstance(caught.value, ValueError)


def test_a_missing_cell_is_nan_and_text_is_refused():
    rows = [{"a": 1}, {"a": None}, {}, {"a": True}, {"a": float("inf")}]
    found = numbers(rows, "a")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [1, np.nan, np.nan, 1, np.inf])
    with pytest.raises(RecordError, match=r"^plots: column a holds the text '2', expected numbers$"):
        numbers([*rows, {"a": "2"}], "a")


def test_groups_come_in_the_order_in_which_they_are_first_seen():
    rows = [{"k": "b", "n": 0}, {"k": 2, "n": 1}, {"k": "b", "n": 2}, {"k": "2", "n": 3}]
    assert {key: [row["n"] for row in group] for key, group in grouped(rows, "k").items()} == {"b": [0, 2], "2": [1, 3]}
    assert list(grouped(rows, "k")) == ["b", "2"]
