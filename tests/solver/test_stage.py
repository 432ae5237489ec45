"""A stage: a Solver but for where its target begins, and for what it keeps of the whole descent."""

import pytest
import torch
from plans import lenet, mlp
from solver.problem import Problem, equal

import lzero
from lzero.constraints import Constraint
from lzero.errors import SolverError
from lzero.solver.stage import DescentStage

COURSE, OTHER = torch.tensor([1, 2], dtype=torch.uint8), torch.tensor([1, 3], dtype=torch.uint8)


HALF = (Constraint(0.5),)


def stage(problem, constraints=HALF, starts=(1.0,), course=COURSE, **options):
    starts = torch.tensor(starts, dtype=torch.float64)
    return DescentStage(problem.gates, constraints, starts, course, **{"total_steps": 20, **options})


def test_from_one_it_is_a_solver_to_the_bit():
    one, two = Problem(mlp), Problem(mlp)
    torch.manual_seed(1)
    one.train(stage(one), 20)
    torch.manual_seed(1)
    two.train(lzero.Solver(two.gates, 0.5, total_steps=20), 20)
    assert equal(one.state(), two.state()) and torch.equal(one.gates.held, two.gates.held)


def test_targets_fall_from_their_starts_by_the_cube():
    problem = Problem(lenet)
    trainer = stage(problem, [Constraint(0.5), Constraint(0.8, "macs")], (0.7, 0.8))
    found = []
    for _ in range(12):
        row = trainer.metrics()
        found.append([row["params:annealed_target"], row["macs:annealed_target"]])
        problem.train(trainer, 1)
    expected = [[0.5 + 0.2 * (1 - min(t / 10, 1)) ** 3, 0.8] for t in range(12)]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected))


def test_it_goes_on_in_its_own_course_alone():
    problem = Problem(mlp)
    problem.train(stage(problem), 3)
    assert torch.equal(problem.model.state_dict()["lzero.course"], COURSE)
    assert stage(problem).steps == 3
    with pytest.raises(SolverError, match="trained by a descent to other targets, or of another length; build it"):
        stage(problem, course=OTHER)
    with pytest.raises(SolverError, match="trained for 3 steps by a DescentStage"):
        lzero.Solver(problem.gates, 0.5, total_steps=20)
    assert stage(problem, course=OTHER, fresh=True).steps == 0


def test_a_solvers_training_is_none_of_a_stage():
    problem = Problem(mlp)
    problem.train(lzero.Solver(problem.gates, 0.5, total_steps=20), 3)
    with pytest.raises(SolverError, match="trained for 3 steps by a Solver"):
        stage(problem)


def test_it_follows_its_gates_to_another_dtype():
    problem = Problem(mlp)
    trainer = stage(problem)
    problem.train(trainer, 2)
    problem.model.double()
    problem.x, problem.y = problem.x.double(), problem.y.double()
    problem.optimizer = torch.optim.SGD(problem.model.parameters(), 0.01)
    problem.train(trainer, 2)
    assert trainer.steps == 4 and trainer._starts.device == problem.gates.log_alpha.device
