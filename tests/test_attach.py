"""Attaching gates: what changes in the user's model, what never does, and the errors."""

import copy
import dataclasses

import pytest
import torch
from plans import CASES, Mlp, batch_norm, lenet, mlp, same, snapshot, tied, weights
from torch import nn

from lzero.attach import attach_gates
from lzero.errors import StructureError
from lzero.gates.gate import Gate
from lzero.gates.hard_concrete import HardConcrete
from lzero.surgery.attached import gated_leaves, gates_of


@pytest.mark.parametrize("name", CASES)
def test_attaching_draws_no_random_number_and_keeps_every_parameter_object(name):
    model, plan = CASES[name]()
    parameters, state = {id(p) for p in model.parameters()}, torch.get_rng_state()
    gates = attach_gates(model, plan)
    assert torch.equal(state, torch.get_rng_state())
    assert {id(p) for p in model.parameters()} == parameters
    assert gates_of(model) is gates and gates.log_alpha.requires_grad


def test_discovering_on_the_way_draws_no_random_number_either():
    torch.manual_seed(0)
    model, state = Mlp(), torch.get_rng_state()
    attach_gates(model, torch.zeros(8, 5))
    assert torch.equal(state, torch.get_rng_state())


def test_gates_join_a_sequential_without_becoming_a_layer():
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    gates = attach_gates(model, torch.zeros(8, 5))
    assert len(model) == 3 and len(gates) == 4
    assert model(torch.zeros(2, 5)).shape == (2, 2)


@pytest.mark.parametrize("name", CASES)
def test_without_rescaling_and_with_open_gates_the_outputs_stay(name):
    torch.manual_seed(0)
    model, plan = CASES[name]()
    model.double()
    x = plan.example_inputs.double()
    expected = model(x)
    gates = attach_gates(model, plan, rescale=False)
    with gates.fixed(torch.ones(len(gates))):
        assert torch.equal(model(x), expected)


@pytest.mark.parametrize("name", ["mlp", "lenet", "weights"])
def test_rescaling_keeps_the_expected_pre_activations(name):
    torch.manual_seed(0)
    model, plan = CASES[name]()
    model.double()
    x = plan.example_inputs.double()
    layers = {path: m for path, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    dense, hooks = {}, []
    for path, layer in layers.items():
        record = lambda m, args, out, path=path: dense.update({path: (args[0].detach(), out.detach())})  # noqa: E731
        hooks.append(layer.register_forward_hook(record))
    model(x)
    for hook in hooks:
        hook.remove()
    gates = attach_gates(model, plan, open_probability=0.6)
    draws = 250
    outs = {path: [] for path in layers}
    with torch.no_grad():
        for _ in range(draws):
            gates.draw()
            for path, layer in layers.items():
                outs[path].append(layer(dense[path][0]))
    for path, values in outs.items():
        values = torch.stack(values)
        error = values.std(0) / draws**0.5
        assert ((values.mean(0) - dense[path][1]).abs() <= 4.5 * error + 1e-9).all(), path


def test_the_open_probability_starts_every_group_that_it_names():
    model, plan = lenet()
    gates = attach_gates(model, plan, open_probability={"conv1": 0.4, "": 0.8})
    p = gates.split(gates.probability().detach())
    assert torch.allclose(p["conv1"], torch.tensor(0.4)) and torch.allclose(p["fc1"], torch.tensor(0.8))
    model, plan = lenet()
    gates = attach_gates(model, plan, open_probability={"conv1": 0.4})
    default = attach_gates(*lenet()).probability()[-1]
    assert torch.equal(gates.probability()[-1], default) and default > 0.5


def test_another_estimator_is_used():
    model, plan = mlp()
    estimator = HardConcrete(temperature=0.5)
    gates = attach_gates(model, plan, estimator=estimator, open_probability=0.7)
    assert gates.estimator is estimator
    assert torch.allclose(gates.probability(), torch.tensor(0.7))


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_plain_checkpoint_loads_at_its_own_scale(name, rescale):
    torch.manual_seed(1)
    model, plan = CASES[name]()
    plain = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(1.0)
    state = plain.state_dict()
    keys = list(state)
    gates = attach_gates(model, plan, rescale=rescale, open_probability=0.8)
    start = gates.log_alpha.detach().clone()
    wrapped = nn.Sequential(model)
    for target, prefix in ((model, ""), (wrapped, "0.")):
        given = {prefix + key: value for key, value in state.items()}
        assert str(target.load_state_dict(given)) == "<All keys matched successfully>"
    assert list(state) == keys and torch.equal(gates.log_alpha, start)
    with gates.fixed(gates.means() if rescale else torch.ones(len(gates))):
        found, expected = model.eval()(plan.example_inputs), plain.eval()(plan.example_inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_wrong_checkpoint_still_says_what_is_missing():
    model, plan = mlp()
    state = model.state_dict()
    attach_gates(model, plan)
    del state["fc2.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*fc2\.parametrizations\.weight\.original"):
        model.load_state_dict(state)


def test_tied_weights_stay_one_parameter_and_every_alias_is_gated():
    model, plan = tied()
    gates = attach_gates(model, plan)
    one, two = (m.parametrizations.weight.original for m in (model.one, model.two))
    assert one is two
    model(plan.example_inputs)
    z = gates.current().z
    assert torch.equal(model.one.weight, one * z) and torch.equal(model.two.weight, two * z)


def test_only_consumers_are_gated():
    model, plan = batch_norm()
    attach_gates(model, plan)
    gated = {path: gated_leaves(module) for path, module in model.named_modules() if gated_leaves(module)}
    assert gated == {"conv2": ["weight"]}
    model, plan = lenet()
    attach_gates(model, plan)
    gated = {path: gated_leaves(module) for path, module in model.named_modules() if gated_leaves(module)}
    assert gated == {path: ["weight"] for path in ("conv2", "fc1", "fc2")}
    (gate,) = model.fc1.parametrizations.weight
    assert len(gate._layouts) == 2  # its channels' gates and its features'


def test_gates_live_where_the_model_does_in_at_least_single_precision():
    for dtype, expected in ((torch.float64, torch.float64), (torch.bfloat16, torch.float32)):
        model, plan = mlp()
        assert attach_gates(model.to(dtype), plan).log_alpha.dtype == expected


@pytest.mark.parametrize("training", [True, False])
def test_gates_are_in_the_models_mode(training):
    model, plan = mlp()
    assert attach_gates(model.train(training), plan).training is training


def test_a_frozen_layer_does_not_stop_the_draws():
    model, plan = mlp()
    attach_gates(model, plan)
    for layer in model.children():
        layer.eval()
    assert model.training
    assert not torch.equal(model(plan.example_inputs), model(plan.example_inputs))


def test_later_changes_of_the_example_batch_do_not_reach_the_plan():
    model, plan = mlp()
    gates = attach_gates(model, plan)
    before = gates.plan.example_inputs.clone()
    plan.example_inputs.zero_()
    assert torch.equal(gates.plan.example_inputs, before)


def wrong_shapes(model, plan):
    return dataclasses.replace(plan, shapes={**plan.shapes, "fc2.weight": (9, 9)})


FAILURES = {
    "another model": (wrong_shapes, {}, r"fc2\.weight: the plan says \(9, 9\), the model has \(3, 4\)"),
    "no groups": (lambda m, plan: dataclasses.replace(plan, groups=()), {}, "Mlp: nothing can be gated exactly"),
    "probability": (None, {"open_probability": 1.0}, r"open_probability: expected a number in \(0, 1\), found 1\.0"),
    "text": (None, {"open_probability": "0.5"}, r"open_probability: expected a number in \(0, 1\), found '0\.5'"),
    "in a mapping": (None, {"open_probability": {"": float("nan")}}, "open_probability: expected a number"),
    "unknown group": (None, {"open_probability": {"fc9": 0.5}}, "no group is called 'fc9'; the groups are fc1.input"),
    "estimator": (None, {"estimator": "arm"}, r"estimator: expected one of lzero\.gates, .* or None, found 'arm'"),
    "estimator class": (None, {"estimator": HardConcrete}, r"estimator: expected one of lzero\.gates"),
    "rescale": (None, {"rescale": 1}, "rescale: expected True or False, found 1"),
    "per_example": (None, {"per_example": "yes"}, "per_example: expected True or False, found 'yes'"),
    "granularity": (None, {"granularity": "input"}, r"settled in a Plan; pass them to lzero\.discover"),
    "ignore": (None, {"ignore": ["fc1"]}, r"settled in a Plan; pass them to lzero\.discover"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_refusal_leaves_the_model_as_it_was(case):
    change, options, message = FAILURES[case]
    model, plan = mlp()
    plan = change(model, plan) if change else plan
    before = snapshot(model)
    with pytest.raises(StructureError, match=message):
        attach_gates(model, plan, **options)
    same(before, snapshot(model))


def test_inputs_of_the_wrong_shape_are_refused_and_leave_the_model_as_it_was():
    model = Mlp()
    before = snapshot(model)
    with pytest.raises(StructureError):
        attach_gates(model, torch.zeros(1, 7))
    same(before, snapshot(model))


def test_a_model_with_nothing_to_gate_is_refused():
    model = nn.Sequential(nn.Linear(3, 2))
    before = snapshot(model)
    with pytest.raises(StructureError, match="Sequential: nothing can be gated exactly"):
        attach_gates(model, torch.zeros(1, 3))
    same(before, snapshot(model))


@pytest.mark.parametrize("wrong", [None, 3, "model", torch.zeros(3), nn.Linear, object()])
def test_what_is_no_module_is_refused(wrong):
    for call in (lambda: attach_gates(wrong, torch.zeros(1, 3)), lambda: gates_of(wrong)):
        with pytest.raises(StructureError, match=r"expected an nn\.Module, found"):
            call()


def test_gates_are_attached_once():
    model, plan = mlp()
    attach_gates(model, plan)
    before = snapshot(model)
    for target in (model, nn.Sequential(model), model.fc2):
        with pytest.raises(
            StructureError, match=r"gates are attached already; call lzero\.detach_gates\(model\) first"
        ):
            attach_gates(target, plan)
    same(before, snapshot(model))


def test_a_weight_gate_owns_one_weight():
    model, plan = weights()
    gates = attach_gates(model, plan)
    (step,) = [m for m in model.fc1.modules() if isinstance(m, Gate)]
    (layout,) = step._layouts
    assert step.dim == -1 and [(s.start, s.stop, s.repeat) for s in layout.spans] == [(0, 6, 1)]
    model(plan.example_inputs)
    z = gates.split(gates.current().z)
    assert torch.equal(model.fc1.weight, model.fc1.parametrizations.weight.original * z["fc1"].view(2, 3))
