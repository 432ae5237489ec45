"""What a step costs: no waiting for the device, and few operations, however many groups there are."""

import pytest
import torch
from hand_tables import plain, table_of
from operations import Operations
from plans import column, lenet, mlp, plan_of, units
from solver.problem import Problem
from torch import nn

import lzero
from lzero.attach import attach_gates
from lzero.constraints import Constraint

MOST = 45


def counted(problem_step, backward, steps=3, warm=5):
    """The operations of each of a few steps, after the first ones."""
    found = []
    for step in range(warm + steps):
        backward()
        with Operations() as operations:
            problem_step()
        if step >= warm:
            found.append(operations)
    return found


class Chain(nn.Module):
    """Many small Linears in a row."""

    def __init__(self, depth, width=2):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


def chain(depth):
    model = Chain(depth)
    groups = [
        units(f"{n}", 2, [f"layers.{n}.weight"], [f"layers.{n}.bias"], {f"layers.{n + 1}.weight": column(2)})
        for n in range(depth - 1)
    ]
    positions = {f"layers.{n}.weight": 1 for n in range(depth)}
    return model, plan_of(model, groups, positions, torch.randn(3, 2))


@pytest.mark.parametrize("case", [lambda: mlp(input_gates=False), lambda: mlp((20, 30, 20, 4), input_gates=False)])
def test_a_step_with_one_budget_waits_for_nothing_and_takes_few_operations(case):
    problem = Problem(case)
    solver = lzero.Solver(problem.gates, 0.6, total_steps=1000)
    for ops in counted(solver.step, problem.backward, steps=40):
        assert ops.waits == []
        assert len(ops.names) <= MOST, ops.names


@pytest.mark.parametrize("depth", [4, 121])
def test_the_number_of_operations_does_not_depend_on_the_number_of_groups(depth):
    torch.manual_seed(0)
    model, plan = chain(depth)
    gates = attach_gates(model, plan)
    assert len(gates.sizes) == depth - 1
    solver = lzero.Solver(gates, 0.7, total_steps=1000)
    with torch.no_grad():
        gates["1"].fill_(-9.0)  # a group of which none is open

    def backward():
        model(plan.example_inputs).pow(2).sum().backward()

    found = counted(solver.step, backward)
    assert all(ops.waits == [] and len(ops.names) <= MOST for ops in found), found[0].names
    assert not bool((gates.probability()[gates.slices["1"]] > 0.5).any())
    assert int(gates.open_mask()[gates.slices["1"]].sum()) == 1


def latency(gates):
    return Constraint(0.7, "latency", table=table_of(gates.plan, plain))


SEVERAL = {
    "input gates": (lenet, lambda g: lzero.Solver(g, 0.6, total_steps=1000)),
    "several": (lenet, lambda g: lzero.Solver(g, constraints=[Constraint(0.9, each_layer=True)], total_steps=1000)),
    "latency": (lenet, lambda g: lzero.Solver(g, constraints=[latency(g), Constraint(0.9)], total_steps=1000)),
    "latency alone": (mlp, lambda g: lzero.Solver(g, constraints=[latency(g)], total_steps=1000)),
    "augmented": (mlp, lambda g: lzero.Solver(g, 0.6, total_steps=1000, augmentation=0.5)),
    "unscaled": (mlp, lambda g: lzero.Solver(g, 0.6, total_steps=1000, scale=False)),
    "penalty": (lenet, lambda g: lzero.Penalty(g, 0.1)),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_no_step_waits_for_the_device(name):
    case, build = SEVERAL[name]
    problem = Problem(case)
    trainer = build(problem.gates)
    for ops in counted(trainer.step, problem.backward, steps=30):
        assert ops.waits == []


def test_every_fiftieth_step_looks_once():
    problem = Problem()
    solver = lzero.Solver(problem.gates, 0.6, total_steps=1000)
    looks = [len(ops.waits) for ops in counted(solver.step, problem.backward, steps=101, warm=0)]
    assert [step for step, times in enumerate(looks, 1) if times] == [50, 100]
    assert max(looks) <= 2
