"""A plan prints as a page, and what it says is true."""

import math

import pytest
import torch
from torch import nn

import lzero
from lzero_lab.models import MLP, LeNet5, ResNet

MODELS = {
    "mlp": (lambda: MLP(12, (6, 5), 3), torch.zeros(2, 12)),
    "lenet": (lambda: LeNet5(size=8, hidden=20), torch.zeros(2, 1, 8, 8)),
    "resnet": (lambda: ResNet(widths=(4, 6, 8)), torch.zeros(2, 1, 8, 8)),
}


def reachable_by_enumeration(plan, groups):
    """Elements with an owned index on some dim, marked one by one."""
    total = 0
    for name, shape in plan.shapes.items():
        owned = torch.zeros(shape, dtype=torch.bool)
        for group in groups:
            for member in group.members:
                if member.tensor == name and member.dim < 0:
                    owned[...] = True
                elif member.tensor == name:
                    owned.movedim(member.dim, 0)[member.index.flatten()] = True
        total += int(owned.sum())
    return total


@pytest.mark.parametrize("granularity", ["unit", "input", "weight"])
@pytest.mark.parametrize("name", MODELS)
def test_reach_is_what_marking_every_element_gives(name, granularity):
    build, inputs = MODELS[name]
    plan = lzero.discover(build(), inputs, granularity=granularity)
    assert plan.reachable == reachable_by_enumeration(plan, plan.groups)
    for group in plan.groups:
        assert plan.reach([group]) == reachable_by_enumeration(plan, [group])
    assert plan.parameters == sum(math.prod(shape) for shape in plan.shapes.values())


def test_the_page_names_every_group_and_every_refusal_with_its_reason():
    plan = lzero.discover(*(make() if callable(make) else make for make in MODELS["resnet"]))
    text = str(plan)
    assert text.startswith(f"{len(plan.groups)} groups, {plan.size:,} gates")
    lines = text.splitlines()
    for group in plan.groups:
        folder, _, leaf = group.name.rpartition(".")
        line = next(line for line in lines if line.split()[:1] == [leaf] and f"{plan.reach([group]):,} param" in line)
        assert f"{group.size:,} units" in line
        assert not folder or folder in lines
    for refusal in plan.refusals:
        assert any(refusal.reason in line for line in lines)


def test_a_module_that_only_follows_is_named_once_and_the_makers_own_name_is_not_repeated():
    plan = lzero.discover(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)), torch.zeros(1, 1, 8, 8)
    )
    line = next(line for line in str(plan).splitlines() if "4 units" in line)
    assert line.split("parameters")[1].strip() == "read by 2, with 1"
