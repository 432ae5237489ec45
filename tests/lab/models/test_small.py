"""The small networks: the sizes and names of the papers, and what their forwards compute."""

import pytest
import torch
from torch import nn

from lzero.errors import StructureError
from lzero_lab.models.small import MLP, BasicBlock, LeNet5, ResNet


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_parameter_counts_are_those_of_the_papers():
    assert parameters(MLP(784)) == 266_610
    assert parameters(LeNet5()) == 431_080


def test_the_layers_have_the_names_and_sizes_that_the_papers_use():
    lenet = LeNet5()
    assert [name for name, _ in lenet.named_children()] == ["conv1", "conv2", "fc1", "fc2"]
    assert (lenet.conv1.out_channels, lenet.conv2.out_channels) == (20, 50)
    assert (lenet.fc1.in_features, lenet.fc1.out_features) == (800, 500)
    mlp = MLP(784)
    assert [name for name, _ in mlp.named_children()] == ["fc1", "fc2", "fc3"]
    assert [(layer.in_features, layer.out_features) for layer in mlp.children()] == [(784, 300), (300, 100), (100, 10)]


def test_the_mlp_is_affine_maps_with_relu_between():
    model, x = MLP(6, hidden=(5, 4), classes=3), torch.randn(2, 2, 3)
    hidden = x.reshape(2, 6)
    for layer in (model.fc1, model.fc2):
        hidden = (hidden @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ model.fc3.weight.T + model.fc3.bias)
    assert [name for name, _ in MLP(6, hidden=()).named_children()] == ["fc1"]


def test_the_mlp_ignores_what_else_is_registered_on_it():
    model, x = MLP(6), torch.randn(2, 6)
    before = model(x)
    model.register_module("gates", nn.Identity())
    assert model(x).equal(before)


@pytest.mark.parametrize("size", [4, 8, 15, 16, 28, 32])
def test_lenet_reads_square_images_of_any_sensible_size(size):
    assert LeNet5(3, size)(torch.rand(2, 3, size, size)).shape == (2, 10)


def test_lenet_refuses_images_that_its_poolings_would_use_up():
    with pytest.raises(StructureError, match="3 x 3 pixels are too small, expected at least 4 x 4"):
        LeNet5(1, 3)


def test_the_resnet_halves_between_stages_and_projects_where_shapes_change():
    model = ResNet(3, widths=(4, 8, 12), blocks=2).eval()
    assert [type(block.shortcut) for block in model.stages] == [
        nn.Identity, nn.Identity, nn.Sequential, nn.Identity, nn.Sequential, nn.Identity
    ]  # fmt: skip
    assert model.stages(torch.rand(2, 4, 32, 32)).shape == (2, 12, 8, 8)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 1 + 2 * 6 + 2


def test_a_residual_block_is_the_shortcut_where_the_residual_is_zero():
    block = BasicBlock(4, 4).eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(block(x), x.relu())
