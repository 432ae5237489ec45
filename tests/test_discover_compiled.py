"""Compiled and low-precision models: the same groups, the same gradients, an exact purge."""

import pytest
import torch
from torch import nn

import lzero


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    )


INPUTS = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_gated_model_compiles_to_the_same_outputs_and_gradients(backend):
    model = network()
    gates = lzero.attach_gates(model, INPUTS, open_probability=0.7)
    found = []
    for forward in (model, torch.compile(model, backend=backend)):
        torch.manual_seed(1)
        loss = forward(INPUTS).square().mean()
        gates.log_alpha.grad = None
        loss.backward()
        found.append((loss.detach(), gates.log_alpha.grad))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-6)
    assert found[0][1].abs().max() > 0
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-5, atol=1e-9)
    torch.manual_seed(2)
    assert not torch.equal(torch.compile(model, backend=backend)(INPUTS).square().mean(), found[1][0])  # a new draw


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_part_of_a_model_is_gated_and_purged(in_place):
    model = network()
    if in_place:
        model[3].compile(backend="eager")
    else:
        model[3] = torch.compile(nn.Sequential(model[3]), backend="eager")
    assert [group.size for group in lzero.discover(model, INPUTS)] == [8, 6]
    gates = lzero.attach_gates(model, INPUTS)
    with torch.no_grad():
        gates.log_alpha[::3] = -9.0
    small = lzero.purge(model).model.eval()
    assert torch.allclose(small(INPUTS), model.eval()(INPUTS), atol=1e-5)


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # so short a training
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_low_precision_model_trains_to_its_budget_and_is_purged_in_its_own_dtype(dtype):
    model = network().to(dtype)
    gates = lzero.attach_gates(model, INPUTS.to(dtype))
    solver = lzero.Solver(gates, 0.5, total_steps=20)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        model(INPUTS.to(dtype)).float().square().mean().backward()
        solver.step()
        optimizer.step()
    result = lzero.purge(model)
    assert {p.dtype for p in result.model.parameters()} == {dtype}
    assert 0 <= 0.5 - result.certificate.deployed["params"] < 0.2


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_training_moves_the_gates_as_the_plain_one(backend):
    found = []
    for wrap in (lambda model: model, lambda model: torch.compile(model, backend=backend)):
        model = network()
        gates = lzero.attach_gates(model, INPUTS, open_probability=0.7)
        solver = lzero.Solver(gates, 0.5, total_steps=10)
        forward, optimizer = wrap(model), torch.optim.SGD(model.parameters(), lr=1e-2)
        for step in range(5):
            torch.manual_seed(step)
            optimizer.zero_grad()
            forward(INPUTS).square().mean().backward()
            solver.step()
            optimizer.step()
        found.append((gates.log_alpha.detach().clone(), solver.multipliers))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    assert found[0][1] == pytest.approx(found[1][1])
