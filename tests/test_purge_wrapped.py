"""Purging what a training really has in hand: averages, wrappers, checkpoints, other dtypes; and its order."""

import copy
import io

import pytest
import torch
from plans import CASES, Mlp, lenet, mlp
from purging import gated, solver_of
from solver.problem import Problem
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import lzero
from lzero.constraints import Constraint

STEPS = 300


def wide():
    return mlp((20, 30, 20, 3))


def trained(average_before=False, steps=STEPS, **options):
    """A problem, trained to 30 % of the parameters, with an average of it that was made before or after the Solver."""
    problem = Problem(wide)

    def average():
        return AveragedModel(problem.model, multi_avg_fn=get_ema_multi_avg_fn(0.9), **options)

    averaged = average() if average_before else None
    solver = lzero.Solver(problem.gates, 0.3, total_steps=steps)
    averaged = averaged or average()
    for _ in range(steps):
        problem.train(solver, 1)
        averaged.update_parameters(problem.model)
    return problem, averaged


@pytest.mark.parametrize("use_buffers", [False, True])
def test_an_average_made_after_the_solver_purges_to_its_budget(use_buffers, recwarn):
    problem, averaged = trained(use_buffers=use_buffers)
    result = lzero.purge(averaged)
    assert result.certificate.asked == {"params": 0.3}
    assert 0 <= 0.3 - result.certificate.deployed["params"] < 0.06
    assert not [w for w in recwarn if w.category is lzero.LzeroWarning], recwarn.list
    if not use_buffers:
        gates = lzero.gates_of(averaged)
        assert torch.equal(gates.log_alpha, problem.gates.log_alpha)
        own = lzero.purge(problem.model)
        assert all(torch.equal(own.kept[name], mask) for name, mask in result.kept.items())


def test_an_average_made_before_the_solver_says_that_it_has_no_budget():
    _, averaged = trained(average_before=True, steps=40)
    with pytest.warns(lzero.LzeroWarning, match="no budget was given"):
        assert lzero.purge(averaged).certificate.asked == {}
    result = lzero.purge(averaged, constraints=[Constraint(0.3)])
    assert 0 <= 0.3 - result.certificate.deployed["params"] < 0.06


def test_a_checkpoint_without_a_solver_purges_to_what_was_asked(recwarn):
    problem = Problem(wide)
    budgets = [Constraint(0.5, each_layer=True), Constraint(0.35, "macs")]
    problem.train(lzero.Solver(problem.gates, constraints=budgets, total_steps=STEPS), STEPS)
    file = io.BytesIO()
    torch.save(problem.model.state_dict(), file)
    file.seek(0)
    other = Problem(wide)
    other.model.load_state_dict(torch.load(file, weights_only=True))
    one, two = lzero.purge(problem.model), lzero.purge(other.model)
    assert one.certificate == two.certificate and len(one.certificate.asked) == 4
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
    assert not [w for w in recwarn if w.category is lzero.LzeroWarning]


def test_a_description_that_is_broken_is_an_error_of_lzero():
    problem = Problem()
    problem.train(lzero.Solver(problem.gates, 0.5, total_steps=5), 2)
    state = problem.model.state_dict()
    state["lzero.asked"] = torch.zeros(7, dtype=torch.uint8)
    other = Problem()
    other.model.load_state_dict(state)
    with pytest.raises(lzero.BudgetError, match="the saved description of the budgets cannot be read"):
        lzero.purge(other.model)
    with pytest.raises(lzero.SolverError, match="something unreadable"):
        lzero.Solver(other.gates, 0.5, total_steps=5)


def in_compile(model):
    return torch.compile(model, backend="eager")


def in_average(model):
    return AveragedModel(model)


def in_both(model):
    return AveragedModel(torch.compile(model, backend="eager"))


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize("wrap", [in_compile, in_average, in_both])
def test_a_wrapped_model_purges_to_the_plain_module_inside(wrap):
    model, gates, x = gated(lenet)
    solver_of(gates)
    plain, wrapped = lzero.purge(model), lzero.purge(wrap(model))
    assert type(wrapped.model) is type(model) and plain.certificate == wrapped.certificate
    assert torch.equal(plain.model(x), wrapped.model(x))


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_a_model_inside_distributed_data_parallel_trains_and_purges(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        one, two = Problem(wide), Problem(wide)
        parallel = DistributedDataParallel(two.model)
        assert not any(p is two.gates.log_alpha for p in parallel.parameters())
        for problem, forward in ((one, one.model), (two, parallel)):
            solver = lzero.Solver(problem.gates, 0.5, total_steps=20)
            for step in range(20):
                torch.manual_seed(step)
                problem.optimizer.zero_grad()
                (forward(problem.x) - problem.y).pow(2).mean().backward()
                solver.step()
                problem.optimizer.step()
        assert torch.equal(one.gates.log_alpha, two.gates.log_alpha)
        result = lzero.purge(parallel)
        assert type(result.model) is Mlp and result.certificate == lzero.purge(one.model).certificate
    finally:
        distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize("name", CASES)
def test_parameters_and_states_are_in_the_order_of_the_architecture(name):
    torch.manual_seed(0)
    plain = CASES[name]()[0]
    model, gates, _ = gated(CASES[name])
    solver_of(gates)
    small = lzero.purge(model).model
    assert [n for n, _ in small.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert list(small.state_dict()) == list(plain.state_dict())


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_cast_after_attaching_is_purged_in_its_new_dtype(dtype):
    model, gates, x = gated(wide)
    solver_of(gates, 0.3)
    before = lzero.purge(model)
    model.to(dtype)
    assert gates.log_alpha.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    result = lzero.purge(model)
    assert {p.dtype for p in result.model.parameters()} == {dtype}
    assert all(torch.equal(before.kept[name], mask) for name, mask in result.kept.items())
    assert result.model(x.to(dtype)).dtype == dtype
    assert 0 <= 0.3 - result.certificate.deployed["params"] < 0.06


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_a_deep_copy_of_a_trained_model_purges_as_it_does():
    problem = Problem(wide)
    problem.train(lzero.Solver(problem.gates, 0.4, total_steps=30), 30)
    one, two = lzero.purge(problem.model), lzero.purge(copy.deepcopy(problem.model))
    assert one.certificate == two.certificate
    problem.train(lzero.Solver(problem.gates, 0.4, total_steps=30), 1)  # and the original goes on


def test_modules_that_hold_a_gated_one_are_told_which_to_purge():
    model, _, _ = gated(mlp)
    outer = nn.ModuleDict({"inner": model})
    with pytest.raises(lzero.StructureError, match=r"part of it, 'inner'; purge that: lzero\.purge\(model\.inner\)"):
        lzero.purge(outer)
