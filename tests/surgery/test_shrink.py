"""Cutting units out of plain modules: the outputs of multiplied consumers, smaller tensors, and sizes that follow."""

import copy
import pickle

import pytest
import torch
from plans import CASES, batch_norm, lenet, mlp, tied, weights
from torch import nn

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.host.tensors import find_tensor
from lzero.plan.group import GateGroup, Member
from lzero.reload import load_purged
from lzero.surgery.gathered_linear import GatheredLinear
from lzero.surgery.layer_sizes import refresh_sizes
from lzero.surgery.shrink import scale_consumers, shrink


def closure(plan, seed):
    """Uneven gates: each group keeps at least one, and open gates are no round numbers."""
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for group in plan.groups:
        z = torch.rand(group.size, generator=generator, dtype=torch.float64) + 0.3
        z[
            torch.randperm(group.size, generator=generator)[: int(torch.randint(group.size, (), generator=generator))]
        ] = 0
        values[group.name] = z
    return values


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CASES)
def test_the_shrunk_module_computes_what_the_multiplied_one_does(name, seed):
    torch.manual_seed(seed)
    model, plan = CASES[name]()
    model.double().eval()
    x, values = plan.example_inputs.double(), closure(plan, seed)
    scale_consumers(model, plan.groups, values)
    expected = model(x)
    before = sum(p.numel() for p in model.parameters())
    shrink(model, plan.groups, {group: z > 0 for group, z in values.items()})
    assert torch.allclose(model(x), expected, rtol=1e-11, atol=1e-13)
    if name != "weights" and any((z == 0).any() for z in values.values()):
        assert sum(p.numel() for p in model.parameters()) < before


def test_sizes_that_modules_cache_follow_their_tensors():
    model, plan = batch_norm()
    shrink(model, plan.groups, {"conv1": torch.tensor([True, False, False])})
    assert (model.conv1.out_channels, model.bn1.num_features, model.conv2.in_channels) == (1, 1, 1)
    assert model.bn1.running_mean.shape == (1,)
    model, plan = lenet()
    keep = {"conv1": [1, 0], "conv2": [0, 1], "fc1.input": [1] * 6 + [0, 1], "fc1": [1, 0]}
    shrink(model, plan.groups, {name: torch.tensor(mask).bool() for name, mask in keep.items()})
    assert (model.fc1.in_features, model.fc1.out_features, model.fc2.in_features) == (3, 1, 1)
    assert type(model.fc1) is GatheredLinear and model.fc1.columns.tolist() == [0, 1, 3]
    assert "in_features=3, out_features=1" in repr(model.fc1)


def test_depthwise_convolutions_keep_one_group_a_channel():
    conv = nn.Conv2d(6, 6, 3, groups=6)
    conv.weight = nn.Parameter(conv.weight.detach()[:2])
    conv.bias = nn.Parameter(conv.bias.detach()[:2])
    refresh_sizes(conv)
    assert (conv.groups, conv.in_channels, conv.out_channels) == (2, 2, 2)
    assert conv(torch.zeros(1, 2, 5, 5)).shape == (1, 2, 3, 3)


def test_transposed_convolutions_have_their_inputs_first():
    conv = nn.ConvTranspose2d(4, 6, 3)
    conv.weight = nn.Parameter(conv.weight.detach()[:3, :2])
    conv.bias = nn.Parameter(conv.bias.detach()[:2])
    refresh_sizes(conv)
    assert (conv.in_channels, conv.out_channels) == (3, 2)
    assert conv(torch.zeros(1, 3, 2, 2)).shape == (1, 2, 4, 4)


def test_a_linear_whose_inputs_all_live_stays_a_plain_linear():
    model, plan = mlp()
    shrink(model, plan.groups, {g.name: torch.ones(g.size, dtype=torch.bool) for g in plan.groups})
    assert type(model.fc1) is nn.Linear and "columns" not in dict(model.named_buffers())


def test_features_of_closed_channels_need_no_selection():
    model, plan = lenet()
    keep = {g.name: torch.ones(g.size, dtype=torch.bool) for g in plan.groups}
    keep["conv2"] = torch.tensor([False, True])
    shrink(model, plan.groups, keep)  # their input gates are open, and they never arrive
    assert type(model.fc1) is nn.Linear and model.fc1.in_features == 4
    model(plan.example_inputs)


def test_tied_weights_stay_tied_and_frozen_ones_frozen():
    model, plan = tied()
    model.one.weight.requires_grad_(False)
    shrink(model, plan.groups, {"one": torch.tensor([True, False, True, False])})
    assert model.one.weight is model.two.weight and model.one.weight.shape == (2, 2)
    assert not model.one.weight.requires_grad and model.last.weight.requires_grad


def test_closed_weights_become_zeros_of_the_same_shape():
    model, plan = weights()
    shape = model.fc1.weight.shape
    shrink(model, plan.groups, {"fc1": torch.tensor([1, 0, 1, 0, 0, 1]).bool(), "fc2": torch.ones(4).bool()})
    assert model.fc1.weight.shape == shape
    assert (model.fc1.weight.flatten() != 0).tolist() == [True, False, True, False, False, True]


def test_a_gathered_linear_pickles_and_copies():
    model, plan = mlp()
    keep = {g.name: torch.ones(g.size, dtype=torch.bool) for g in plan.groups}
    keep["fc1.input"][1] = False
    shrink(model, plan.groups, keep)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(plan.example_inputs), model(plan.example_inputs))


def test_input_gates_need_a_plain_linear():
    class Mine(nn.Linear):
        pass

    model, plan = mlp()
    model.fc1.__class__ = Mine
    keep = {g.name: torch.ones(g.size, dtype=torch.bool) for g in plan.groups}
    keep["fc1.input"][0] = False
    with pytest.raises(StructureError, match=r"fc1: input gates need a plain nn\.Linear, found Mine"):
        shrink(model, plan.groups, keep)


def test_a_name_that_is_no_tensor_is_refused():
    with pytest.raises(StructureError, match="0: expected a parameter or buffer, found Linear"):
        find_tensor(nn.Sequential(nn.Linear(2, 2)), "0")


def test_groups_of_a_plan_lie_in_gates_in_order_of_their_slices():
    _, plan = lenet()
    gates = Gates(plan)
    assert len(gates) == plan.size and list(gates.slices) == [group.name for group in plan.flat_groups]


class Holder(nn.Module):
    """An attention with four heads of two features, a hidden layer of 12 units, and numbers beside them."""

    def __init__(self, **numbers: int) -> None:
        super().__init__()
        self.q, self.out = nn.Linear(5, 8), nn.Linear(8, 5)
        self.up, self.down = nn.Linear(5, 12), nn.Linear(12, 5)
        for name, value in numbers.items():
            setattr(self, name, value)


HEADS = GateGroup("q", 4, "unit", (
    Member("q.weight", 0, torch.arange(8).view(4, 2), "producer"),
    Member("q.bias", 0, torch.arange(8).view(4, 2), "coupled"),
    Member("out.weight", 1, torch.arange(8).view(4, 2), "consumer"),
))  # fmt: skip
HIDDEN = GateGroup("up", 12, "unit", (
    Member("up.weight", 0, torch.arange(12)[:, None], "producer"),
    Member("up.bias", 0, torch.arange(12)[:, None], "coupled"),
    Member("down.weight", 1, torch.arange(12)[:, None], "consumer"),
))  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"all_head_size": 8}, {"all_head_size": 6}),
        ({"hidden": 12, "out_size": 5}, {"hidden": 6, "out_size": 5}),
        ({"num_heads": 4, "head_dim": 2}, {"num_heads": 3, "head_dim": 2}),
        ({"n_head": 4, "n_kv_heads": 8}, {"n_head": 3, "n_kv_heads": 6}),
        ({"n_heads": 2}, {"n_heads": 2}),  # half of the hidden layer is closed, but no two heads make a unit
        ({"patch_size": 8, "num_classes": 12, "depth": 12}, {"patch_size": 8, "num_classes": 12, "depth": 12}),
        ({"_size": 8, "dim": 5}, {"_size": 8, "dim": 5}),
    ],
)
def test_numbers_that_follow_a_cut(numbers: dict[str, int], expected: dict[str, int]) -> None:
    model = Holder(**numbers)
    keep = {"q": torch.tensor([True, False, True, True]), "up": torch.arange(12) % 2 == 0}
    shrink(model, [HEADS, HIDDEN], keep)
    assert {name: getattr(model, name) for name in numbers} == expected
    assert (model.q.out_features, model.out.in_features, model.up.out_features) == (6, 6, 6)
    again = load_purged(Holder(**numbers), model.state_dict())
    assert {name: getattr(again, name) for name in numbers} == expected
