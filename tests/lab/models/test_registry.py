"""Networks by name: every one fits every data set, and a seed makes its weights."""

import pytest
import torch
from torch import nn

from lzero.errors import StructureError
from lzero_lab import models
from lzero_lab.datasets import Dataset
from lzero_lab.models import WideResNet, build


def dataset(channels=1, height=28, width=28, classes=10):
    x, y = torch.rand(4, channels, height, width), torch.zeros(4, dtype=torch.int64)
    return Dataset("made up", x, y, x, y, x, y, classes)


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 8, 10), (1, 28, 10), (3, 32, 7)])
def test_every_model_fits_every_data_set_and_learns_in_every_parameter(name, channels, size, classes):
    data = dataset(channels, size, size, classes)
    model = build(name, data)
    scores = model(data.train_x)
    assert scores.shape == (4, classes)
    nn.functional.cross_entropy(scores, data.train_y).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_a_seed_makes_the_weights():
    data = dataset()
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(torch.cat([parameter.flatten() for parameter in build("mlp", data).parameters()]))
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


def test_unknown_names_and_oblong_images_are_refused():
    with pytest.raises(StructureError, match="no model is called 'vgg'; there are: mlp, lenet5, resnet"):
        build("vgg", dataset())
    with pytest.raises(StructureError, match="lenet5: expected square images, made up has 4 x 6; use mlp or resnet"):
        build("lenet5", dataset(height=4, width=6))


def test_it_is_built_by_its_name():
    x, y = torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)
    model = build("wrn-16-2", Dataset("made up", x, y, x, y, x, y, classes=7))
    assert isinstance(model, WideResNet) and model(x).shape == (4, 7)
    assert len(model.stages[0]) == 2


@pytest.mark.parametrize("name", [*models.names(), "wrn-28-10"])
def test_what_can_be_built_is_known(name):
    assert models.known(name)


@pytest.mark.parametrize("name", ["vgg", "wrn-28", "wrn-28-10-1", ""])
def test_other_names_are_not(name):
    assert not models.known(name)
