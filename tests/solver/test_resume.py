"""A hundred steps and a hundred more are two hundred to the bit, from the state dicts of model and optimizer alone."""

import io

import pytest
import torch
from plans import lenet, mlp
from solver.duals import DUALS
from solver.problem import Problem, equal

import lzero
from lzero.baselines.magnitude import Magnitude
from lzero.constraints import Constraint
from lzero.gates import AR, ARM, HardConcrete, LogNormal, Mask, StraightThrough
from lzero.solver import Elbo

HALF = 100
QUICK = 30  # of the cases that differ in one option alone
BUDGETS = [Constraint(0.6), Constraint(0.9, "macs", each_layer=True)]


def solver(problem, **options):
    return lzero.Solver(problem.gates, 0.5, **{"total_steps": 2 * getattr(problem, "half", HALF), **options})


def several(problem, **options):
    return lzero.Solver(problem.gates, constraints=BUDGETS, total_steps=2 * problem.half, **options)


def with_adam(problem):
    return solver(problem, optimizer=torch.optim.Adam([problem.gates.log_alpha], lr=0.03, amsgrad=True))


def with_sgd(problem):
    return solver(problem, optimizer=torch.optim.SGD([problem.gates.log_alpha], lr=0.3, momentum=0.9))


def magnitude(problem):
    return Magnitude(problem.gates, 0.5, model=problem.model, total_steps=2 * problem.half, every=7)


CASES = {
    "hard concrete": (lenet, None, solver),
    "straight through": (mlp, StraightThrough(), solver),
    "AR": (mlp, AR(), solver),
    "ARM": (mlp, ARM(), solver),
    "log-normal": (mlp, LogNormal(), solver),
    "mask": (mlp, Mask(), magnitude),
    **{f"dual {name}": (mlp, None, lambda p, o=o: solver(p, dual_lr=0.05, **o)) for name, (_, o) in DUALS.items()},
    "augmented": (mlp, None, lambda p: solver(p, augmentation=0.5)),
    "several": (lenet, None, several),
    "unscaled": (mlp, HardConcrete(evaluate="median"), lambda p: solver(p, scale=False, schedule="fixed")),
    "finetune": (lenet, None, lambda p: solver(p, finetune=0.25)),
    "finetune from the middle": (mlp, None, lambda p: solver(p, finetune=0.5)),
    "held from before": (mlp, None, lambda p: solver(p, finetune=0.7)),
    "own adam": (mlp, None, with_adam),
    "own sgd": (mlp, None, with_sgd),
    "penalty": (mlp, None, lambda p: lzero.Penalty(p.gates, {"fc1": 0.01, "fc2": 0.03})),
    "elbo": (mlp, LogNormal(), lambda p: Elbo(p.gates, 70, warm_up_steps=40)),
}


def by_torch(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def by_safetensors(state):
    """Of a safetensors file: tensors of no shared memory, and nothing else."""
    library = pytest.importorskip("safetensors.torch", reason="needs safetensors, which the venv lacks")
    return library.load(library.save({name: tensor.contiguous() for name, tensor in state.items()}))


def fresh(name):
    make, estimator, _ = CASES[name]
    problem = Problem(make, estimator=estimator)
    problem.half = HALF if name in ("hard concrete", "ARM", "log-normal", "finetune") else QUICK
    return problem


@pytest.mark.parametrize(
    ("way", "early"),
    [(by_torch, False), (by_torch, True), (by_safetensors, False)],
    ids=["late", "early", "safetensors"],
)
@pytest.mark.parametrize("name", CASES)
def test_half_and_half_are_the_whole(name, way, early):
    build, whole = CASES[name][2], fresh(name)
    first, half = build(whole), whole.half
    torch.manual_seed(1)
    whole.train(first, half)
    saved = {"model": way(whole.model.state_dict()), "optimizer": by_torch(whole.optimizer.state_dict())}
    random = torch.get_rng_state()
    whole.train(first, half)

    resumed = fresh(name)
    if early:
        resumed.model.load_state_dict(saved["model"])
    second = build(resumed)
    if not early:
        resumed.model.load_state_dict(saved["model"])
    resumed.optimizer.load_state_dict(saved["optimizer"])
    if early:
        assert second.steps == half
    torch.set_rng_state(random)
    resumed.train(second, half)
    assert equal(whole.state(), resumed.state())
    assert first.metrics() == second.metrics() and first.steps == second.steps == 2 * half
    one, two = whole.model.state_dict(), resumed.model.state_dict()
    assert set(one) == set(two)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert (whole.gates.held is None) == (resumed.gates.held is None) == ("finetune" not in name and "held" not in name)


def test_the_states_keys_are_those_of_the_model_and_lzeros():
    problem = Problem()
    plain = list(problem.model.state_dict())
    seam = solver(problem)
    problem.train(seam, 3)
    state = problem.model.state_dict()
    added = [key for key in state if key not in plain]
    assert added and all(key.startswith("lzero.") for key in added)
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())
    assert {"lzero.asked", "lzero.steps", "lzero.skipped", "lzero.multipliers", "lzero.norms"} <= set(added)
    assert int(state["lzero.steps"][0]) == 3


def test_a_saved_state_is_a_copy_that_training_does_not_change():
    problem = Problem()
    seam = solver(problem)
    problem.train(seam, 5)
    state = problem.model.state_dict()
    before = {key: tensor.clone() for key, tensor in state.items() if key.startswith("lzero.")}
    problem.train(seam, 5)
    assert all(torch.equal(before[key], state[key]) for key in before)


def test_going_back_in_the_middle_of_a_training_is_the_same_training_again():
    problem = Problem()
    seam = solver(problem)
    torch.manual_seed(1)
    problem.train(seam, 20)
    saved, optimizer = by_torch(problem.model.state_dict()), by_torch(problem.optimizer.state_dict())
    random = torch.get_rng_state()
    problem.train(seam, 20)
    end = problem.state()
    problem.model.load_state_dict(saved)
    problem.optimizer.load_state_dict(optimizer)
    torch.set_rng_state(random)
    assert seam.steps == 40  # until it looks
    assert seam.metrics() and seam.steps == 20
    problem.train(seam, 20)
    assert equal(end, problem.state())


def test_loading_a_held_state_into_a_running_training_holds_and_an_earlier_one_releases():
    problem = Problem()
    seam = solver(problem, total_steps=20, finetune=0.5)
    problem.train(seam, 9)
    drawn = by_torch(problem.model.state_dict())
    problem.train(seam, 2)
    assert problem.gates.held is not None
    held = by_torch(problem.model.state_dict())
    problem.model.load_state_dict(drawn)
    assert problem.gates.held is None
    problem.model.load_state_dict(held)
    assert torch.equal(problem.gates.held, held["lzero.held"])


@pytest.mark.parametrize("change", [{"total_steps": 300}, {"finetune": 0.1}, {"measure": "macs"}, {"anneal_steps": 3}])
def test_another_training_on_trained_gates_is_refused_unless_fresh(change):
    problem = Problem()
    problem.train(solver(problem), 7)
    message = r"Solver: these gates have been trained for 7 steps by a Solver \(0\.5 of the params, .*; this one is a"
    with pytest.raises(lzero.SolverError, match=f"{message} Solver .* pass fresh=True to begin another"):
        solver(problem, **change)
    log_alpha = problem.gates.log_alpha.detach().clone()
    second = solver(problem, fresh=True, **change)
    assert second.steps == 0 and torch.equal(problem.gates.log_alpha, log_alpha)
    assert set(second.multipliers.values()) == {0.0}
    problem.train(second, 3)


def test_another_kind_of_seam_is_refused_unless_fresh():
    problem = Problem()
    problem.train(solver(problem), 2)
    with pytest.raises(lzero.SolverError, match=r"Penalty: .* 2 steps by a Solver .*; this one is a Penalty \(coeff"):
        lzero.Penalty(problem.gates, 0.1)
    penalty = lzero.Penalty(problem.gates, 0.1, fresh=True)
    problem.train(penalty, 2)
    with pytest.raises(lzero.SolverError, match=r"Solver: .* 2 steps by a Penalty"):
        solver(problem)


def test_the_same_training_goes_on_in_a_second_solver():
    whole, parts = Problem(), Problem()
    torch.manual_seed(2)
    whole.train(solver(whole), 30)
    torch.manual_seed(2)
    parts.train(solver(parts), 10)
    second = solver(parts)
    assert second.steps == 10
    parts.train(second, 20)
    assert equal(whole.state(), parts.state())


def test_gates_that_no_step_has_moved_take_any_solver():
    problem = Problem()
    solver(problem)
    other = lzero.Solver(problem.gates, 0.7, measure="macs", anneal_steps=3)
    problem.train(other, 1)


def test_a_state_of_other_budgets_is_refused_by_a_running_solver_and_changes_nothing_of_it():
    one, two = Problem(), Problem()
    one.train(solver(one), 5)
    running = solver(two, total_steps=70)
    two.train(running, 3)
    with pytest.raises(lzero.SolverError, match=r"the saved gates were trained for .*, these are trained for"):
        two.model.load_state_dict(one.model.state_dict())
    assert running.steps == 3
    two.train(running, 1)


def test_the_hold_is_what_the_training_ships(recwarn):
    problem = Problem(lambda: mlp((20, 30, 20, 3)))
    seam = lzero.Solver(problem.gates, 0.3, total_steps=200, finetune=0.25)
    problem.train(seam, 150)
    assert problem.gates.held is not None
    held, log_alpha = problem.gates.held.clone(), problem.gates.log_alpha.detach().clone()
    problem.train(seam, 50)
    assert torch.equal(problem.gates.log_alpha, log_alpha) and torch.equal(problem.gates.held, held)
    assert torch.equal(problem.model(problem.x), problem.model(problem.x))  # no noise in train mode
    assert torch.equal(problem.model(problem.x), problem.model.eval()(problem.x))
    result = lzero.purge(problem.model)
    kept = torch.cat([result.kept[name] for name in problem.gates.slices])
    assert torch.equal(kept, held != 0)
    torch.testing.assert_close(result.model.eval()(problem.x), problem.model(problem.x), rtol=1e-5, atol=1e-6)
    assert 0 <= 0.3 - result.certificate.deployed["params"] < 0.06
