"""The closed form at a point: gradients and norms against autograd of the definition, for many parts at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from many_axes import many_axes
from plans import CASES, Truth, inputs_of, lenet, plan_of, reused

from lzero.attach import attach_gates
from lzero.cost import Cost, layers
from lzero.errors import SolverError
from lzero.gates.gates import Gates

DOUBLE = torch.float64


def both_sides():
    """The same units on rows and columns, with input gates on the columns as well."""
    model, plan = reused(3)
    return model, plan_of(model, [*plan.groups, inputs_of("square", 3)], plan.positions, plan.example_inputs)


PLANS = {**CASES, "both sides": both_sides, "wide lenet": lambda: lenet(3, 4, 5)}
BUILT = {}


def gates_of(name):
    if name not in BUILT:
        torch.manual_seed(0)
        BUILT[name] = attach_gates(*PLANS[name]())
    return BUILT[name]


def parts_of(gates):
    """Many parts with several measures: the whole, every layer, and one that depends on a few gates alone."""
    measures, parts = [], []
    for measure in ("params", "macs", "gates"):
        paths = ["", *layers(gates.plan, consumers=measure == "gates")]
        parts += [(path,) for path in paths]
        measures += [measure] * len(paths)
    return measures, parts


def written(gates, measures, parts, p):
    """The costs by the definition, differentiable in p: every element with the product of its gates."""
    truth, rows = Truth.of(gates.plan, gates), []
    owners = gates.owners
    alive = torch.where(owners >= 0, p * p[owners.clamp_min(0)], p)
    for measure, (path,) in zip(measures, parts, strict=True):
        total = p.new_zeros(())
        if measure == "gates":
            for group in gates.plan.groups:
                if any(not path or m.tensor.startswith(f"{path}.") for m in group.consumers):
                    total = total + alive[gates.slices[group.name]].sum()
                for gate, block in enumerate(group.blocks):
                    if not path or f"{block.path}.".startswith(f"{path}."):
                        total = total + alive[gates.slices[group.name].start + gate]
            rows.append(total)
            continue
        for name, needs in truth.needs.items():
            if path and not name.startswith(f"{path}."):
                continue
            uses = 1 if measure == "params" else truth.positions.get(name, 0)
            total = total + uses * torch.where(torch.from_numpy(needs), p, 1.0).prod(1).sum()
        rows.append(total)
    return torch.stack(rows)


def dense(gates, measures, parts, p):
    """The gradient of :func:`written`, [K, G]."""
    leaf = p.clone().requires_grad_()
    return torch.stack(
        [torch.autograd.grad(value, leaf, retain_graph=True)[0] for value in written(gates, measures, parts, leaf)]
    )


def random_p(gates, seed):
    """Probabilities, some of them exactly 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(len(gates), generator=generator, dtype=DOUBLE)
    ends = torch.rand(len(gates), generator=generator) < 0.2
    return torch.where(ends, p.round(), p)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", PLANS)
def test_values_and_gradients_of_many_parts_are_those_of_the_definition(name, seed):
    gates = gates_of(name)
    measures, parts = parts_of(gates)
    cost, p = Cost(gates, measures, parts), random_p(gates, seed)
    ones = torch.ones_like(p)
    point, slopes = cost.at(p), dense(gates, measures, parts, p)
    torch.testing.assert_close(point.value, written(gates, measures, parts, p), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(cost.total, written(gates, measures, parts, ones), rtol=1e-12, atol=1e-12)
    coefficients = torch.randn(len(parts), dtype=DOUBLE)
    torch.testing.assert_close(point.pull(coefficients), coefficients @ slopes, rtol=1e-11, atol=1e-11)
    for part in range(len(parts)):
        torch.testing.assert_close(cost.gradient(p, part), slopes[part], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", PLANS)
def test_norms_are_those_of_the_dense_gradient(name, seed):
    gates = gates_of(name)
    measures, parts = parts_of(gates)
    point = Cost(gates, measures, parts).at(random_p(gates, seed))
    slopes = dense(gates, measures, parts, point.p)
    weight = torch.randn(len(gates), dtype=DOUBLE)
    torch.testing.assert_close(point.norms(weight), (slopes * weight).norm(dim=1), rtol=1e-9, atol=1e-9)
    # what a part depends on, somewhere in the cube
    inside = dense(gates, measures, parts, 0.1 + 0.8 * torch.rand(len(gates), dtype=DOUBLE)) != 0
    torch.testing.assert_close(point.restricted_norms(weight), (inside * weight).norm(dim=1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
@pytest.mark.parametrize("name", PLANS)
def test_a_single_part_has_its_own_short_way(name, measure):
    gates = gates_of(name)
    cost, p = Cost(gates, measure), random_p(gates, 7)
    slopes = dense(gates, [measure], [("",)], p)
    torch.testing.assert_close(cost.at(p).row(), slopes[0], rtol=1e-11, atol=1e-11)
    everywhere = dense(gates, [measure], [("",)], torch.full_like(p, 0.4))[0] != 0
    assert not cost.everywhere or bool(everywhere.all())


@pytest.mark.parametrize("name", PLANS)
def test_what_is_deployed_is_counted_beside_the_expectation(name):
    gates = gates_of(name)
    measures, parts = parts_of(gates)
    for chosen, where in ((measures, parts), (["params"], [("",)])):
        cost = Cost(gates, chosen, where)
        for seed in range(4):
            with torch.no_grad():
                gates.log_alpha.copy_(torch.randn(len(gates), generator=torch.Generator().manual_seed(seed)) * 3 - 2)
            p = gates.probability().detach().double()
            point = cost.beside(p, gates)
            torch.testing.assert_close(point.value, cost.value(p), rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(point.deployed, cost.value(gates.open_mask()), rtol=0, atol=0)
            if len(where) == 1:
                torch.testing.assert_close(point.row(), cost.gradient(p, 0), rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        gates.log_alpha.fill_(0.0)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("name", PLANS)
def test_expected_is_differentiable_by_the_closed_form(name, dtype):
    gates = gates_of(name)
    measures, parts = parts_of(gates)
    cost = Cost(gates, measures, parts)
    p = random_p(gates, 3).to(dtype).requires_grad_()
    fractions, coefficients = cost.expected(p), torch.randn(len(parts), dtype=DOUBLE)
    assert fractions.dtype == DOUBLE
    torch.testing.assert_close(fractions.detach(), cost.fraction(p))
    (found,) = torch.autograd.grad(fractions @ coefficients, p)
    expected = (coefficients / cost.total) @ dense(gates, measures, parts, p.detach().double())
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected.to(dtype))


def test_expected_passes_gradcheck_in_log_alpha():
    gates = gates_of("wide lenet")
    cost = Cost(gates, "params", [("",), ("fc1",)])
    leaf = torch.randn(len(gates), dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: cost.expected(torch.sigmoid(a)), (leaf,))
    with pytest.raises(SolverError, match="the expected cost has no second derivative"):
        torch.autograd.grad(cost.expected(torch.sigmoid(leaf)).sum(), leaf, create_graph=True)


@st.composite
def situations(draw):
    name = draw(st.sampled_from(sorted(PLANS)))
    gates = gates_of(name)
    levels = st.sampled_from([0.0, 1.0, 0.5, 0.1, 0.93])
    p = torch.tensor(draw(st.lists(levels, min_size=len(gates), max_size=len(gates))), dtype=DOUBLE)
    weight = draw(st.lists(st.floats(-3, 3, allow_subnormal=False), min_size=len(gates), max_size=len(gates)))
    return gates, p, torch.tensor(weight, dtype=DOUBLE)


@settings(max_examples=40, deadline=None)
@given(situations())
def test_at_any_p_pulls_and_norms_are_those_of_the_definition(situation):
    gates, p, weight = situation
    measures, parts = parts_of(gates)
    point, slopes = Cost(gates, measures, parts).at(p), dense(gates, measures, parts, p)
    torch.testing.assert_close(point.value, written(gates, measures, parts, p), rtol=1e-12, atol=1e-12)
    coefficients = torch.arange(len(parts), dtype=DOUBLE) - 2
    torch.testing.assert_close(point.pull(coefficients), coefficients @ slopes, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(point.norms(weight), (slopes * weight).norm(dim=1), rtol=1e-7, atol=1e-7)


@settings(max_examples=80, deadline=None)
@given(many_axes(), st.integers(0, 1000))
def test_of_many_axes_values_pulls_and_norms_are_those_of_the_definition(plan, seed):
    gates, generator = Gates(plan), torch.Generator().manual_seed(seed)
    measures, parts = parts_of(gates)
    with torch.no_grad():
        gates.log_alpha.copy_(5 * torch.randn(len(gates), generator=generator))
    p, weight = gates.probability().detach().double(), torch.randn(len(gates), generator=generator, dtype=DOUBLE)
    for chosen, where in ((measures, parts), (["params"], [("",)])):
        cost = Cost(gates, chosen, where)
        point, slopes = cost.beside(p, gates), dense(gates, chosen, where, p)
        torch.testing.assert_close(point.value, written(gates, chosen, where, p), rtol=1e-12, atol=1e-12)
        assert torch.equal(point.deployed, written(gates, chosen, where, gates.open_mask().double()))
        coefficients = torch.arange(len(where), dtype=DOUBLE) + 1
        torch.testing.assert_close(point.pull(coefficients), coefficients @ slopes, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(point.norms(weight), (slopes * weight).norm(dim=1), rtol=1e-7, atol=1e-7)
        inside = dense(gates, chosen, where, 0.1 + 0.8 * torch.rand(len(gates), dtype=DOUBLE)) != 0
        torch.testing.assert_close(point.restricted_norms(weight), (inside * weight).norm(dim=1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(point.row(), slopes[0], rtol=1e-11, atol=1e-11)
    assert cost.everywhere <= bool(inside.all())
