"""What is common to the solvers of loops: the model stays the plain one, and is purged by its own budget."""

import pytest
import torch
from torch import nn

import lzero
from lzero.errors import BudgetError
from lzero.integrations.loop_solver import LoopSolver
from lzero.integrations.request import Request


def network():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_it_attaches_counts_and_purges_the_model_that_it_was_given():
    model = network()
    loop = LoopSolver(model, Request(0.5, example_inputs=torch.rand(2, 8), total_steps=900))
    assert loop.model is model and lzero.gates_of(model) is loop.gates is loop.solver.gates
    model(torch.rand(4, 8)).sum().backward()
    loop.solver.step()
    assert loop.steps == 1 and loop.metrics() == loop.solver.metrics()
    result = loop.purge(verify=False)
    assert result.certificate.deployed["params"] <= 0.5 and result.certificate.largest_difference is None


def test_a_model_that_cannot_meet_its_budget_is_left_without_gates():
    model = network()
    with pytest.raises(BudgetError):
        LoopSolver(model, Request(0.001, example_inputs=torch.rand(2, 8), total_steps=900))
    assert lzero.gates_of(model) is None and type(model[2]) is nn.Linear
