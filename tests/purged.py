"""Networks of every granularity, and purged copies of them to save and load."""

import torch

import lzero
from lzero_lab.models import MLP, LeNet5, ResNet


def purge_anywhere(build, x, granularity="unit", target=0.3):
    """What purging makes of a network whose gates lie anywhere."""
    torch.manual_seed(0)
    model = build()
    gates = lzero.attach_gates(model, x, granularity=granularity)
    lzero.Solver(gates, target_density=target, total_steps=10)
    with torch.no_grad():
        gates.log_alpha.normal_(0, 3)
    return lzero.purge(model)


def purged(build, x, granularity="unit", target=0.3):
    """A purged copy of a network whose gates lie anywhere."""
    return purge_anywhere(build, x, granularity, target).model.eval()


CASES = {
    "mlp, units": (lambda: MLP(12, (9, 7), 3), (4, 12), "unit"),
    "mlp, inputs": (lambda: MLP(12, (9, 7), 3), (4, 12), "input"),
    "mlp, weights": (lambda: MLP(12, (9, 7), 3), (4, 12), "weight"),
    "lenet, inputs": (lambda: LeNet5(1, 8, (4, 6), 10, 3), (2, 1, 8, 8), "input"),
    "resnet, units": (lambda: ResNet(1, (4, 6), 1, 3), (2, 1, 8, 8), "unit"),
}
