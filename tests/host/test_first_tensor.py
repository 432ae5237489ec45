"""The tensor that a module works on, wherever it stands."""

import collections

import pytest
import torch

from lzero.host.first_tensor import first_tensor, with_first_tensor

X, Y, MASK = torch.ones(2), torch.zeros(3), torch.ones(2, dtype=torch.bool)
Pair = collections.namedtuple("Pair", "x other")


@pytest.mark.parametrize(
    "value",
    [
        X,
        (X, Y),
        [None, X],
        ((), {"mask": MASK, "x": X}),
        ((1, "a", [X]), {"y": Y}),
        {"a": {"b": (X,)}},
        Pair(X, Y),
        (torch.arange(3), X),
    ],
)
def test_it_is_the_first_of_floats(value):
    assert first_tensor(value) is X


@pytest.mark.parametrize("value", [None, 3, "x", (), {}, [None, ()], MASK, (torch.arange(2), MASK)])
def test_there_may_be_none(value):
    assert first_tensor(value) is None


def test_it_is_replaced_where_it_stands_and_the_rest_stays():
    assert with_first_tensor(X, Y) is Y
    assert with_first_tensor((X, MASK, None), Y) == (Y, MASK, None)
    made = with_first_tensor([X, 3], Y)
    assert type(made) is list and made[0] is Y and made[1] == 3
    named = with_first_tensor(Pair(X, 7), Y)
    assert type(named) is Pair and named.x is Y and named.other == 7
