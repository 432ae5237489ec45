"""A Linear that reads some features: the same as one with zeros in the columns that it leaves out."""

import torch
from torch import nn
from torch.nn import functional as F

from lzero.surgery.selected_linear import SelectedLinear


def test_it_is_the_linear_with_zero_columns():
    columns, wide = torch.tensor([4, 0, 2]), torch.zeros(3, 6)
    layer = SelectedLinear(3, 3)
    layer.register_buffer("columns", columns)
    with torch.no_grad():
        wide[:, columns] = layer.weight
    for shape in ((6,), (5, 6), (2, 5, 6)):
        x = torch.randn(shape)
        torch.testing.assert_close(layer(x), F.linear(x, wide, layer.bias))


def test_it_keeps_its_choice_in_the_state_dict_and_has_no_gradient_in_what_it_leaves_out():
    layer = SelectedLinear(2, 3, bias=False)
    layer.register_buffer("columns", torch.tensor([1, 3]))
    assert isinstance(layer, nn.Linear) and set(layer.state_dict()) == {"weight", "columns"}
    x = torch.randn(4, 5, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad[:, [0, 2, 4]].eq(0).all() and x.grad[:, [1, 3]].ne(0).all()
