"""Models in float64 with gates for each example, each beside its ungated twin."""

import copy
import dataclasses

import torch
from plans import lenet, mlp, reused, tied
from torch import nn
from torch.nn import functional as F

from lzero.attach import attach_gates
from lzero.discover import discover

DOUBLE = torch.float64


def stack(*layers):
    """The layers with a smooth activation between them."""
    inner = [part for layer in layers for part in (layer, nn.Softplus())]
    return nn.Sequential(*inner[:-1])


class Flattened(nn.Module):
    """Channels, and the features that they are flattened to: with input gates, two gates on one dim."""

    def __init__(self):
        super().__init__()
        self.conv, self.mid, self.fc = nn.Conv2d(2, 3, 3), nn.Linear(12, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(F.softplus(self.mid(F.softplus(self.conv(x)).flatten(1))))


CASES = {
    "linear": (lambda: stack(nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(3, 2)), (3, 5), "unit"),
    "sequence": (lambda: stack(nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(3, 2)), (3, 6, 5), "unit"),
    "inputs": (lambda: stack(nn.Linear(5, 4), nn.Linear(4, 2)), (3, 2, 5), "input"),
    "conv1d": (lambda: stack(nn.Conv1d(2, 4, 3), nn.Conv1d(4, 3, 2, stride=2), nn.Conv1d(3, 2, 1)), (3, 2, 9), "unit"),
    "conv2d": (lambda: stack(nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)), (3, 2, 5, 4), "unit"),
    "conv3d": (lambda: stack(nn.Conv3d(1, 3, 2), nn.Conv3d(3, 2, 2)), (3, 1, 4, 3, 4), "unit"),
    "transposed1d": (lambda: stack(nn.Conv1d(2, 4, 3), nn.ConvTranspose1d(4, 2, 3)), (3, 2, 7), "unit"),
    "transposed2d": (
        lambda: stack(nn.ConvTranspose2d(2, 4, 2), nn.ConvTranspose2d(4, 3, 3, stride=2), nn.Conv2d(3, 2, 1)),
        (3, 2, 3, 3),
        "unit",
    ),
    "transposed3d": (lambda: stack(nn.Conv3d(1, 3, 2), nn.ConvTranspose3d(3, 1, 2)), (3, 1, 3, 3, 3), "unit"),
    "flattened": (Flattened, (3, 2, 4, 4), "input"),
}
PLANS = {"plan of mlp": mlp, "plan of lenet": lenet, "plan of reused": reused, "plan of tied": tied}


def built(name, **options):
    """A model in float64 with gates for each example, its ungated twin, its plan, and a batch."""
    torch.manual_seed(0)
    if name in PLANS:
        model, plan = PLANS[name]()
        x = plan.example_inputs.double()
        model, plan = model.double(), dataclasses.replace(plan, example_inputs=x)
    else:
        make, shape, granularity = CASES[name]
        model, x = make().double(), torch.randn(shape, dtype=DOUBLE)
        plan = discover(model, x, granularity=granularity)
    plain = copy.deepcopy(model)
    options = {"per_example": True, "open_probability": 0.7, "rescale": False, **options}
    return model, attach_gates(model, plan, **options), plain, plan, x
