"""Small networks for discovery, and the sizes and the reasons of a plan."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo.blocks import Net

from lzero.plan.plan import Plan


def sizes(plan: Plan) -> dict[str, int]:
    return {group.name: group.size for group in plan.groups}


def reasons(plan: Plan) -> str:
    return "\n".join(f"{r.name}: {r.reason}" for r in plan.refusals)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


def lenet() -> Net:
    def forward(net: Any, x: Tensor) -> Tensor:
        x = F.max_pool2d(torch.relu(net.conv1(x)), 2)
        x = F.max_pool2d(torch.relu(net.conv2(x)), 2)
        return net.fc2(torch.relu(net.fc1(x.flatten(1))))

    parts = {
        "conv1": nn.Conv2d(1, 4, 3),
        "conv2": nn.Conv2d(4, 6, 3),
        "fc1": nn.Linear(24, 10),
        "fc2": nn.Linear(10, 3),
    }
    return Net(forward, **parts)


IMAGE = torch.randn(2, 1, 14, 14)
