"""Several models as a table: the columns that the rows have, in one order, each in its own words."""

from contents import FRONT, MODELS

from lzero.report import models


def test_columns_are_those_that_the_rows_have():
    assert models.head(MODELS) == [
        ("method", False), ("seed", True), ("asked", True), ("shipped", True),
        ("parameters", True), ("test error", True),
    ]  # fmt: skip
    assert models.body(MODELS[:1]) == [["constrained", "0", "10.00\u202f%", "9.90\u202f%", "99", "2.00\u202f%"]]
    assert models.head([]) == models.body([]) == []


def test_a_missing_cell_is_a_dash_and_a_column_that_is_not_known_is_left_out():
    assert models.body([{"method": "a", "folder": "b"}, {"method": "c", "asked": 0.5}]) == [
        ["a", "–"], ["c", "50.00\u202f%"]
    ]  # fmt: skip


def test_a_front_is_such_a_table():
    assert [models.title(rows) for rows in (FRONT, MODELS, [])] == [models.title(FRONT), *["Models side by side"] * 2]
    assert "cut at other budgets" in models.title(FRONT)
    assert [models.cut(rows) for rows in (FRONT, MODELS, [])] == [True, False, False]
    assert models.body(FRONT)[0] == [
        "params", "50.00\u202f%", "50.00\u202f%", "50.00\u202f%", "50.00\u202f%", "5", "3\u202fms", "0.02"
    ]  # fmt: skip
    assert len(models.body(FRONT * 1000)) == models.MOST_ROWS
