"""Purging: the same outputs, an untouched model, honest numbers, and errors that say what to do."""

import copy
import json
import pickle

import pytest
import torch
from plans import CASES, Mlp, Truth, batch_norm, lenet, mlp, plan_of, same, snapshot, tied
from purging import gated, solver_of, wanted
from torch import nn
from torch.nn.utils import parametrize

import lzero
from lzero.attach import attach_gates
from lzero.constraints import Constraint
from lzero.cost import Cost
from lzero.errors import BudgetError, StructureError
from lzero.gates.gate import Gate
from lzero.gates.gates import Gates
from lzero.purge import purge
from lzero.settle import settle
from lzero.surgery.attached import gates_of
from lzero.surgery.remove import without_gates

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # of trainings that never were


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_the_purged_output_is_that_of_the_gated_model(name, seed, dtype):
    model, gates, x = gated(CASES[name], seed=seed, dtype=dtype)
    solver = solver_of(gates)
    result = purge(model)
    settled = settle(gates, solver.budgets)
    model.eval()
    with gates.fixed(gates.evaluate(settled.open)):
        expected = model(x).detach()
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    assert torch.allclose(result.model.eval()(x), expected, rtol=tolerance, atol=tolerance)
    assert result.certificate.largest_difference <= tolerance * max(1, float(expected.abs().max()))
    for name_, mask in gates.split(settled.open).items():
        assert torch.equal(result.kept[name_], mask)


@pytest.mark.parametrize("name", CASES)
def test_without_settling_the_models_own_eval_output_is_shipped(name):
    model, _, x = gated(CASES[name])
    result = purge(model, settle=False)
    assert torch.allclose(result.model.eval()(x), model.eval()(x), rtol=1e-5, atol=1e-6)
    assert (result.certificate.threshold, result.certificate.moved) == (0.5, 0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_the_users_model_stays_as_it_was(name, training):
    model, gates, x = gated(CASES[name])
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    model(x).sum().backward()
    next(iter(model.children())).requires_grad_(False)
    model.train(training)
    solver_of(gates)
    before = snapshot(model)
    held = gates.drawing.last
    purge(model)
    same(before, snapshot(model))
    assert gates.drawing.last is held


@pytest.mark.parametrize("name", CASES)
def test_a_failed_purge_leaves_the_model_as_it_was_too(name):
    model, _gates, _ = gated(CASES[name])
    before = snapshot(model)
    with pytest.raises(BudgetError, match="cannot be met"):
        purge(model, constraints=[Constraint(1e-6)])
    same(before, snapshot(model))


@pytest.mark.parametrize("measure", ["params", "macs"])
@pytest.mark.parametrize("name", CASES)
def test_the_certificate_has_the_true_numbers(name, measure):
    model, gates, _ = gated(CASES[name])
    target = wanted(gates, measure=measure)
    solver = solver_of(gates, target, measure=measure)
    result = purge(model)
    certificate = result.certificate
    truth, cost = Truth.of(gates.plan, gates), Cost(gates, measure)
    settled = settle(gates, solver.budgets)
    count = truth.count(settled.open[None].numpy(), measure)[0]
    assert certificate.asked == {measure: target}
    assert certificate.deployed[measure] == pytest.approx(count / float(cost.total), rel=1e-12)
    assert certificate.deployed[measure] <= target
    assert certificate.expected[measure] == pytest.approx(float(cost.fraction(gates.probability())))
    assert certificate.before_settling[measure] == pytest.approx(float(cost.fraction(gates.open_mask())))
    assert (certificate.threshold, certificate.moved) == (settled.threshold, settled.moved)
    assert certificate.parameters == truth.count(settled.open[None].numpy())[0]
    assert certificate.parameters_before == sum(p.numel() for p in without_gates(model).parameters())
    if name != "weights":
        assert certificate.parameters == sum(p.numel() for p in result.model.parameters())
    assert set(certificate.deployed) == {measure, "params"}
    assert json.loads(json.dumps(certificate.to_dict())) == certificate.to_dict()
    text = str(certificate)
    assert f"asked {target:.2%}, shipped {certificate.deployed[measure]:.2%}" in text
    assert f"parameters: {certificate.parameters:,} of {certificate.parameters_before:,}" in text


def test_layerwise_budgets_are_all_on_the_certificate():
    model, gates, _ = gated(lambda: lenet(3, 4, 5))
    solver_of(gates, None, constraints=[Constraint(0.9, each_layer=True), Constraint(0.7, "macs")])
    certificate = purge(model).certificate
    assert set(certificate.asked) == {"params/conv1", "params/conv2", "params/fc1", "params/fc2", "macs"}
    assert all(certificate.deployed[name] <= target for name, target in certificate.asked.items())
    assert "params" in certificate.deployed


@pytest.mark.parametrize("name", CASES)
def test_the_purged_module_is_plain(name):
    model, gates, x = gated(CASES[name])
    model(x).sum().backward()
    solver_of(gates)
    small = purge(model).model
    assert gates_of(small) is None
    for module in small.modules():
        assert not isinstance(module, (Gate, Gates)) and not parametrize.is_parametrized(module)
        assert not any("lzero" in attribute or "gate" in attribute for attribute in vars(module))
        hooks = [*module._forward_pre_hooks.values(), *module._load_state_dict_pre_hooks.values()]
        assert not any("lzero" in (getattr(hook, "__module__", "") or "") for hook in hooks)
        assert not hooks
    assert not any("parametrizations" in key or "gates" in key for key in small.state_dict())
    assert type(small) is type(model)
    for parameter in small.parameters():
        assert parameter.is_leaf and parameter.grad is None and parameter.requires_grad
    for twin in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        assert torch.equal(twin.eval()(x), small.eval()(x))
    small.train()(x).sum().backward()  # and it trains on


def test_the_purged_module_shares_no_memory_with_the_users_model():
    model, _gates, _x = gated(mlp)
    small = purge(model).model
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.fill_(7.0)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_purging_twice_gives_the_same_and_purging_goes_on_with_training():
    model, gates, x = gated(lenet)
    solver_of(gates)
    one, two = purge(model), purge(model)
    assert one.certificate == two.certificate
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(a, b)
    model.train()(x).sum().backward()
    assert gates.log_alpha.grad is not None


def test_what_has_no_gates_is_refused():
    model, _, _ = gated(mlp)
    for plain in (nn.Linear(2, 2), purge(model).model):
        with pytest.raises(StructureError, match=r"no gates attached; call lzero\.attach_gates\(model, inputs\)"):
            purge(plain)


def holder(model):
    """Path of the layer that the gates are registered in."""
    return next(path for path, module in model.named_modules() if isinstance(module, Gates)).split(".")[0]


def test_a_module_around_the_gated_one_is_refused():
    model, _, _ = gated(mlp)
    with pytest.raises(StructureError, match=r"Sequential: its gates belong to a part of it, '0'; purge that: lzero"):
        purge(nn.Sequential(model))
    with pytest.raises(StructureError, match="ParametrizedLinear: is a part of the model that its gates were attached"):
        purge(model.get_submodule(holder(model)))


def test_weight_gates_become_zeros():
    model, gates, _ = gated(CASES["weights"])
    solver_of(gates)
    result = purge(model)
    for name in ("fc1", "fc2"):
        weight = result.model.get_submodule(name).weight
        assert weight.shape == getattr(model, name).weight.shape
        assert torch.equal(weight.flatten() != 0, result.kept[name])
    zeros = sum(int((p == 0).sum()) for p in result.model.parameters())
    assert result.certificate.parameters == result.certificate.parameters_before - zeros


def test_a_penalized_model_ships_the_gates_that_are_open():
    model, gates, x = gated(lenet)
    solver_of(gates)
    penalty = lzero.Penalty(gates, 0.1, fresh=True)  # the last trainer built decides
    model(x).sum().backward()
    penalty.step()
    result = purge(model)
    assert result.certificate.asked == {}
    for name, mask in gates.split(gates.open_mask()).items():
        assert torch.equal(result.kept[name], mask)
    assert "params: shipped" in str(result.certificate)


def test_other_budgets_can_be_given_at_the_end():
    model, gates, _ = gated(mlp)
    solver_of(gates)
    result = purge(model, constraints=[Constraint(0.9, "macs")])
    assert list(result.certificate.asked) == ["macs"] and result.certificate.deployed["macs"] <= 0.9


def test_tied_weights_stay_tied():
    model, gates, _ = gated(tied)
    solver_of(gates, 0.7)
    small = purge(model).model
    assert small.one.weight is small.two.weight
    assert model.one.parametrizations.weight.original is model.two.parametrizations.weight.original


def test_low_precision_models_are_verified_to_their_precision():
    model, gates, x = gated(lambda: mlp((20, 30, 20, 4)), dtype=torch.bfloat16)
    solver_of(gates, 0.3)
    assert purge(model).model(x).dtype == torch.bfloat16


def test_batch_norm_statistics_are_cut_and_not_updated():
    model, gates, x = gated(batch_norm)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([3.0, -5.0, 2.0]))
    for _ in range(3):
        model(x)
    statistics = model.bn1.running_mean.clone()
    small = purge(model.train()).model
    assert torch.equal(small.bn1.running_mean, statistics[[0, 2]]) and small.bn1.num_batches_tracked == 3
    assert small.training


def test_user_parametrizations_survive():
    torch.manual_seed(0)
    model, plan = mlp(input_gates=False)
    parametrize.register_parametrization(model.fc1, "bias", Doubled())
    plan = plan_of(model, plan.groups[1:], plan.positions, plan.example_inputs)
    attach_gates(model, plan)
    small = purge(model).model
    assert parametrize.is_parametrized(small.fc1, "bias") and parametrize.is_parametrized(model.fc3, "weight")
    assert not parametrize.is_parametrized(small.fc3)


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def test_purge_of_a_discovered_model_end_to_end():
    torch.manual_seed(0)
    model = Mlp((8, 16, 12, 3))
    gates = attach_gates(model, torch.randn(8, 8), granularity="input")
    solver_of(gates, 0.3)
    certificate = purge(model).certificate
    assert 0 <= 0.3 - certificate.deployed["params"] < 0.1
