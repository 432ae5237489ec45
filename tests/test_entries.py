"""Entries of JSON are what they have to be, or an error says where, what and the way out."""

import pytest

from lzero.entries import Entries
from lzero.errors import BudgetError

READ = Entries("t.json", "measure it again", BudgetError)
RIGHT = {"table": {"a": 1}, "row": [1, 2], "word": "a", "whole": 3}


@pytest.mark.parametrize("kind", RIGHT)
@pytest.mark.parametrize("value", [*RIGHT.values(), True, -1, 2**63, 0.5, None, (1, 2)], ids=repr)
def test_each_kind_takes_its_own_values_alone(kind, value):
    read = getattr(READ, kind)
    if value == RIGHT[kind] and type(value) is type(RIGHT[kind]):
        assert read("entry", value) is value
        return
    with pytest.raises(BudgetError, match=r"^t\.json, entry: expected .*, found .*; measure it again$"):
        read("entry", value)


def test_a_list_may_have_to_be_of_a_length():
    assert READ.row("entry", [1, 2], 2) == [1, 2]
    with pytest.raises(BudgetError, match="expected a list"):
        READ.row("entry", [1, 2], 3)
