"""Tensors that become smaller and stay the same objects."""

import pytest
import torch
from torch import nn

from lzero.host.resize import resize


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_values_and_gradient_change_alike(dtype):
    weight = nn.Parameter(torch.arange(12.0).view(4, 3).to(dtype))
    weight.grad = torch.ones_like(weight) * torch.arange(4.0)[:, None].to(dtype)
    expected = weight.data[[0, 2]].clone()
    same = weight
    resize(weight, lambda values: values[[0, 2]])
    assert weight is same and weight.dtype is dtype and torch.equal(weight.data, expected)
    assert weight.grad.shape == weight.shape and weight.grad[:, 0].tolist() == [0, 2]


def test_a_graph_of_the_shape_before_is_no_obstacle():
    layer, last = nn.Linear(4, 6), nn.Linear(6, 1)
    loss = last(layer(torch.randn(2, 4)).relu()).sum()
    loss.backward()
    resize(layer.weight, lambda values: values[:3])
    resize(layer.bias, lambda values: values[:3])
    resize(last.weight, lambda values: values[:, :3])
    last(layer(torch.randn(2, 4)).relu()).sum().backward()  # the node of the loss before wants [6, 4]
    assert layer.weight.grad.shape == (3, 4) and loss.grad_fn is not None
