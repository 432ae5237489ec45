"""Parameters keep the order of the architecture, whatever was parametrized in between."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lzero.experiments.models import ResNet
from lzero.structure.order import restore_order


def shuffled(module: nn.Module, data: st.DataObject) -> None:
    leaves = data.draw(st.permutations(list(module._parameters)))
    held = dict(module._parameters)
    module._parameters.clear()
    module._parameters.update((leaf, held[leaf]) for leaf in leaves)


@given(st.data())
def test_any_order_becomes_that_of_the_names(data: st.DataObject) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LSTM(3, 2), ResNet(widths=(2,)), nn.Linear(3, 2, bias=False))
    model.scale = nn.Parameter(torch.ones(2))
    expected = [(name, id(parameter)) for name, parameter in model.named_parameters()]
    for module in model.modules():
        shuffled(module, data)
    restore_order(model, [name for name, _ in expected])
    assert [(name, id(parameter)) for name, parameter in model.named_parameters()] == expected


def test_a_tied_weight_comes_before_the_bias_of_its_second_module() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    keys, names = list(model.state_dict()), [name for name, _ in model.named_parameters()]
    for module in model:
        module.register_parameter("weight", module._parameters.pop("weight"))
    assert list(model.state_dict()) != keys
    restore_order(model, names)
    assert list(model.state_dict()) == keys
