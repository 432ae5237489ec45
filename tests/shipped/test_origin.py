"""What a model was: its class and the shapes of what its state dict has, and nothing that it keeps to itself."""

import pytest
import torch
from torch import nn

from lzero.errors import StructureError
from lzero.host.tensors import saved_size
from lzero.shipped.origin import Origin


class Net(nn.Module):
    def __init__(self, width=6, bias=True):
        super().__init__()
        self.one, self.two = nn.Linear(4, width), nn.Linear(width, 4, bias=bias)
        self.register_buffer("scale", torch.ones(3, dtype=torch.int8))
        self.register_buffer("cache", torch.ones(7), persistent=False)


def test_it_has_the_shapes_of_the_state_dict():
    origin = Origin.of(Net(), {"": "input"})
    assert (origin.kind, origin.granularity) == ("Net", {"": "input"})
    assert origin.shapes == {name: tuple(tensor.shape) for name, tensor in Net().state_dict().items()}
    origin.check(Net().double().half(), "here")


def test_its_size_counts_tied_tensors_once():
    model = Net()
    assert saved_size(model) == 4 * (24 + 6 + 24 + 4) + 3
    model.two.weight = nn.Parameter(torch.ones(6, 4).t())
    model.one.weight = model.two.weight
    assert saved_size(model) == 4 * (6 + 24 + 4) + 3 == Origin.of(model).size


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(4, 6), r"saved: holds a purged Net, found a Linear; build the model"),
        (Net(5), r"one\.weight: saved was purged from a model with shape \[6, 4\], found \[5, 4\]; build"),
        (Net(bias=False), r"two\.bias: saved was purged from a model with shape \[4\], found none"),
    ],
    ids=["class", "width", "missing"],
)
def test_another_architecture_is_refused(model, message):
    with pytest.raises(StructureError, match=message):
        Origin.of(Net()).check(model, "saved")


def test_a_tensor_that_was_not_there_is_refused():
    with pytest.raises(StructureError, match=r"two\.bias: saved was purged from a model with no such tensor, found"):
        Origin.of(Net(bias=False)).check(Net(), "saved")
