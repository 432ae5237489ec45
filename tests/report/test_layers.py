"""Lines of the table of layers: folders, shares, sums, and an end where there are very many."""

import pytest
from contents import table

from lzero.plan.refusal import Refusal
from lzero.report import layers
from lzero.table import Layer, Table


def test_a_line_a_layer_under_one_for_its_folder():
    found = layers.lines(table(2))
    assert [(line.name, line.depth, bool(line.cells)) for line in found] == [
        ("block.0", 0, False), ("fc", 1, True), ("block.1", 0, False), ("fc", 1, True), ("head", 0, True)
    ]  # fmt: skip
    assert layers.nouns(table()) == ["units", "parameters", "macs"]
    assert found[1].cells == [("100", "40"), ("10,100", "4,000"), ("10,000", "3,900")]
    assert found[1].share == pytest.approx(4_000 / 10_100)
    assert found[-1].cells[0] is None


def test_sums_are_those_of_the_table():
    everything = table(5)
    line = layers.total(everything)
    assert line.cells[0] is None and line.cells[1] == (f"{5 * 10_100 + 1_010:,}", f"{everything.total('parameters'):,}")
    assert line.share == pytest.approx(everything.total("parameters") / everything.total("parameters_before"))


def test_beyond_many_layers_one_line_stands_for_the_rest():
    large = table(layers.MOST_LINES + 9)
    last = layers.lines(large)[-1]
    assert last.name == "10 further layers"
    assert last.cells[1][0] == f"{9 * 10_100 + 1_010:,}"


def test_units_alone_make_a_share_too():
    (line,) = layers.lines(Table((Layer("fc1", 0, 0, 0, 0, 300, 30),), (), 0, 0))
    assert line.share == 0.1 and line.cells == [("300", "30")]
    assert layers.total(Table((Layer("fc1", 0, 0, 0, 0, 300, 30),), (), 0, 0)) is None
    empty, _ = layers.lines(Table((Layer("relu", 0, 0, 0, 0), Layer("fc", 8, 4, 0, 0)), (), 0, 0))
    assert empty.share is None and empty.cells == [None]


def test_refusals_are_gathered_by_their_reason():
    few = Table((), (*table(1, 2).refusals, Refusal("out", 10, (), "it is a result")), 0, 0)
    first, second = layers.refused(few)
    assert first.places == ["norm0 (64)", "norm1 (64)"] and first.more == 0
    assert (second.reason, second.places) == ("it is a result", ["out (10)"])
    (many,) = layers.refused(table(1, 100))
    assert (len(many.places), many.more) == (40, 60)
