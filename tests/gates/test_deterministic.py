"""Gates that nothing is drawn for: closed forms, straight-through by definition, and one network in both modes."""

import pytest
import torch
from plans import lenet, mlp, plan_of, units
from solver.problem import Problem, set_multipliers
from torch import nn

import lzero
from lzero.cost import Cost
from lzero.errors import StructureError
from lzero.gates import Deterministic

DOUBLE = torch.float64
SHARES = (0.0, 0.25, 1.0)
PHI = torch.tensor([-3.0, -0.4, -1e-6, 0.0, 1e-6, 0.05, 0.1, 0.3, 0.5, 0.94, 1.7, 3.0], dtype=DOUBLE)


def test_the_gate_is_the_positive_part_and_its_slope_is_one_everywhere():
    z, slope = Deterministic().sample(PHI, torch.zeros(2, len(PHI), dtype=DOUBLE))
    assert torch.equal(z, torch.stack([PHI.clamp_min(0)] * 2)) and torch.equal(slope, torch.ones_like(z))
    assert torch.equal(Deterministic().evaluation(PHI)[0], z[0])
    assert torch.equal(Deterministic().evaluation(PHI)[1], slope[0])


@pytest.mark.parametrize(("share", "centre"), [(0.0, 0.5), (0.25, 0.3), (1.0, 0.1)])
def test_the_centre_falls_with_the_root_of_the_training(share, centre):
    gates = Deterministic().at(share)
    assert gates.centre == pytest.approx(centre) and gates.at(1.0) == Deterministic()
    assert gates.at(0.0).at(share) == gates  # from wherever it was


def logistic(x):
    return 1 / (1 + torch.exp(-x))


COUNTS = {  # s at z, and its slope, as functions of z and m
    "rational": (lambda z, m: (1 + m) * z / (z + m), lambda z, m: m * (1 + m) / (z + m) ** 2),
    "logistic": (
        lambda z, m: 1.2 * logistic(2.4 * (z / m - 1)) - 0.1,
        lambda z, m: 1.2 * 2.4 / m * logistic(2.4 * (z / m - 1)) * logistic(2.4 * (1 - z / m)),
    ),
}


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("count", COUNTS)
def test_the_count_is_the_closed_form_and_its_slope_the_difference_quotient(count, share):
    gates, (value, slope) = Deterministic(count=count).at(share), COUNTS[count]
    m, step = gates.centre, 1e-6
    z = torch.linspace(0.02 * m, min(1.9 * m, 0.99), 40, dtype=DOUBLE)
    torch.testing.assert_close(gates.probability(z), value(z, m), rtol=1e-12, atol=0)
    quotient = (gates.probability(z + step) - gates.probability(z - step)) / (2 * step)
    torch.testing.assert_close(gates.probability_slope(z), quotient, rtol=1e-7, atol=0)
    torch.testing.assert_close(slope(z, m), quotient, rtol=1e-7, atol=0)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("count", COUNTS)
def test_where_the_count_is_nothing_or_one_its_slope_goes_straight_through(count, share):
    gates, slope = Deterministic(count=count).at(share), COUNTS[count][1]
    closed, far = (torch.tensor(z, dtype=DOUBLE) for z in ([-9.0, -0.1, 0.0], [1.0, 1.1, 2.0, 7.0]))
    assert gates.probability(closed).tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert gates.probability(far).tolist() == pytest.approx([1, 1, 1, 1], abs=1e-12)
    as_if_at = closed.abs() if count == "rational" else torch.zeros(3, dtype=DOUBLE)
    torch.testing.assert_close(gates.probability_slope(closed), slope(as_if_at, gates.centre), rtol=1e-9, atol=0)
    torch.testing.assert_close(gates.probability_slope(far), slope(far, gates.centre), rtol=1e-9, atol=0)


def test_gates_are_ranked_by_their_parameter_and_deployed_where_they_are_not_zero():
    phi = torch.linspace(-3, 4, 1001, dtype=torch.float32)
    for share in SHARES:
        rank = Deterministic().at(share).rank(phi)
        assert rank.dtype is DOUBLE and (rank.diff() > 0).all() and rank.min() > 0 and rank.max() < 1
        assert torch.equal(rank > 0.5, Deterministic().sample(phi, phi)[0] != 0)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("p", [1e-6, 0.03, 0.5, 0.97, 1 - 1e-9])
def test_a_training_begins_where_the_count_is_the_open_probability_with_every_gate_open(p, count):
    (start,) = Deterministic(count=count).initial(p)
    assert 0 < start < 1
    found = Deterministic(count=count).at(0.0).probability(torch.tensor([start], dtype=DOUBLE))
    assert float(found) == pytest.approx(p, abs=1e-12)


def test_attaching_leaves_the_network_as_it_is_in_both_modes_and_draws_nothing():
    torch.manual_seed(0)
    model, plan = lenet()
    model.double()
    x = torch.randn(5, 1, 6, 6, dtype=DOUBLE)
    before, random = model(x), torch.get_rng_state()
    lzero.attach_gates(model, plan, estimator=Deterministic())
    for mode in (True, False):
        torch.testing.assert_close(model.train(mode)(x), before, rtol=1e-13, atol=1e-13)
    assert torch.equal(random, torch.get_rng_state())


def scattered(case=lenet, seed=0, **options):
    """A problem whose gates lie on both sides of 0 and of 1, one of each group open at least."""
    problem = Problem(case, estimator=Deterministic(), **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        problem.gates.log_alpha.copy_(torch.randn(len(problem.gates), generator=generator))
        for view in problem.gates.split(problem.gates.log_alpha).values():
            view[0] = 1.0 + view[0].abs()
    return problem


@pytest.mark.parametrize("seed", range(3))
def test_what_trains_is_what_is_shipped_and_purged_within_rounding(seed):
    problem = scattered(seed=seed, dtype=DOUBLE)
    trained = problem.model.train()(problem.x)
    gates = problem.gates
    drawn = gates.current().z
    assert torch.equal(gates.alive(drawn != 0), gates.alive(gates.rank() > 0.5))
    torch.testing.assert_close(problem.model.eval()(problem.x), trained, rtol=1e-13, atol=1e-13)
    z = gates.current().z
    assert torch.equal(z != 0, gates.open_mask()) and float(z.max()) > 1 and (z == 0).any()
    assert torch.equal(z != 0, gates.alive(gates.log_alpha > 0))  # a feature goes with its channel
    small = lzero.purge(problem.model, settle=False).model
    torch.testing.assert_close(small(problem.x), trained, rtol=1e-10, atol=1e-12)


def test_all_examples_have_the_same_gates():
    torch.manual_seed(0)
    x, found = torch.randn(7, 5), []
    for per_example in (False, True):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
        gates = lzero.attach_gates(model, x[:2], estimator=Deterministic(), per_example=per_example)
        with torch.no_grad():
            gates.log_alpha.copy_(torch.linspace(-1, 2, len(gates)))
        out = model(x)
        out.square().sum().backward()
        found.append((out.detach(), gates.log_alpha.grad))
    torch.testing.assert_close(found[0], found[1])


def test_a_closed_gate_gets_the_gradient_of_a_gate_at_zero_and_its_weights_get_none():
    problem = scattered(mlp, dtype=DOUBLE)
    gates, phi = problem.gates, problem.gates.log_alpha
    problem.backward()
    found, step = phi.grad.clone(), 1e-6
    z = phi.detach().clamp_min(0)
    for gate in range(len(gates)):
        ends = []
        for side in (step, -step):
            moved = z.clone()
            moved[gate] += side
            with gates.fixed(moved), torch.no_grad():
                ends.append(float(problem.loss()))
        assert float(found[gate]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-8)
    closed = (gates.split(phi.detach())["fc1"] <= 0).nonzero().flatten()
    assert len(closed) and found[gates.slices["fc1"]][closed].abs().min() > 0
    weight = problem.model.fc2.parametrizations.weight.original.grad
    assert not weight[:, closed].any() and weight.any()


def test_a_gate_that_the_loss_wants_opens_again():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    gates = lzero.attach_gates(model, torch.ones(1, 2), estimator=Deterministic(), rescale=False)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([1.0, -0.5]))
    optimizer = torch.optim.SGD([gates.log_alpha], lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        (model(torch.ones(1, 2)) - 7.0).square().sum().backward()  # 1 + 3 (z_0 + z_1)
        optimizer.step()
    assert float(gates.log_alpha.detach()[1]) > 0 and float(gates.log_alpha.detach().sum()) == pytest.approx(2, abs=0.6)


def test_a_gate_that_settling_opens_against_its_training_has_the_last_centre():
    problem = scattered(mlp)
    gates = problem.gates
    z = gates.evaluate(torch.ones(len(gates), dtype=torch.bool))
    expected = torch.where(gates.log_alpha.detach() > 0, gates.log_alpha.detach(), 0.1)
    assert torch.equal(z, expected) and torch.equal(gates.means(), expected)
    gates.hold(torch.ones(len(gates), dtype=torch.bool))
    assert gates.open_mask().all()


def wide():
    torch.manual_seed(0)
    model = nn.Sequential()
    model.a, model.b = nn.Linear(3, 6), nn.Linear(6, 1)
    column = torch.arange(6)[:, None]
    group = units("a", 6, ["a.weight"], ["a.bias"], {"b.weight": column})
    return model, plan_of(model, [group], {"a.weight": 1, "b.weight": 1}, torch.randn(4, 3))


@pytest.mark.parametrize("options", [{}, {"schedule": "fixed"}])
def test_the_solver_pulls_by_the_count_of_its_step_and_its_multiplier_answers_to_what_is_not_zero(options):
    problem = Problem(wide, estimator=Deterministic(), dtype=DOUBLE)
    gates, kept = problem.gates, problem.kept
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([-0.5, -0.01, 0.02, 0.15, 0.4, 1.2], dtype=DOUBLE))
    solver = lzero.Solver(
        gates, 0.4, anneal_steps=4, optimizer=kept, scale=False, dual_lr=0.5, restarts=False, **options
    )
    cost = Cost(gates, "params")
    for step in range(6):
        set_multipliers(solver, [2.0])
        row = solver.metrics()
        pull, _ = problem.pull(solver)
        counted = Deterministic().at(min(step / 4, 1.0))
        leaf = gates.log_alpha.detach().requires_grad_()
        (expected,) = torch.autograd.grad(2 * cost.expected(counted.probability(leaf)).sum(), leaf)
        torch.testing.assert_close(pull, expected, rtol=1e-9, atol=1e-12)
        assert row["expected"] == pytest.approx(float(cost.fraction(counted.probability(leaf.detach()))))
        assert row["deployed"] == pytest.approx(float(cost.fraction(gates.log_alpha.detach() > 0)))
        risen = float(solver._dual.value.detach()) - 2.0
        assert risen == pytest.approx(0.5 * (row["deployed"] - row["annealed_target"]))


def test_a_penalty_moves_the_centre_over_the_first_half_where_it_knows_the_length():
    for total, expected in ((8, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]), (None, [1.0] * 6)):
        problem = Problem(wide, estimator=Deterministic())
        penalty = lzero.Penalty(problem.gates, 0.1, total_steps=total)
        found = []
        for _ in range(6):
            found.append(penalty._estimator.progress)
            problem.train(penalty, 1)
        assert found == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": 0.0}, r"Deterministic: first: expected a number > 0, found 0"),
        ({"last": 0.6}, r"Deterministic: last: expected a number in \(0, 0.5\], found 0.6"),
        ({"last": 0.0}, r"Deterministic: last: expected a number in \(0, 0.5\], found 0"),
        ({"progress": 1.5}, r"Deterministic: progress: expected a share in \[0, 1\], found 1.5"),
        ({"first": "0.5"}, r"Deterministic: first: expected a number > 0, found"),
        ({"count": "linear"}, r"Deterministic: count: expected one of 'rational', 'logistic', found 'linear'"),
    ],
)
def test_other_values_are_refused(options, message):
    with pytest.raises(StructureError, match=message):
        Deterministic(**options)


@pytest.mark.parametrize("wrong", [0, 1, -0.1, "0.5", None, True])
def test_open_probabilities_out_of_range_are_refused(wrong):
    with pytest.raises(StructureError, match=r"open_probability: expected a number in \(0, 1\), found"):
        Deterministic().initial(wrong)
