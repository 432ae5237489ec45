"""What a callback is asked for: checked when it is built, and made into gates and a solver when there is a model."""

import pytest
import torch
from torch import nn

import lzero
from lzero.errors import BudgetError, SolverError, StructureError
from lzero.integrations.request import Request, prefixed


def network():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, BudgetError, "give either target_density or constraints"),
        ({"target_density": 1.5}, BudgetError, "expected a density"),
        ({"target_density": 0.1, "constraints": [lzero.Constraint(0.1)]}, BudgetError, "give either"),
        (
            {"target_density": 0.1, "solver": lambda gates, steps: None},
            SolverError,
            "solver= brings a budget of its own",
        ),
        ({"solver": 3}, SolverError, "expected a function of gates and a number of steps"),
    ],
)
def test_what_is_malformed_is_refused_before_there_is_a_model(arguments, error, message):
    with pytest.raises(error, match=message):
        Request(**arguments)


def test_gates_are_attached_once():
    model, request = network(), Request(0.5)
    gates = request.attach(model, torch.rand(2, 8))
    assert request.attach(model) is gates and lzero.gates_of(model) is gates


def test_the_users_own_inputs_and_length_come_first():
    request = Request(0.5, example_inputs=torch.rand(3, 8), total_steps=700)
    gates = request.attach(network(), torch.rand(2, 7))
    assert gates.plan.example_inputs.shape == (3, 8)
    assert lzero.integrations.request.Request is Request
    solver = request.start(gates, 900)
    assert solver._times.total == 700 and solver.target_density == 0.5


def test_what_is_missing_is_named():
    with pytest.raises(StructureError, match=r"Sequential: no inputs .* Budget\(\.\.\., example_inputs=\.\.\.\)"):
        Request(0.5).attach(network())
    gates = Request(0.5).attach(network(), torch.rand(2, 8))
    with pytest.raises(SolverError, match=r"Budget\(\.\.\., total_steps=\.\.\.\)"):
        Request(0.5).start(gates)


def test_a_solver_of_the_users_own():
    request = Request(solver=lambda gates, steps: lzero.Penalty(gates, 0.1 * steps))
    gates = request.attach(network(), torch.rand(2, 8))
    assert isinstance(request.start(gates, 1000), lzero.Penalty)
    with pytest.raises(SolverError, match="expected it to return a Solver or a baseline, found None"):
        Request(solver=lambda gates, steps: None).start(gates, 1000)


def test_a_row_for_a_logger():
    gates = Request(0.5).attach(network(), torch.rand(2, 8))
    row = prefixed(Request(0.5).start(gates, 1000))
    assert row["lzero/deployed"] == 1.0 and row["lzero/target"] == 0.5 and all(name[:6] == "lzero/" for name in row)


def test_widths_are_rounded_and_counted_so_before_anything_changes():
    with pytest.raises(StructureError, match="round_to: expected a whole number"):
        Request(0.5, round_to=0)
    model = network()
    with pytest.raises(BudgetError, match=r"one step \(round_to=16"):
        Request(0.5, round_to=16).attach(model, torch.rand(2, 8))
    with pytest.raises(StructureError, match=r"no gated weights at '1'; there are some at 0, 2"):
        Request(0.5, round_to={"1": 8}).attach(model, torch.rand(2, 8))
    assert lzero.gates_of(model) is None
    gates = Request(0.6, round_to=8).attach(model, torch.rand(2, 8))
    assert gates.plan.round_to == 8 and int(gates.floor().sum()) == 8
    plan = lzero.discover(network(), torch.rand(2, 8))
    assert Request(0.5, example_inputs=plan, round_to=4).attach(network()).plan.round_to == 4
    own = Request(solver=lambda gates, steps: lzero.Penalty(gates, 0.1), round_to={"": 1, "0": 5})
    assert own.attach(network(), torch.rand(2, 8)).plan.round_to == {"0": 5}
