"""A table: the sum of its layers, the same from its file, and equal to what is equal."""

import dataclasses

import pytest
from hand_tables import plain, table_of
from plans import lenet, mlp

from lzero.errors import BudgetError
from lzero.latency import Table
from lzero.latency.table import checked_table

PLAN = mlp((5, 4, 3, 2))[1]
TABLE = table_of(PLAN, plain, before=0.25)


def test_a_prediction_is_the_sum_of_the_layers():
    whole = 0.25 + plain(4, 5) + plain(3, 4) + plain(2, 3)
    assert TABLE.total == pytest.approx(whole) == TABLE.predict({})
    narrow = TABLE.predict({"fc1": (2, 5), "fc2": (1, 2), "fc3": None})
    assert narrow == pytest.approx(0.25 + plain(2, 5) + plain(1, 2))
    assert TABLE.batch == 3


def test_widths_of_other_layers_are_refused():
    with pytest.raises(BudgetError, match="widths: no layer 'fc9' in the table; its layers are fc1, fc2, fc3"):
        TABLE.predict({"fc9": (1, 1)})
    with pytest.raises(BudgetError, match=r"widths\['fc1'\]: expected \(rows, columns\) or None, found \(1,\)"):
        TABLE.predict({"fc1": (1,)})
    with pytest.raises(BudgetError, match="table: expected layers, each once"):
        Table(())
    with pytest.raises(BudgetError, match="table: expected layers, each once"):
        Table(TABLE.layers[:1] * 2)


def test_a_file_gives_an_equal_table(tmp_path):
    path = tmp_path / "latency.json"
    TABLE.save(path)
    again = Table.load(path)
    assert again == TABLE and hash(again) == hash(TABLE) and again.layers == TABLE.layers
    assert again.digest == TABLE.digest and {again, TABLE} == {TABLE}
    assert Table.from_json(TABLE.to_json()) == TABLE
    other = dataclasses.replace(TABLE, threads=2)
    assert other != TABLE and TABLE != "a table"


def test_files_that_hold_no_table_are_refused(tmp_path):
    with pytest.raises(BudgetError, match="cannot be read"):
        Table.load(tmp_path / "none.json")
    with pytest.raises(BudgetError, match="cannot be written"):
        TABLE.save(tmp_path / "nowhere" / "latency.json")
    with pytest.raises(BudgetError, match="path: expected the name of a file"):
        Table.load(3)
    (tmp_path / "text.json").write_text("no table")
    with pytest.raises(BudgetError, match=r"text.json: not readable as JSON"):
        Table.load(tmp_path / "text.json")


def test_it_prints_what_was_measured():
    table = dataclasses.replace(TABLE, checks=((1.0, 0.6, 0.61),), device="a chip", torch="2")
    text = str(table)
    assert text.startswith(f"{table.total:.4g} ms on a chip, 1 thread, batch 3, torch 2\n")
    assert "100% of the units: 0.6 ms measured, 0.61 ms predicted" in text
    assert "  fc1" in text and "4 x 5" in text
    assert repr(table).startswith(f"Table({table.digest[:8]}: 3 layers")


def test_a_measure_has_a_table_or_none():
    assert checked_table("macs", None) is None and checked_table("latency", TABLE) is TABLE
    with pytest.raises(BudgetError, match="belongs to the measure 'latency', found one for 'macs'"):
        checked_table("macs", TABLE)
    with pytest.raises(BudgetError, match="a budget of latency needs what layers take by their width, found None"):
        checked_table("latency", None)


def test_tables_of_other_plans_differ():
    assert table_of(lenet()[1]) != table_of(lenet(3, 4, 5)[1])
