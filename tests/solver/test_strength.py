"""How strongly constraints pull: against the norm of the cost's gradient."""

import pytest
import torch
from plans import mlp

from lzero.cost import Cost
from lzero.gates.gates import Gates
from lzero.solver.strength import per_gate, strength


@pytest.fixture
def gates():
    _, plan = mlp()
    gates = Gates(plan)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.linspace(-2, 2, len(gates)))
    return gates


@pytest.mark.parametrize("known", [True, False])
def test_it_is_the_norm_of_the_slope_of_the_cost(gates, known):
    cost = Cost(gates, "params")
    p, dp = gates.estimator.probability_with_slope(gates.log_alpha)
    slope = cost.gradient(p.double(), 0) * dp  # tested against autograd where it is
    found = strength(cost.at(p), dp, slope if known else None)
    assert found.reshape(-1).tolist() == pytest.approx([float(slope.norm())], rel=1e-6)


def test_gates_that_cannot_move_have_a_strength_above_zero(gates):
    p, dp = gates.estimator.probability_with_slope(gates.log_alpha)
    assert float(strength(Cost(gates, "params").at(p), 0 * dp)) > 0


def test_the_parameters_of_a_gate_count_as_one():
    assert torch.equal(per_gate(torch.tensor([3.0, 4.0])), torch.tensor([3.0, 4.0]))
    assert torch.equal(per_gate(torch.tensor([[3.0], [4.0]])), torch.tensor([5.0]))
