"""Which groups are widths, and by what number each of them is rounded."""

import pytest
import torch
from plans import lenet, mlp, weights
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.plan.group import GateGroup, Member
from lzero.plan.widths import checked_round_to, is_width, steps_of


@pytest.mark.parametrize(
    ("asked", "one_spelling"),
    [
        (8, 8),
        ({"": 8}, 8),
        ({"": 8, "a": 8}, 8),
        ({"a": 1, "a.b": 1}, 1),
        ({"": 1, "a": 8}, {"a": 8}),
        ({"b": 1, "": 8, "a": 16}, {"": 8, "a": 16, "b": 1}),
    ],
)
def test_what_means_the_same_is_spelled_the_same(asked, one_spelling):
    assert checked_round_to(asked) == one_spelling and checked_round_to(one_spelling) == one_spelling


@pytest.mark.parametrize("asked", [0, -8, 8.0, True, "8", None, [8], {}, {"a": 0}, {"a": True}, {"a": "8"}, {1: 8}])
def test_nonsense_is_refused(asked):
    with pytest.raises(StructureError, match="round_to"):
        checked_round_to(asked)


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTM(5, 12, batch_first=True), nn.Linear(12 * 6, 3)

    def forward(self, x):  # [n, 6, 5]
        return self.head(self.cell(x)[0].flatten(1))


class Glu(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(5, 24), nn.Linear(12, 3)

    def forward(self, x):
        return self.down(nn.functional.glu(self.up(x)))


def images(*layers):
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), *layers), torch.randn(2, 3, 4, 4)


KINDS = {  # model, inputs, granularity, the groups that are widths, and those that are none
    "flattened channels": (*images(nn.Flatten(), nn.Linear(12 * 16, 2)), "unit", {"0"}, set()),
    "depthwise": (
        *images(nn.Conv2d(12, 12, 3, groups=12), nn.Conv2d(12, 2, 1), nn.Flatten()), "unit", {"0"}, set(),
    ),
    "grouped": (*images(nn.Conv2d(12, 16, 3, groups=4), nn.Conv2d(16, 2, 1), nn.Flatten()), "unit", set(), {"0", "2"}),
    "recurrent": (Lstm(), torch.randn(2, 6, 5), "unit", {"cell"}, set()),
    "gated linear": (Glu(), torch.randn(2, 5), "unit", {"up"}, set()),
    "heads": (
        nn.TransformerEncoderLayer(16, 4, 24, batch_first=True), torch.randn(2, 5, 16), "unit", {"linear1"},
        {"self_attn"},
    ),
    "features": (nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2)), torch.randn(2, 6), "input", {"0"},
                 {"0.input"}),
    "channels of a GroupNorm": (
        *images(nn.GroupNorm(4, 12), nn.Conv2d(12, 2, 1), nn.Flatten()), "width", set(), {"0"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_channels_and_neurons_are_widths_and_units_of_several_positions_are_not(name):
    model, inputs, granularity, widths, others = KINDS[name]
    plan = lzero.discover(model, inputs, granularity=granularity)
    assert {group.name for group in plan if is_width(group, plan.shapes)} == widths
    assert {group.name for group in plan} == widths | others


def test_heads_are_none_though_a_table_or_a_small_network_has_one_entry_for_each():
    """The position bias of T5 and the network that makes the one of Swin v2."""
    index = torch.arange(12).view(3, 4)
    one = torch.arange(3)[:, None]
    members = (
        Member("q", 0, index, "producer"), Member("bias", 0, one, "producer"), Member("table", 1, one, "coupled"),
        Member("out", 1, index, "consumer"),
    )  # fmt: skip
    assert not is_width(GateGroup("q", 3, "unit", members), {"q": (12, 5), "bias": (3, 7), "out": (5, 12)})


def test_every_other_kind_of_group_is_as_it_is():
    for kind in ("depth", "expert", "input", "weight"):
        assert not is_width(GateGroup("g", 8, kind, ()), {})
    _, plan = weights()
    assert steps_of(plan.flat_groups, plan.shapes, 8) == (1, 1)


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        (4, (4, 4, 4, 1)),
        (6, (6, 6, 5, 1)),  # of no more than 6 all are one step
        ({"": 4, "fc1": 1}, (4, 1, 1, 1)),  # fc1 reads conv2's channels
        ({"conv1": 3}, (3, 1, 1, 1)),
        ({"conv2": 3}, (3, 3, 1, 1)),
        ({"conv1": 2, "conv2": 3, "fc1": 3}, (6, 3, 3, 1)),  # conv1's channels lie in both
    ],
)
def test_the_deepest_path_decides_and_of_several_their_least_common_multiple(asked, steps):
    _, plan = lenet(12, 7, 5)
    assert [group.name for group in plan.flat_groups] == ["conv1", "conv2", "fc1", "fc1.input"]
    assert steps_of(plan.flat_groups, plan.shapes, asked) == steps


def test_a_deeper_path_comes_before_the_one_around_it():
    block = nn.Sequential(nn.Linear(9, 9), nn.ReLU())
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(4, 9), nn.ReLU(), block), "b": nn.Linear(9, 2)})
    model.forward = lambda x: model["b"](model["a"](x))
    plan = lzero.discover(model, torch.randn(2, 4))
    assert steps_of(plan.flat_groups, plan.shapes, {"": 2, "a": 3, "a.2": 4}) == (4, 4)
    assert steps_of(plan.flat_groups, plan.shapes, {"": 2, "a": 3}) == (3, 3)
    assert steps_of(plan.flat_groups, plan.shapes, {"": 2, "b": 3}) == (2, 3)


def test_a_path_without_gated_weights_is_refused_with_those_that_have_some():
    _, plan = mlp()
    with pytest.raises(StructureError, match=r"no gated weights at 'fc4'; there are some at fc1, fc2, fc3"):
        steps_of(plan.flat_groups, plan.shapes, {"fc4": 8})
