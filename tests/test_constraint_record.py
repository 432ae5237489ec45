"""What was asked as bytes of a state dict, and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lzero.constraint_record import from_tensor, to_tensor
from lzero.constraints import Constraint
from lzero.errors import BudgetError


@pytest.mark.parametrize(
    "constraints",
    [[Constraint(0.1)], [Constraint(1 / 3, "macs", "a.b", True), Constraint(1e-9, "gates", each_layer=True)], []],
)
def test_what_was_asked_travels_as_a_tensor_of_bytes(constraints):
    asked = {"seam": "Solver", "constraints": tuple(constraints), "total_steps": 7, "finetune": 0.1}
    tensor = to_tensor(asked)
    assert tensor.dtype == torch.uint8 and tensor.dim() == 1
    assert from_tensor(tensor) == asked == from_tensor(tensor.float())  # as a model cast to half has it, or float


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 255), max_size=40))
def test_bytes_that_are_no_description_are_an_error_of_lzero(values):
    with pytest.raises(BudgetError, match="the saved description of the budgets cannot be read"):
        from_tensor(torch.tensor(values, dtype=torch.uint8))


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"constraints": 3}', '{"constraints": [{"target": 7}]}', "null"])
def test_descriptions_of_something_else_are_an_error_of_lzero(text):
    with pytest.raises(BudgetError, match="cannot be read"):
        from_tensor(torch.tensor(list(text.encode()), dtype=torch.uint8))


def test_a_uniform_budget_is_read_back_and_is_another_one_than_a_plain_one():
    asked = {"seam": "Solver", "constraints": (Constraint(0.5, uniform=True),)}
    assert from_tensor(to_tensor(asked))["constraints"] == (Constraint(0.5, uniform=True),) != (Constraint(0.5),)
