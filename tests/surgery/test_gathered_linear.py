"""A Linear that reads some features: the same as one with zeros in the columns that it leaves out."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.host.snapshot import Snapshot
from lzero.surgery.gathered_linear import GatheredLinear, gather, gathering
from lzero_lab.models import MLP

COLUMNS = torch.tensor([4, 0, 2])


def wide(layer):
    """The weight [out, 6] of a Linear that reads all features."""
    weight = torch.zeros(layer.out_features, 6)
    weight[:, layer.columns] = layer.weight.detach()
    return weight


def test_it_is_the_linear_with_zero_columns():
    layer = GatheredLinear(nn.Linear(3, 3), COLUMNS)
    for shape in ((6,), (5, 6), (2, 5, 6)):
        x = torch.randn(shape)
        torch.testing.assert_close(layer(x), F.linear(x, wide(layer), layer.bias))


def test_it_keeps_its_choice_in_the_state_dict_and_has_no_gradient_in_what_it_leaves_out():
    layer = GatheredLinear(nn.Linear(2, 3, bias=False), torch.tensor([1, 3]))
    assert set(layer.state_dict()) == {"linear.weight", "columns"}
    x = torch.randn(4, 5, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad[:, [0, 2, 4]].eq(0).all() and x.grad[:, [1, 3]].ne(0).all()


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_becomes_one_in_place_for_whoever_holds_it(bias):
    linear = nn.Linear(3, 2, bias=bias).eval()
    held, weight, seen = [linear], linear.weight, []
    linear.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape))
    gather(linear, COLUMNS)
    assert type(held[0]) is GatheredLinear and type(linear.linear) is nn.Linear
    assert linear.weight is weight is linear.linear.weight and linear.bias is linear.linear.bias
    assert (linear.in_features, linear.out_features) == (3, 2) and not linear.linear.training
    assert [name for name, _ in linear.named_parameters()] == ["linear.weight", "linear.bias"][: 1 + bias]
    x = torch.randn(4, 6)
    torch.testing.assert_close(held[0](x), F.linear(x, wide(linear), linear.bias))
    assert seen == [(4, 6)]  # hooks see all features


def test_becoming_one_can_be_undone():
    linear = nn.Linear(3, 2)
    before, weight, order = Snapshot(linear.modules()), linear.weight, list(vars(linear))
    gather(linear, COLUMNS)
    before.restore()
    assert type(linear) is nn.Linear and linear.weight is weight and list(linear.state_dict()) == ["weight", "bias"]
    assert set(vars(linear)) == set(order) and linear(torch.ones(3)).shape == (2,)


def test_it_draws_no_random_numbers():
    linear, state = nn.Linear(3, 2), torch.get_rng_state()
    gather(linear, COLUMNS)
    assert torch.get_rng_state().equal(state)


def test_what_gathers_a_linear_is_found_by_its_path():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    gather(model[0], COLUMNS)
    assert gathering(model, "0.linear") is model[0]
    assert gathering(model, "0") is gathering(model, "1") is gathering(model, "") is None


def test_converters_that_know_linears_alone_take_the_one_in_it():
    model = nn.Sequential(GatheredLinear(nn.Linear(3, 8), COLUMNS), nn.ReLU(), nn.Linear(8, 2)).eval()
    x = torch.randn(5, 6)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.jit.script(model)):
        assert copied(x).equal(model(x))
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    assert type(quantized[0].linear) is type(quantized[2]) is torch.ao.nn.quantized.dynamic.Linear
    assert "0.columns" in quantized.state_dict()
    torch.testing.assert_close(quantized(x), model(x), rtol=0, atol=0.05)


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # of trainings that never were
def test_inputs_are_gated_and_purged_a_second_time():
    """Twice purged is once purged: of one form, and loaded into the same architecture."""
    torch.manual_seed(0)
    model, x = MLP(12, (9, 7), 3), torch.randn(4, 12)
    for target in (0.7, 0.3):
        gates = lzero.attach_gates(model, x, granularity="input")
        lzero.Solver(gates, target, total_steps=10)
        with torch.no_grad():
            gates.log_alpha.normal_(0, 3)
        model = lzero.purge(model).model.eval()
    assert type(model.fc1) is GatheredLinear and type(model.fc1.linear) is nn.Linear
    assert len(model.fc1.columns) < 12 and model.fc1.columns.max() > len(model.fc1.columns)
    assert lzero.load_purged(MLP(12, (9, 7), 3), model.state_dict()).eval()(x).equal(model(x))


def test_a_forward_that_asks_for_linears_keeps_its_inputs_and_all_else_is_gated():
    """The proof runs what would be shipped: a layer that such a forward passes over is found."""

    class Asking(nn.Sequential):
        def forward(self, x):
            for layer in self:
                x = layer(x).relu() if isinstance(layer, nn.Linear) else layer(x)
            return x

    plan = lzero.discover(Asking(nn.Linear(12, 9), nn.Linear(9, 3)), torch.randn(4, 12), granularity="input")
    assert [group.name for group in plan] == ["0"]
    assert any(r.name == "0.input" and "purged and gated outputs differ" in r.reason for r in plan.refusals)
