"""One draw a forward: fresh in train mode, kept in eval mode, one autograd node, and its recomputation."""

import dataclasses

import pytest
import torch
from gates.forwards import gated
from plans import CASES, mlp
from torch import nn
from torch.utils.checkpoint import checkpoint

import lzero
from lzero.attach import attach_gates
from lzero.errors import SolverError
from lzero.gates import ARM, Deterministic, HardConcrete, LogNormal, StraightThrough

DOUBLE = torch.float64


@pytest.mark.parametrize("name", CASES)
def test_a_model_just_gated_gives_in_eval_mode_what_it_gave(name):
    torch.manual_seed(0)
    model, plan = CASES[name]()
    model.double().eval()
    x = plan.example_inputs.double()
    before = model(x).detach()
    attach_gates(model, plan)
    torch.testing.assert_close(model(x), before, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("estimator", [HardConcrete(), StraightThrough(), LogNormal(), ARM(), Deterministic()])
def test_so_it_does_with_every_estimator_and_by_their_median_it_does_not(estimator):
    def change(estimator):
        torch.manual_seed(0)
        model, plan = mlp()
        model.double().eval()
        x = plan.example_inputs.double()
        before = model(x).detach()
        attach_gates(model, plan, estimator=estimator, open_probability=0.8)
        return float((model(x) - before).detach().abs().max())

    assert change(estimator) < 1e-9
    if hasattr(estimator, "evaluate"):
        assert change(type(estimator)(evaluate="median")) > 1e-3


@pytest.mark.parametrize("estimator", [HardConcrete(), LogNormal()])
@pytest.mark.parametrize("per_example", [False, True])
def test_the_gradient_is_the_difference_quotient_at_fixed_noise(estimator, per_example):
    torch.manual_seed(0)
    model, plan = mlp()
    model.double()
    x = plan.example_inputs.double()
    plan = dataclasses.replace(plan, example_inputs=x)
    gates = attach_gates(model, plan, estimator=estimator, open_probability=0.7, per_example=per_example)

    def loss():
        torch.manual_seed(3)
        return model(x).sin().sum()

    loss().backward()
    found, step = gates.log_alpha.grad.flatten(), 1e-6
    flat = gates.log_alpha.detach().view(-1)
    for position in range(len(flat)):
        before = float(flat[position])
        values = []
        for moved in (before + step, before - step):
            with torch.no_grad():
                flat[position] = moved
                values.append(float(loss()))
        flat[position] = before
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(found[position]), rel=1e-5, abs=1e-7)


def nodes(tensor):
    """All nodes of the graph behind ``tensor``, by name."""
    seen, queue = set(), [tensor.grad_fn]
    while queue:
        node = queue.pop()
        if node is not None and node not in seen:
            seen.add(node)
            queue += [next_ for next_, _ in node.next_functions]
    return [type(node).__name__ for node in seen]


@pytest.mark.parametrize("depth", [3, 12])
def test_one_node_leads_to_the_gates_however_many_tensors_are_gated(depth):
    torch.manual_seed(0)
    parts = [part for _ in range(depth) for part in (nn.Linear(6, 6), nn.Tanh())]
    model, x = nn.Sequential(*parts), torch.randn(4, 6)
    gates = attach_gates(model, x)
    names = nodes(model(x))
    assert names.count("_SampleBackward") == 1
    assert names.count("SplitWithSizesBackward0") == 0
    assert names.count("MulBackward0") == len(gates.sizes) == depth - 1
    assert not any("Index" in name or "Gather" in name for name in names)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # the tracer's inputs
@pytest.mark.parametrize("backwards", [1, 2])
def test_two_forwards_with_checkpoints_are_exact_where_each_has_its_backward(backwards):
    def gradients(mode):
        model, x = built(mode)
        for seed in range(backwards):
            torch.manual_seed(seed)
            model(x).pow(2).sum().backward()
        return [lzero.gates_of(model).log_alpha.grad, *(p.grad for p in model.parameters())]

    plain = gradients("none")
    for mode in MODES:
        assert all(torch.equal(one, two) for one, two in zip(gradients(mode), plain, strict=True)), mode


class Checkpointed(nn.Module):
    def __init__(self, inner, mode):
        super().__init__()
        self.inner, self.mode = inner, mode

    def forward(self, x):
        if self.mode == "none":
            return self.inner(x)
        return checkpoint(self.inner, x, use_reentrant=self.mode == "reentrant", preserve_rng_state=False)


MODES = ["reentrant", "not reentrant"]


def built(mode, **options):
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    model = Checkpointed(inner, mode).double()
    x = torch.randn(4, 5, dtype=DOUBLE, requires_grad=True)
    attach_gates(model, (x,), **options)
    return model, x


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # the tracer's inputs
@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("between", ["train", "no_grad", "eval"])
@pytest.mark.parametrize("mode", MODES)
def test_a_draw_between_a_checkpointed_forward_and_its_backward_is_noticed(mode, between, per_example):
    model, x = built(mode, per_example=per_example)
    loss = model(x).pow(2).sum()
    with torch.set_grad_enabled(between == "train"):
        model.train(between != "eval")(x)
    model.train()
    with pytest.raises(SolverError, match=r"activation checkpointing runs a gated layer again .* Run one forward and"):
        loss.backward()
    model.zero_grad()
    lzero.gates_of(model).log_alpha.grad = None
    model(x).pow(2).sum().backward()  # and the next forward is fine
    assert lzero.gates_of(model).log_alpha.grad.any()


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("mode", MODES)
def test_the_sum_of_two_checkpointed_forwards_is_refused_and_not_silently_wrong(mode):
    model, x = built(mode)
    loss = model(x).pow(2).sum() + model(2 * x).pow(2).sum()
    with pytest.raises(SolverError, match="call the model once on both batches"):
        loss.backward()


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("mode", MODES)
def test_held_and_fixed_gates_may_be_recomputed_whenever(mode):
    model, x = built(mode)
    gates = lzero.gates_of(model)
    gates.hold(gates.open_mask())
    (model(x).pow(2).sum() + model(2 * x).pow(2).sum()).backward()
    assert next(model.parameters()).grad.any()
    gates.hold(None)
    with gates.fixed(torch.rand(len(gates), dtype=DOUBLE)):
        (model(x).pow(2).sum() + model(2 * x).pow(2).sum()).backward()


def test_two_plain_forwards_before_one_backward_are_exact_also_beside_an_eval_one():
    model, gates, x = gated(mlp, DOUBLE)

    def alone(seed):
        gates.log_alpha.grad = None
        torch.manual_seed(seed)
        model(x).pow(2).sum().backward()
        return gates.log_alpha.grad

    expected = alone(1) + alone(2)
    gates.log_alpha.grad = None
    torch.manual_seed(1)
    first = model(x).pow(2).sum()
    with torch.no_grad():
        model.eval()(x)
    model.train()
    torch.manual_seed(2)
    (first + model(x).pow(2).sum()).backward()
    torch.testing.assert_close(gates.log_alpha.grad, expected, rtol=1e-12, atol=1e-14)


def test_second_derivatives_in_the_gates_are_refused_and_those_in_weights_and_inputs_are_exact():
    model, gates, x = gated(mlp, DOUBLE)
    gradients = torch.autograd.grad(model(x).pow(2).sum(), [gates.log_alpha, *model.parameters()], create_graph=True)
    with pytest.raises(SolverError, match=r"gates have no second derivative: leave gates\.log_alpha out"):
        gradients[0].pow(2).sum().backward(retain_graph=True)

    def penalised(log_alpha=None):
        """A gradient penalty on the inputs."""
        leaf = x.clone().requires_grad_()
        torch.manual_seed(7)
        (slope,) = torch.autograd.grad(model(leaf).sin().sum(), leaf, create_graph=True)
        return slope.pow(2).sum()

    gates.log_alpha.grad = None
    penalised().backward()
    found, step = gates.log_alpha.grad.clone(), 1e-6
    for gate in range(len(gates)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                gates.log_alpha[gate] += sign * step
            values.append(float(penalised().detach()))
            with torch.no_grad():
                gates.log_alpha[gate] -= sign * step
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(found[gate]), rel=1e-5, abs=1e-7)
