"""Small models with hand-written plans, and the definition of a live weight, element by element."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lzero.plan.group import GateGroup, Member
from lzero.plan.plan import Plan


def column(start, stop=None):
    """[k, 1]: one position a gate."""
    return (torch.arange(start) if stop is None else torch.arange(start, stop))[:, None]


def plan_of(model, groups, positions, inputs):
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    return Plan(tuple(groups), (), shapes, positions, example_inputs=inputs)


def sized(sizes):
    """A plan of groups of these sizes, by name, that live on no tensor."""
    return Plan(tuple(GateGroup(name, size, "unit", ()) for name, size in sizes.items()), (), {}, {})


def units(name, size, produced, coupled, consumed):
    """A unit group; ``consumed`` maps a tensor to its index on dim 1."""
    members = [Member(tensor, 0, column(size), "producer") for tensor in produced]
    members += [Member(tensor, 0, column(size), "coupled") for tensor in coupled]
    members += [Member(tensor, 1, index, "consumer") for tensor, index in consumed.items()]
    return GateGroup(name, size, "unit", tuple(members))


def inputs_of(layer, size):
    return GateGroup(f"{layer}.input", size, "input", (Member(f"{layer}.weight", 1, column(size), "consumer"),))


class Mlp(nn.Module):
    def __init__(self, sizes=(5, 4, 3, 2)):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = (nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, x):
        return self.fc3(F.softplus(self.fc2(F.softplus(self.fc1(x)))))


def mlp(sizes=(5, 4, 3, 2), input_gates=True):
    """An MLP with gates on its inputs and units."""
    model = Mlp(sizes)
    groups = [inputs_of("fc1", sizes[0])] if input_gates else []
    groups.append(units("fc1", sizes[1], ["fc1.weight"], ["fc1.bias"], {"fc2.weight": column(sizes[1])}))
    groups.append(units("fc2", sizes[2], ["fc2.weight"], ["fc2.bias"], {"fc3.weight": column(sizes[2])}))
    positions = {f"fc{i}.weight": 1 for i in (1, 2, 3)}
    return model, plan_of(model, groups, positions, torch.randn(3, sizes[0]))


class LeNet(nn.Module):
    def __init__(self, c1=2, c2=2, h=2):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, c1, 3), nn.Conv2d(c1, c2, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(4 * c2, h), nn.Linear(h, 3)

    def forward(self, x):  # [n, 1, 6, 6]
        x = F.max_pool2d(F.softplus(self.conv1(x)), 2)  # [n, c1, 2, 2]
        x = F.softplus(self.conv2(x)).flatten(1)  # [n, 4 c2]
        return self.fc2(F.softplus(self.fc1(x)))


def lenet(c1=2, c2=2, h=2):
    """Convolutions, a flatten with gates on channels and on features, and a hidden layer."""
    model = LeNet(c1, c2, h)
    groups = [
        units("conv1", c1, ["conv1.weight"], ["conv1.bias"], {"conv2.weight": column(c1)}),
        units("conv2", c2, ["conv2.weight"], ["conv2.bias"], {"fc1.weight": torch.arange(4 * c2).view(c2, 4)}),
        inputs_of("fc1", 4 * c2),
        units("fc1", h, ["fc1.weight"], ["fc1.bias"], {"fc2.weight": column(h)}),
    ]
    positions = {"conv1.weight": 16, "conv2.weight": 4, "fc1.weight": 1, "fc2.weight": 1}
    return model, plan_of(model, groups, positions, torch.randn(3, 1, 6, 6))


class Reused(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.first, self.square, self.last = nn.Linear(3, width), nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, x):
        x = F.softplus(self.first(x))
        for _ in range(2):
            x = F.softplus(self.square(x))
        return self.last(x)


def reused(width=4):
    """A square Linear that runs twice: the same gates own its rows and its columns."""
    model = Reused(width)
    consumed = {"square.weight": column(width), "last.weight": column(width)}
    group = units("square", width, ["first.weight", "square.weight"], ["first.bias", "square.bias"], consumed)
    positions = {"first.weight": 1, "square.weight": 2, "last.weight": 1}
    return model, plan_of(model, [group], positions, torch.randn(3, 3))


class Tied(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.first, self.one, self.two = nn.Linear(3, width), nn.Linear(width, width), nn.Linear(width, width)
        self.last = nn.Linear(width, 2)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.last(F.softplus(self.two(F.softplus(self.one(F.softplus(self.first(x)))))))


def tied(width=4):
    """Two Linears that share one weight."""
    model = Tied(width)
    consumed = {"one.weight": column(width), "last.weight": column(width)}
    produced, coupled = ["first.weight", "one.weight"], ["first.bias", "one.bias", "two.bias"]
    group = units("one", width, produced, coupled, consumed)
    positions = {"first.weight": 1, "one.weight": 2, "last.weight": 1}
    return model, plan_of(model, [group], positions, torch.randn(3, 3))


class BatchNormNet(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.fc = nn.Conv2d(channels, 2, 3), nn.Linear(2, 2)

    def forward(self, x):  # [n, 2, 4, 4]
        return self.fc(self.conv2(F.softplus(self.bn1(self.conv1(x)))).mean((2, 3)))


def batch_norm(channels=3):
    """A convolution with BatchNorm behind it, whose shift keeps a closed channel from being silent."""
    model = BatchNormNet(channels)
    nn.init.normal_(model.bn1.bias)
    coupled = [f"bn1.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    group = units("conv1", channels, ["conv1.weight"], coupled, {"conv2.weight": column(channels)})
    positions = {"conv1.weight": 16, "conv2.weight": 4, "fc.weight": 1}
    return model, plan_of(model, [group], positions, torch.randn(3, 2, 4, 4))


def weights(sizes=(3, 2, 2, 2)):
    """An MLP with one gate a weight on its first two layers."""
    model = Mlp(sizes)
    groups = []
    for name in ("fc1", "fc2"):
        tensor = getattr(model, name).weight
        member = Member(f"{name}.weight", -1, column(tensor.numel()), "consumer")
        groups.append(GateGroup(name, tensor.numel(), "weight", (member,)))
    positions = {f"fc{i}.weight": 1 for i in (1, 2, 3)}
    return model, plan_of(model, groups, positions, torch.randn(3, sizes[0]))


CASES = {
    "mlp": mlp,
    "units": lambda: mlp(input_gates=False),
    "lenet": lenet,
    "reused": reused,
    "tied": tied,
    "batch_norm": batch_norm,
    "weights": weights,
}


@dataclass
class Truth:
    """Which gates every element of every parameter needs, straight from the members of a plan."""

    needs: dict[str, np.ndarray]  # bool [elements, G]
    positions: dict[str, int]

    @classmethod
    def of(cls, plan, gates):
        needs = {}
        for name, shape in plan.shapes.items():
            table = np.zeros((*shape, len(gates)), bool)
            for group in plan.groups:
                start = gates.slices[group.name].start
                for member in (member for member in group.members if member.tensor == name):
                    for gate, where in enumerate(member.index.tolist()):
                        if member.dim < 0:
                            table.reshape(-1, len(gates))[where, start + gate] = True
                        else:
                            np.moveaxis(table, member.dim, 0)[where, ..., start + gate] = True
                for gate, block in enumerate(group.blocks):
                    table[..., start + gate] |= name in block.tensors
            table = table.reshape(-1, len(gates))
            for gate, owner in enumerate(gates.owners.tolist()):
                if owner >= 0:
                    table[:, owner] |= table[:, gate]
            needs[name] = table
        return cls(needs, dict(plan.positions))

    def count(self, masks, measure="params", part=""):
        """Cost of every mask in ``masks`` [M, G]: [M]."""
        closed = ~np.asarray(masks, bool)
        total = np.zeros(len(closed))
        for name, needs in self.needs.items():
            if part and not name.startswith(f"{part}."):
                continue
            each = 1 if measure == "params" else self.positions.get(name, 0)
            total += each * (closed.astype(int) @ needs.T.astype(int) == 0).sum(1)
        return total


def all_masks(gates):
    """All settings of ``gates`` gates, bool [2^G, G]."""
    return (np.arange(2**gates)[:, None] >> np.arange(gates)) & 1 == 1


def chances(probability, masks):
    """Probability of every mask under independent gates, [M]."""
    p = np.asarray(probability, float)
    return np.where(masks, p, 1 - p).prod(1)


def snapshot(model):
    """Everything of a model that a call could change, copied, to compare with :func:`same`."""
    return {
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "identity": [(name, id(parameter)) for name, parameter in model.named_parameters(remove_duplicate=False)],
        "grads": {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "modules": [(name, id(module), type(module), module.training) for name, module in model.named_modules()],
        "hooks": [
            [tuple(table) for table in (m._forward_pre_hooks, m._forward_hooks, m._load_state_dict_pre_hooks)]
            for m in model.modules()
        ],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "random": torch.get_rng_state(),
    }


def same(before, after):
    """Raises where two snapshots differ, to the bit."""
    assert before["state"].keys() == after["state"].keys()
    for kind in ("state", "grads"):
        for name, tensor in before[kind].items():
            other = after[kind][name]
            assert (tensor is None) == (other is None), name
            assert tensor is None or (tensor.dtype == other.dtype and torch.equal(tensor, other)), name
    for kind in ("identity", "requires_grad", "modules", "hooks", "attributes"):
        assert before[kind] == after[kind], kind
    assert torch.equal(before["random"], after["random"]), "the random state moved"


def simple(inputs: Any) -> Plan:
    return Plan((), (), {}, {}, example_inputs=inputs)
