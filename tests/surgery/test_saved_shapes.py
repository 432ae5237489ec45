"""What no purge leaves: other names, larger tensors, other kinds of numbers, columns that do not arrive."""

import pytest
import torch
from torch import nn

from lzero.errors import StructureError
from lzero.surgery.saved_shapes import check_columns, check_keys, check_shapes


class Net(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)
        self.register_buffer("shift", torch.ones(3), persistent=False)


def test_names_are_those_of_the_model_and_those_that_purging_adds():
    state = {**Net().state_dict(), "columns": torch.arange(4)}
    check_keys(Net(), state, ["columns"])
    with pytest.raises(StructureError, match="Net: the saved state has an unknown columns; build the model"):
        check_keys(Net(), state, [])
    with pytest.raises(StructureError, match="lacks shift"):
        check_keys(Net(), state, ["columns", "shift"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weight", torch.ones(3, 5), r"weight: saved with shape \[3, 5\], which no purge of \[3, 4\] has"),
        ("bias", torch.ones(3, 1), r"bias: saved with shape \[3, 1\]"),
        ("bias", torch.ones(3).int(), r"bias: expected a saved tensor of floats, found torch\.int32"),
        ("shift", torch.ones(4), r"shift: saved with shape \[4\], which no purge of \[3\] has"),
    ],
)
def test_larger_tensors_and_other_kinds_are_refused(name, value, message):
    state = {**Net().state_dict(), "shift": torch.ones(2)}
    check_shapes(Net(), state, ["shift"])
    check_shapes(Net(), {**state, "weight": torch.ones(1, 2).bfloat16()}, ["shift"])
    with pytest.raises(StructureError, match=message):
        check_shapes(Net(), state | {name: value}, ["shift"])


def test_columns_are_distinct_features_that_arrive():
    weight, saved = torch.ones(3, 4), torch.ones(3, 2)
    check_columns("columns", torch.tensor([3, 0]), saved, weight)
    for columns in ([0, 4], [-1, 0], [2, 2]):
        with pytest.raises(StructureError, match="columns: expected distinct indices from 0 to 3, found"):
            check_columns("columns", torch.tensor(columns), saved, weight)
    for wrong in (torch.tensor([0]), torch.tensor([0, 1]).int(), torch.tensor([[0, 1]])):
        with pytest.raises(StructureError, match="columns: expected 2 indices in int64"):
            check_columns("columns", wrong, saved, weight)
