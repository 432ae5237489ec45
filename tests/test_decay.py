"""The expected L2 norm against enumeration and hand-written sums."""

import numpy as np
import pytest
import torch
from plans import CASES, Truth, lenet, mlp, tied
from torch import nn

import lzero
from lzero.attach import attach_gates
from lzero.decay import expected_l2
from lzero.errors import StructureError
from lzero.gates import ARM


def raw(model):
    """Parameters without gates by their plain names, the gates' own left out."""
    return {
        name.replace("parametrizations.", "").replace(".original", ""): parameter
        for name, parameter in model.named_parameters()
        if not name.endswith("log_alpha")
    }


def gated(case, **options):
    torch.manual_seed(0)
    model, plan = case()
    gates = attach_gates(model, plan, **options)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.randn(gates.log_alpha.shape))
    return model.double(), gates


def test_it_is_the_hand_written_sum_of_an_mlp():
    model, gates = gated(mlp)
    w, p = raw(model), gates.split(gates.probability().detach())
    expected = (w["fc1.weight"] ** 2 * p["fc1.input"]).sum()
    expected += (w["fc2.weight"] ** 2 * p["fc1"]).sum() + (w["fc3.weight"] ** 2 * p["fc2"]).sum()
    expected += sum((w[f"fc{i}.bias"] ** 2).sum() for i in (1, 2, 3))
    assert torch.allclose(expected_l2(model), expected / 2, rtol=1e-12)


def test_two_gates_on_one_position_multiply():
    model, gates = gated(lenet)
    w, p = raw(model), gates.split(gates.probability().detach())
    features = p["conv2"].repeat_interleave(4) * p["fc1.input"]
    expected = (w["fc1.weight"] ** 2 * features).sum() + (w["fc2.weight"] ** 2 * p["fc1"]).sum()
    expected += (w["conv2.weight"] ** 2 * p["conv1"][:, None, None]).sum() + (w["conv1.weight"] ** 2).sum()
    expected += sum((w[f"{n}.bias"] ** 2).sum() for n in ("conv1", "conv2", "fc1", "fc2"))
    assert torch.allclose(expected_l2(model), expected / 2, rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_mean_over_binary_gates(case):
    model, gates = gated(CASES[case])
    consumers = {(m.tensor, m.dim) for group in gates.plan.groups for m in group.consumers}
    needs = Truth.of(gates.plan, gates).needs
    p = gates.probability().detach().numpy()
    total = 0.0
    for name, parameter in raw(model).items():
        table = needs[name].copy()  # [elements, G]: rows that only make a unit do not count
        reading = np.zeros_like(table)
        for group in gates.plan.groups:
            start = gates.slices[group.name].start
            for member in group.consumers:
                if member.tensor == name:
                    shaped = reading.reshape(*parameter.shape, len(gates))
                    for gate, where in enumerate(member.index.tolist()):
                        if member.dim < 0:
                            reading[where, start + gate] = True
                        else:
                            np.moveaxis(shaped, member.dim, 0)[where, ..., start + gate] = True
        assert (reading <= table).all() and (reading.any() or (name, 1) not in consumers)
        chance = np.where(reading, p, 1.0).prod(1)
        total += float((parameter.detach().numpy().reshape(-1) ** 2 * chance).sum())
    assert float(expected_l2(model).detach()) == pytest.approx(total / 2, rel=1e-9)


def test_only_weights_get_a_gradient_and_it_is_p_w():
    model, gates = gated(mlp)
    gates.log_alpha.grad = None
    expected_l2(model).backward()
    assert gates.log_alpha.grad is None
    w, p = raw(model), gates.split(gates.probability().detach())
    assert torch.allclose(w["fc2.weight"].grad, w["fc2.weight"] * p["fc1"])
    assert torch.allclose(w["fc2.bias"].grad, w["fc2.bias"])


def test_a_tied_weight_counts_once():
    model, gates = gated(tied)
    w, p = raw(model), gates.probability().detach()
    assert "two.weight" not in w
    expected = (w["one.weight"] ** 2 * p).sum() + (w["last.weight"] ** 2 * p).sum() + (w["first.weight"] ** 2).sum()
    expected += sum((b**2).sum() for name, b in w.items() if name.endswith("bias"))
    assert torch.allclose(expected_l2(model), expected / 2, rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"per_example": True}, {"estimator": ARM()}], ids=["shared", "each", "arm"])
@pytest.mark.parametrize("training", [True, False])
def test_it_draws_nothing_and_needs_no_forward(options, training):
    model, _ = gated(mlp, **options)
    model.train(training)
    random, before = torch.get_rng_state(), float(expected_l2(model).detach())
    assert torch.equal(random, torch.get_rng_state())
    model(torch.randn(3, 5).double())
    assert float(expected_l2(model).detach()) == before


def test_it_trains_beside_the_solver():
    torch.manual_seed(0)
    model, plan = mlp()
    solver = lzero.Solver(attach_gates(model, plan), 0.5, total_steps=20)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = float(expected_l2(model).detach())
    for _ in range(20):
        optimizer.zero_grad()
        (model(torch.zeros(2, 5)).pow(2).mean() + expected_l2(model)).backward()
        solver.step()
        optimizer.step()
    assert float(expected_l2(model).detach()) < 0.1 * before


def test_a_model_without_gates_is_an_error():
    with pytest.raises(StructureError, match=r"Linear: no gates attached; call lzero\.attach_gates"):
        expected_l2(nn.Linear(2, 2))
