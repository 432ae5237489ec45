"""Magnitude pruning against enumeration, hand-written scores, and itself after a restart."""

import copy
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import CASES, Truth, all_masks, lenet, mlp, weights
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.baselines.magnitude import Magnitude
from lzero.baselines.scores import lamp_scores, magnitude_scores
from lzero.constraints import Budget, Constraint
from lzero.errors import BudgetError, NonFiniteError, SolverError
from lzero.gates import Mask
from lzero.settle import settle


class Problem:
    """A small regression with masks; two of them built alike are equal to the bit."""

    def __init__(self, case=mlp, seed=0, **options):
        torch.manual_seed(seed)
        self.model, plan = case()
        self.gates = lzero.attach_gates(self.model, plan, estimator=Mask(), **options)
        self.x = torch.randn(16, *plan.example_inputs.shape[1:])
        self.y = torch.randn(self.model(self.x).shape)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2, weight_decay=0.1)

    def seam(self, density=None, **options):
        return Magnitude(self.gates, density, model=self.model, **({"total_steps": 10} | options))

    def backward(self):
        self.optimizer.zero_grad()
        F.mse_loss(self.model(self.x), self.y).backward()

    def train(self, seam, steps):
        for _ in range(steps):
            self.backward()
            seam.step()
            self.optimizer.step()

    def state(self):
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}


def at_once(problem, density=None, **options):
    """The seam of ``problem`` after a single update, before any optimizer step."""
    seam = problem.seam(density, schedule="one-shot", begin=0.0, **options)
    problem.backward()
    seam.step()
    return seam


def best(truth, budgets, scores, floor):
    """The deployed set by definition: gates in the order of their scores, each that still fits, on top of ``floor``."""
    open_ = floor.copy()
    for gate in np.argsort(-scores, kind="stable"):
        trial = open_.copy()
        trial[gate] = True
        if all(fits(truth, trial) for fits in budgets):
            open_ = trial
    return open_


def limit(part, target, gates):
    def fits(truth, mask):
        full = truth.count(np.ones((1, gates), bool), part=part)[0]
        return truth.count(mask[None], part=part)[0] <= target * full

    return fits


@pytest.mark.parametrize("scope", ["model", "layer"])
@pytest.mark.parametrize("case", ["units", "mlp", "weights", "reused", "batch_norm"])
@pytest.mark.parametrize("density", [0.5, 0.7, 0.9])
def test_the_best_gates_that_fit_are_open_and_no_other_fits(case, scope, density):
    problem = Problem(CASES[case])
    gates = problem.gates
    constraint = Constraint(density, scope=scope)
    try:
        seam = at_once(problem, constraints=[constraint])
    except BudgetError as problem_:
        pytest.skip(str(problem_))
    scores = seam.scores().numpy()
    floor = np.zeros(len(gates), bool)
    for where in gates.slices.values():
        floor[where.start + scores[where].argmax()] = True
    limits = [limit(part, target, len(gates)) for part, target in constraint.parts(gates).items()]
    truth = Truth.of(gates.plan, gates)
    expected = best(truth, limits, scores, floor)
    assert gates.open_mask().tolist() == expected.tolist()
    for gate in (~expected).nonzero()[0]:
        trial = expected.copy()
        trial[gate] = True
        assert not all(fits(truth, trial) for fits in limits)


def test_no_set_of_the_same_order_is_larger():
    """Against all masks: none that keeps the order of the scores costs more and fits."""
    problem = Problem(lambda: mlp(input_gates=False))
    seam = at_once(problem, 0.6)
    scores, truth = seam.scores().numpy(), Truth.of(problem.gates.plan, problem.gates)
    shipped = truth.count(problem.gates.open_mask().numpy()[None])[0]
    full = truth.count(np.ones((1, len(scores)), bool))[0]
    for mask in all_masks(len(scores)):
        alive = all(mask[where].any() for where in problem.gates.slices.values())
        ordered = not mask.any() or mask.all() or scores[mask].min() > scores[~mask].max()
        if alive and ordered and truth.count(mask[None])[0] <= 0.6 * full:
            assert truth.count(mask[None])[0] <= shipped


@settings(max_examples=40, deadline=None)
@given(
    case=st.sampled_from(sorted(CASES)),
    density=st.floats(0.3, 1.0),
    criterion=st.sampled_from(["magnitude", "lamp", "random"]),
    seed=st.integers(0, 5),
)
def test_what_is_masked_is_what_settling_and_purging_ship(case, density, criterion, seed):
    problem = Problem(CASES[case], seed=seed)
    try:
        at_once(problem, density, criterion=criterion, seed=seed)
    except BudgetError:
        return
    gates = problem.gates
    settled = settle(gates, gates.budgets)
    assert torch.equal(settled.open, gates.open_mask())
    assert (settled.moved, settled.threshold) == (0, 0.5)
    cost = gates.budgets[0].cost
    assert float(cost.fraction(settled.open)) <= density
    alive = cost.gradient(settled.open)
    price = float(alive.values.max() / cost.total)
    assert settled.open.all() or density - float(cost.fraction(settled.open)) < price + 1e-12
    result = lzero.purge(problem.model)
    assert result.certificate.deployed["params"] == pytest.approx(float(cost.fraction(settled.open)))


def test_several_budgets_hold_at_once():
    problem = Problem(lenet)
    at_once(problem, constraints=[Constraint(0.7), Constraint(0.9, "macs", "layer")])
    deployed = lzero.purge(problem.model).certificate
    assert len(deployed.requested) == 5
    assert all(deployed.deployed[name] <= target for name, target in deployed.requested.items())


def rms(tensor):
    return math.sqrt(float((tensor.double() ** 2).mean()))


def test_the_scores_of_units_and_inputs_are_the_formula_of_the_docstring():
    problem = Problem(lenet)
    model, gates = problem.model, problem.gates
    raw = {name.replace("parametrizations.", "").replace(".original", ""): p for name, p in model.named_parameters()}
    found = gates.split(magnitude_scores(gates, model))
    conv1, conv2, fc1, fc2 = (raw[f"{name}.weight"].detach() for name in ("conv1", "conv2", "fc1", "fc2"))
    for j in range(2):
        made, read = rms(conv1[j]) / rms(conv1), rms(conv2[:, j]) / rms(conv2)
        assert float(found["conv1"][j]) == pytest.approx(math.sqrt((made**2 + read**2) / 2), rel=1e-9)
        made, read = rms(conv2[j]) / rms(conv2), rms(fc1[:, 4 * j : 4 * j + 4]) / rms(fc1)
        assert float(found["conv2"][j]) == pytest.approx(math.sqrt((made**2 + read**2) / 2), rel=1e-9)
        made, read = rms(fc1[j]) / rms(fc1), rms(fc2[:, j]) / rms(fc2)
        assert float(found["fc1"][j]) == pytest.approx(math.sqrt((made**2 + read**2) / 2), rel=1e-9)
    for j in range(8):
        assert float(found["fc1.input"][j]) == pytest.approx(rms(fc1[:, j]) / rms(fc1), rel=1e-9)
    for values in found.values():
        assert float((values**2).mean()) == pytest.approx(1.0)


def test_scores_ignore_the_scale_of_a_layer_and_its_bias():
    problem = Problem(lenet)
    before = magnitude_scores(problem.gates, problem.model)
    with torch.no_grad():
        problem.model.fc1.parametrizations.weight.original.mul_(7.0)
        problem.model.fc1.bias.add_(100.0)
    assert torch.allclose(magnitude_scores(problem.gates, problem.model), before)


def test_scores_are_those_of_the_raw_weights_under_any_mask():
    problem = Problem(lenet)
    before = magnitude_scores(problem.gates, problem.model)
    with torch.no_grad():
        problem.gates.log_alpha.fill_(-3.0)
    assert torch.equal(magnitude_scores(problem.gates, problem.model), before)


def test_single_weights_are_ranked_by_their_absolute_value_over_all_layers():
    problem = Problem(weights)
    values = torch.cat([getattr(problem.model, n).parametrizations.weight.original.flatten() for n in ("fc1", "fc2")])
    found = magnitude_scores(problem.gates, problem.model)
    assert torch.allclose(found, values.detach().abs().double() / rms(values.detach()))


def test_layer_adaptive_scores_are_squares_over_the_sum_of_those_as_large():
    problem = Problem(weights)
    gates = problem.gates
    magnitude = magnitude_scores(gates, problem.model)
    found = lamp_scores(gates, magnitude)
    for name, values in gates.split(magnitude).items():
        for one, score in zip(values.tolist(), gates.split(found)[name].tolist(), strict=True):
            assert score == pytest.approx(one**2 / sum(v**2 for v in values.tolist() if v >= one))
        assert float(gates.split(found)[name].max()) == 1.0


def test_targets_fall_by_the_cube_between_begin_and_end():
    problem = Problem(lambda: mlp((20, 30, 20, 3)))
    seam = problem.seam(0.3, total_steps=100, begin=0.1, end=0.6, every=20)
    targets, masks = [seam.metrics()["annealed_target"]], [problem.gates.open_mask()]
    for _ in range(100):
        problem.train(seam, 1)
        row = seam.metrics()
        targets.append(row["annealed_target"])
        masks.append(problem.gates.open_mask())
        assert row["deployed"] == row["expected"] <= row["annealed_target"]
    first, last = 10, 60
    for step in range(100):  # what holds after the update of this step
        latest = -1 if step < first else last if step >= last else first + (step - first) // 20 * 20
        t = 0.0 if latest < 0 else (latest - first) / (last - first)
        assert targets[step + 1] == pytest.approx(0.3 + 0.7 * (1 - t) ** 3, rel=1e-12), step
        if step not in (10, 30, 50, 60):
            assert torch.equal(masks[step], masks[step + 1]), step
    assert targets[0] == 1.0 and targets[-1] == 0.3 == seam.metrics()["target"]
    assert not torch.equal(masks[30], masks[31]) and not torch.equal(masks[60], masks[61])
    assert 0 <= 0.3 - lzero.purge(problem.model).certificate.deployed["params"] < 0.05


def test_one_shot_happens_at_begin():
    for begin, step in ((0.0, 0), (0.35, 7), (None, 10), (1.0, 19)):
        problem = Problem()
        seam = problem.seam(0.5, total_steps=20, schedule="one-shot", begin=begin)
        closed = []
        for _ in range(20):
            problem.train(seam, 1)
            closed.append(not problem.gates.open_mask().all())
        assert closed == [position >= step for position in range(20)]


def test_an_end_at_the_end_is_the_last_step():
    problem = Problem()
    seam = problem.seam(0.5, begin=0.5, end=1.0, every=3)
    problem.train(seam, 10)
    assert seam.metrics()["annealed_target"] == 0.5 and seam.metrics()["deployed"] <= 0.5


def test_a_closed_unit_may_come_back_at_a_later_update_but_not_after_the_last():
    problem = Problem(lambda: mlp(input_gates=False))
    seam = problem.seam(0.5, end=0.3, every=1)
    problem.train(seam, 3)
    gate = int((~problem.gates.open_mask()).nonzero()[0])
    name = "fc1" if gate < 4 else "fc2"
    position = gate - problem.gates.slices[name].start
    with torch.no_grad():
        getattr(problem.model, "fc2" if name == "fc1" else "fc3").parametrizations.weight.original[:, position] = 50.0
    problem.train(seam, 1)  # the last update
    assert problem.gates.open_mask()[gate]
    with torch.no_grad():
        getattr(problem.model, "fc2" if name == "fc1" else "fc3").parametrizations.weight.original[:, position] = 0.0
    problem.train(seam, 6)
    assert problem.gates.open_mask()[gate]


def test_random_masks_are_those_of_their_seed_alone():
    def mask(seed, scores):
        torch.manual_seed(scores)
        problem = Problem(lambda: mlp((20, 30, 20, 3)))
        state = torch.get_rng_state()
        at_once(problem, 0.3, criterion="random", seed=seed)
        assert torch.equal(state, torch.get_rng_state())
        return problem.gates.open_mask()

    assert torch.equal(mask(1, 3), mask(1, 4))
    assert not torch.equal(mask(1, 3), mask(2, 3))


def test_random_masks_only_shrink():
    problem = Problem(lambda: mlp((20, 30, 20, 3), input_gates=False))
    seam = problem.seam(0.2, criterion="random", every=1)
    before = problem.gates.open_mask()
    for _ in range(10):
        problem.train(seam, 1)
        mask = problem.gates.open_mask()
        assert float(seam.metrics()["deployed"]) <= seam.metrics()["annealed_target"]
        before = mask
    assert int(before.sum()) < len(before) / 2


def test_a_step_changes_the_mask_and_nothing_else():
    problem = Problem(lenet)
    seam = problem.seam(0.5, every=1)
    problem.backward()
    grads = {name: p.grad.clone() for name, p in problem.model.named_parameters()}
    before, random = problem.state(), torch.get_rng_state()
    seam.step(loss=1.0, closure=lambda: 1 / 0)
    seam.gates.log_alpha.grad = torch.zeros_like(seam.gates.log_alpha)
    seam.step()
    for name, tensor in problem.state().items():
        assert torch.equal(tensor, before[name]) != name.endswith("log_alpha"), name
    for name, parameter in problem.model.named_parameters():
        if name.endswith("log_alpha"):
            assert parameter.grad is None and (grads[name] == 0).all()
        else:
            assert torch.equal(parameter.grad, grads[name])
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize(
    "build",
    [
        lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.5),
    ],
    ids=["adamw", "sgd"],
)
def test_no_optimizer_moves_the_mask(build):
    problem = Problem()
    problem.optimizer = build(problem.model.parameters())
    seam = problem.seam(0.5, total_steps=100, schedule="one-shot", begin=0.01)
    problem.train(seam, 2)
    before = problem.gates.log_alpha.detach().clone()
    problem.train(seam, 20)
    assert torch.equal(problem.gates.log_alpha, before)


@pytest.mark.parametrize("criterion", ["magnitude", "lamp", "random"])
def test_seven_steps_and_seven_more_are_fourteen(criterion):
    def build():
        problem = Problem(lenet)
        return problem, problem.seam(0.6, total_steps=14, end=0.8, every=3, criterion=criterion, seed=5)

    whole, seam = build()
    whole.train(seam, 7)
    file = io.BytesIO()
    torch.save([whole.model.state_dict(), whole.optimizer.state_dict(), seam.state_dict()], file)
    whole.train(seam, 7)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed, second = build()
    for target, state in zip((resumed.model, resumed.optimizer, second), saved, strict=True):
        target.load_state_dict(state)
    assert second.metrics()["annealed_target"] < 1
    resumed.train(second, 7)
    one, two = whole.state(), resumed.state()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert seam.metrics() == second.metrics() and seam.state_dict() == second.state_dict()


def test_a_state_of_another_seam_is_refused_and_changes_nothing():
    problem = Problem()
    seam = problem.seam(0.5)
    for state, message in [
        (problem.seam(0.5, measure="macs").state_dict(), r"saved with names \['macs'\], this one has \['params'\]"),
        (problem.seam(0.5, criterion="random").state_dict(), "saved with criterion 'random', this one has 'magnitude'"),
        ({**seam.state_dict(), "steps": 4, "seed": 3}, "saved with seed 3, this one has 0; build it as it was"),
        ({"steps": 4}, "the saved state has no names; it is not a Magnitude's state_dict"),
    ]:
        with pytest.raises(SolverError, match=message):
            seam.load_state_dict(state)
        assert seam.steps == 0


def test_attaching_masks_leaves_the_network_as_it_is_in_train_and_eval_mode():
    torch.manual_seed(0)
    model, plan = lenet()
    x = torch.randn(5, 1, 6, 6)
    before, random = model(x), torch.get_rng_state()
    lzero.attach_gates(model, plan, estimator=Mask())
    assert torch.equal(model.train()(x), before) and torch.equal(model.eval()(x), before)
    assert torch.equal(random, torch.get_rng_state())


def test_train_and_eval_mode_see_the_same_masked_network():
    problem = Problem(lenet)
    at_once(problem, 0.6)
    trained = problem.model.train()(problem.x)
    assert torch.equal(trained, problem.model.eval()(problem.x))
    assert torch.allclose(lzero.purge(problem.model).model(problem.x), trained, atol=1e-6)


def test_gates_for_each_example_are_the_same_mask():
    problem = Problem(lenet, per_example=True)
    at_once(problem, 0.6)
    assert torch.allclose(problem.model.train()(problem.x), problem.model.eval()(problem.x), atol=1e-6)


def test_the_boundary_of_a_mask_is_that_of_deployment():
    log_alpha = torch.tensor([-1e-3, 0.0, 1e-9, 1e-3])  # sigmoid(1e-9) is 1/2 in single precision
    z, slope = Mask().sample(log_alpha, torch.zeros(2, 4))
    assert z.tolist() == [[0, 0, 0, 1]] * 2 and (slope == 0).all()
    assert torch.equal(z[0] != 0, Mask().probability(log_alpha) > 0.5)
    p = log_alpha.clone().requires_grad_()
    (found,) = torch.autograd.grad(Mask().probability(p).sum(), p)
    assert torch.allclose(found, Mask().probability_slope(log_alpha))
    assert torch.sigmoid(torch.tensor(Mask().initial(0.9))) == pytest.approx(0.9)


BAD = {
    "begin": ({"begin": -0.1}, r"begin: expected a share of total_steps in \[0, 1\], found -0\.1"),
    "end": ({"end": 7}, r"end: expected a share of total_steps in \[0, 1\], found 7"),
    "nan": ({"end": math.nan}, "end: expected a share .* found nan"),
    "order": ({"begin": 0.8}, "begin: expected a share no larger than end, found begin 0.8 and end 0.5"),
    "once": ({"schedule": "one-shot", "end": 0.7}, "end: a one-shot schedule prunes at begin; leave end out"),
    "total": ({"total_steps": 0}, "total_steps: expected a positive number of optimizer steps, found 0"),
    "every": ({"every": 1.5}, r"every: expected a positive number of optimizer steps, found 1\.5"),
    "schedule": ({"schedule": "linear"}, "schedule: expected one of cubic, one-shot, found 'linear'"),
    "criterion": ({"criterion": "taylor"}, "criterion: expected one of magnitude, lamp, random, found 'taylor'"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_arguments_are_refused_and_leave_the_gates_without_budgets(case):
    options, message = BAD[case]
    problem = Problem()
    with pytest.raises(SolverError, match=message):
        problem.seam(0.5, **options)
    assert len(problem.gates.budgets) == 0


def test_gates_that_are_no_masks_and_other_models_are_refused():
    model, plan = mlp()
    gates = lzero.attach_gates(model, plan)
    with pytest.raises(SolverError, match=r"expected gates that are masks, found HardConcrete; attach them with"):
        Magnitude(gates, 0.5, model=model, total_steps=10)
    one, two = Problem(), Problem()
    for wrong in (two.model, copy.deepcopy(one.model), nn.Sequential(one.model), None):
        with pytest.raises(SolverError, match=r"the gates are not those of this .*; pass model= the module that"):
            Magnitude(one.gates, 0.5, model=wrong, total_steps=10)
    with pytest.raises(SolverError, match=r"expected the Gates that lzero\.attach_gates returned"):
        Magnitude(one.model, 0.5, model=one.model, total_steps=10)


def test_budgets_that_cannot_be_met_are_refused():
    problem = Problem()
    with pytest.raises(BudgetError, match="cannot be met: what is not gated, and one unit of every gated layer"):
        problem.seam(0.01)
    with pytest.raises(BudgetError, match="Magnitude: give either target_density or constraints"):
        problem.seam()
    with pytest.raises(BudgetError, match="Magnitude: two budgets hold for the same part and measure"):
        problem.seam(constraints=[Constraint(0.5), Constraint(0.6)])


def test_a_step_before_backward_and_a_gradient_that_is_not_finite_change_nothing():
    problem = Problem()
    seam = problem.seam(0.5, every=1)
    with pytest.raises(SolverError, match=r"log_alpha has no gradient: call step\(\) after loss\.backward\(\)"):
        seam.step()
    problem.train(seam, 2)
    problem.backward()
    problem.gates.log_alpha.grad[0] = math.nan
    before = problem.gates.log_alpha.detach().clone()
    with pytest.raises(NonFiniteError, match="not finite at step 2; nothing was changed"):
        seam.step()
    assert seam.steps == 2 and torch.equal(problem.gates.log_alpha, before)


def test_an_update_that_cannot_settle_leaves_the_mask():
    problem = Problem()
    seam = problem.seam(0.5, every=1)
    seam.budgets[0].targets.fill_(1e-3)
    seam.steps = 5
    before = problem.gates.log_alpha.detach().clone()
    problem.backward()
    with pytest.raises(BudgetError, match="settle: one unit of every layer already exceeds a budget"):
        seam.step()
    assert torch.equal(problem.gates.log_alpha, before) and seam.steps == 5


def test_many_weights_keep_distinct_ranks():
    model = nn.Sequential(nn.Linear(1000, 500), nn.ReLU(), nn.Linear(500, 10))
    x = torch.randn(2, 1000)
    gates = lzero.attach_gates(model, x, granularity="weight", estimator=Mask())
    seam = Magnitude(gates, 0.1, model=model, total_steps=10, schedule="one-shot", begin=0.0)
    model(x).sum().backward()
    seam.step()
    assert len(torch.unique(gates.probability())) == len(gates) == 505_000
    assert int(gates.open_mask().sum()) + 510 == int(505_510 * 0.1)
    weight = torch.cat([model[i].parametrizations.weight.original.flatten() for i in (0, 2)]).abs()
    open_ = gates.open_mask()
    assert float(weight[open_].min()) >= float(weight[~open_].max())


def test_a_budget_of_the_constructor_is_the_one_that_purge_ships():
    problem = Problem(lenet)
    seam = problem.seam(0.6)
    assert problem.gates.budgets is seam.budgets
    assert isinstance(problem.gates.budgets[0], Budget)
