"""What a user passes to a trainer: gates and a scaler, and nothing that only looks like them."""

import math

import pytest
import torch
from plans import mlp
from solver.problem import Kept, Problem

import lzero
from lzero.constraints import Constraint
from lzero.errors import SolverError
from lzero.solver import Elbo
from lzero.solver.arguments import checked_gates, scale_of

TRAINERS = {
    "solver": lambda gates: lzero.Solver(gates, 0.4, total_steps=40),
    "penalty": lambda gates: lzero.Penalty(gates, 0.1),
    "elbo": lambda gates: Elbo(gates, 10),
}
FOREIGN = [None, 3, 2.5, "gates", [1], {}, object(), torch.zeros(3), Constraint(0.5), Kept]


def test_gates_are_returned_as_they_are():
    gates = Problem(mlp).gates
    assert checked_gates("Solver", gates) is gates


@pytest.mark.parametrize("wrong", FOREIGN, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", TRAINERS)
def test_something_that_is_no_gates_is_refused(name, wrong):
    message = r"expected the Gates that lzero\.attach_gates returned, found"
    with pytest.raises(SolverError, match=message):
        TRAINERS[name](wrong)
    with pytest.raises(SolverError, match=message):
        TRAINERS[name](Problem().model)


def test_the_refusal_names_who_asks_and_what_was_found():
    message = r"^Elbo: expected the Gates that lzero\.attach_gates returned, found 'gates'$"
    with pytest.raises(SolverError, match=message):
        checked_gates("Elbo", "gates")


class Scaled:
    """What looks like a GradScaler, of another library."""

    def get_scale(self):
        return torch.tensor(8.0)


def test_the_scale_is_a_float_of_whatever_has_one():
    assert scale_of(torch.amp.GradScaler("cpu", init_scale=512.0)) == 512.0
    found = scale_of(Scaled())
    assert type(found) is float and found == 8.0
    assert scale_of(torch.amp.GradScaler("cpu", enabled=False)) == 1.0


@pytest.mark.parametrize("wrong", [None, 1024.0, math.nan, "scaler", True, object(), type("S", (), {"get_scale": 3})()])
def test_what_has_no_scale_is_refused(wrong):
    with pytest.raises(SolverError, match=r"^scaler: expected a torch\.amp\.GradScaler, found "):
        scale_of(wrong)


@pytest.mark.parametrize("wrong", [1024.0, "scaler", True])
def test_something_that_is_no_scaler_is_refused(wrong):
    problem = Problem()
    trainer = TRAINERS["solver"](problem.gates)
    problem.backward()
    with pytest.raises(SolverError, match=r"scaler: expected a torch\.amp\.GradScaler, found"):
        trainer.step(scaler=wrong)
    assert problem.gates.log_alpha.grad is not None and trainer.steps == 0
