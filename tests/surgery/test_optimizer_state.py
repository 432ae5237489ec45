"""What optimizers remember is cut as their parameters are, or refused by name."""

import pytest
import torch
from torch import nn

import lzero
from lzero.surgery.optimizer_state import OptimizerStates

DIMS = {0: torch.tensor([0, 2]), 1: torch.tensor([1, 2, 4])}


def states(value, name="moment", shape=(3, 5)):
    parameter = nn.Parameter(torch.zeros(shape))
    optimizer = torch.optim.SGD([parameter], 0.1)
    optimizer.state[parameter][name] = value
    return parameter, optimizer


def cut(value, name="moment", shape=(3, 5)):
    parameter, optimizer = states(value, name, shape)
    OptimizerStates([optimizer], {parameter: DIMS}).apply()
    return optimizer.state[parameter][name]


def test_moments_rows_columns_and_numbers():
    whole = torch.arange(15.0).view(3, 5)
    assert torch.equal(cut(whole), whole[[0, 2]][:, [1, 2, 4]])
    assert torch.equal(cut(whole[:, :1], "row_var"), whole[[0, 2], :1])
    assert torch.equal(cut(whole[:1], "col_var"), whole[:1, [1, 2, 4]])
    assert torch.equal(cut(whole[:, 0], "exp_avg_sq_row"), whole[[0, 2], 0])
    assert torch.equal(cut(whole[0], "exp_avg_sq_col"), whole[0, [1, 2, 4]])
    kernel = torch.arange(30.0).view(3, 5, 2)
    assert torch.equal(cut(kernel[..., 0], "exp_avg_sq_row", (3, 5, 2)), kernel[[0, 2]][:, [1, 2, 4], 0])
    assert torch.equal(cut(kernel[:, 0], "exp_avg_sq_col", (3, 5, 2)), kernel[[0, 2], 0])
    square = torch.arange(25.0).view(5, 5)[:3]
    assert cut(torch.tensor(7.0), "step").item() == 7 and cut(3, "step") == 3 and cut(square).shape == (2, 3)


def test_adafactor_of_torch_goes_on():
    parameter = nn.Parameter(torch.randn(3, 5))
    optimizer = torch.optim.Adafactor([parameter], 0.1)
    parameter.grad = torch.randn(3, 5)
    optimizer.step()
    before = {name: value.clone() for name, value in optimizer.state[parameter].items()}
    OptimizerStates([optimizer], {parameter: DIMS}).apply()
    after = optimizer.state[parameter]
    assert torch.equal(after["row_var"], before["row_var"][[0, 2]])
    assert torch.equal(after["col_var"], before["col_var"][:, [1, 2, 4]])


@pytest.mark.parametrize("value", [torch.zeros(7), torch.zeros(3), [torch.zeros(3, 5)]])
def test_what_no_dim_explains_is_refused_before_anything_changes(value):
    parameter, optimizer = states(value)
    with pytest.raises(lzero.StructureError, match=r"SGD: keeps 'moment'"):
        OptimizerStates([optimizer], {parameter: DIMS})
    assert optimizer.state[parameter]["moment"] is value


def test_what_is_applied_can_be_restored():
    value = torch.zeros(3, 5)
    parameter, optimizer = states(value)
    made = OptimizerStates([optimizer], {parameter: DIMS})
    made.apply()
    made.restore()
    assert optimizer.state[parameter]["moment"] is value
