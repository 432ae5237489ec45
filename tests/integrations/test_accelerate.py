"""One call and one line in a loop of accelerate: the same results as by hand, and its own files resume to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

accelerate = pytest.importorskip("accelerate")

from integrations.launch import launch  # noqa: E402

import lzero  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*settling, and not the training")]

STEPS = 60


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))


def batches(size):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(STEPS * size, 8, generator=generator)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=size)


@pytest.fixture(autouse=True)
def fresh_accelerator():
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


def begin(target=0.3, accumulate=1, scaler=None, **options):
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulate, **options)
    accelerator.scaler = scaler
    model = network()
    solver = lzero.integrations.accelerate.budget(
        accelerator, model, target, example_inputs=torch.zeros(1, 8), total_steps=STEPS
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model, optimizer, loader = accelerator.prepare(model, optimizer, batches(32 // accumulate))
    return accelerator, model, optimizer, loader, solver


def train(run, first=0, save=None):
    accelerator, model, optimizer, loader, solver = run
    for number, (x, y) in enumerate(loader):
        if number < first:
            continue
        at = None if save is None else save[0]
        if number in (first, at):  # the loader itself draws a number when it begins
            torch.manual_seed(number)
        if number == at:
            accelerator.save_state(str(save[1]))
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.cross_entropy(model(x), y))
            solver.step()
            optimizer.step()
            optimizer.zero_grad()
    return solver


def equal(one, two):
    first, second = one.state_dict(), two.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_is_the_loop_by_hand():
    solver = train(begin())
    model = network()
    gates = lzero.attach_gates(model, torch.zeros(1, 8))
    by_hand = lzero.Solver(gates, 0.3, total_steps=STEPS)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for number, (x, y) in enumerate(batches(32)):
        if not number:
            torch.manual_seed(0)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        by_hand.step()
        optimizer.step()
    assert equal(solver.model, model) and solver.metrics() == by_hand.metrics()
    certificate = solver.purge().certificate
    assert 0 <= 0.3 - certificate.deployed["params"] < 60 / certificate.parameters_before


def test_it_steps_with_the_optimizer_only():
    run = begin(accumulate=4)
    accelerator, model, _, loader, solver = run
    x, y = next(iter(loader))
    with accelerator.accumulate(model):
        accelerator.backward(nn.functional.cross_entropy(model(x), y))
        assert solver.step() is None and solver.gates.log_alpha.grad is not None and solver.steps == 0
    run = begin(accumulate=4)
    assert train(run).steps == len(run[3]) // 4


def test_a_scaled_loss_leaves_no_trace():
    plain = train(begin())
    scaled = train(begin(scaler=torch.amp.GradScaler("cpu", init_scale=2.0**12)))
    assert equal(plain.model, scaled.model)


def test_mixed_precision_ends_in_a_plain_model():
    solver = train(begin(mixed_precision="bf16"))
    small = solver.purge().model
    assert "forward" not in vars(small) and small(torch.randn(2, 8)).dtype == torch.float32
    back = lzero.load_purged(network(seed=3), small.state_dict())
    x = torch.randn(4, 8)
    assert torch.equal(back(x), small(x))


@pytest.mark.parametrize("step", [20, 55], ids=["drawn", "settled"])
def test_its_own_files_resume_to_the_bit(step, tmp_path):
    whole = begin()
    train(whole, save=(step, tmp_path))
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    resumed = begin()
    resumed[0].load_state(str(tmp_path))
    train(resumed, first=step)
    assert equal(whole[-1].model, resumed[-1].model) and resumed[-1].steps == STEPS


def test_a_solver_of_the_users_own_and_what_is_wrong():
    accelerator = accelerate.Accelerator(cpu=True)
    more = {"example_inputs": torch.zeros(1, 8), "total_steps": STEPS}
    solver = lzero.integrations.accelerate.budget(
        accelerator, network(), solver=lambda gates, steps: lzero.Penalty(gates, 0.1), **more
    )
    assert type(solver.solver) is lzero.Penalty
    with pytest.raises(lzero.SolverError, match=r"expected an accelerate\.Accelerator, found 'cpu'"):
        lzero.integrations.accelerate.budget("cpu", network(), 0.3, **more)
    with pytest.raises(lzero.BudgetError, match="expected a density"):
        lzero.integrations.accelerate.budget(accelerator, network(), 3, **more)
    accumulating = begin(accumulate=4)[-1]
    with pytest.raises(lzero.SolverError, match=r"gates\.score\(loss\) after each"):
        accumulating.step(torch.zeros(()))


def test_two_processes_agree_and_resume_to_the_bit(tmp_path):
    said = launch("integrations.accelerate_processes", tmp_path)
    assert said.count("agrees") == 2 and said.count("resumes") == 2
