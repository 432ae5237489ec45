"""A gate on a tensor: the product and its gradient, on any dim, of weights or of what a layer reads."""

import pytest
import torch
from gates.forwards import by_hand, drawn, gated, gradient_under_autocast
from plans import batch_norm, lenet, mlp, reused, sized, tied, weights
from torch import nn

from lzero.errors import StructureError
from lzero.gates.gate import Gate
from lzero.gates.gates import Gates
from lzero.host.tensors import find_tensor

DOUBLE = torch.float64
HAND = {"mlp": mlp, "lenet": lenet, "reused": reused, "tied": tied, "batch_norm": batch_norm, "weights": weights}


@pytest.mark.parametrize("name", HAND)
def test_outputs_and_gradients_are_those_of_the_forward_by_hand(name):
    model, gates, x = gated(HAND[name], torch.float64, open_probability=0.6)
    parameters = [gates.log_alpha, *model.parameters()]
    torch.manual_seed(5)
    out = model(x)
    found = torch.autograd.grad(out.pow(2).sum(), parameters)
    expected_out = by_hand(name, model, drawn(gates, 5), x)
    expected = torch.autograd.grad(expected_out.pow(2).sum(), parameters)
    assert torch.allclose(out, expected_out, rtol=1e-10, atol=1e-12)
    for one, two in zip(found, expected, strict=True):
        assert torch.allclose(one, two, rtol=1e-9, atol=1e-12)
    assert (found[0] != 0).any()


def test_autocast_gives_nearly_the_gradient_of_full_precision():
    model, gates, x = gated(mlp)
    full, cast = (gradient_under_autocast(model, gates, x, enabled=enabled) for enabled in (False, True))
    assert full.any() and (full - cast).norm() < 0.1 * full.norm()


def test_gates_of_a_bfloat16_model_stay_in_float32():
    model, gates, x = gated(mlp, torch.bfloat16)
    assert gates.log_alpha.dtype == torch.float32
    out = model(x)
    assert out.dtype == torch.bfloat16
    out.float().pow(2).sum().backward()
    assert gates.log_alpha.grad.dtype == torch.float32 and gates.log_alpha.grad.any()
    assert model.fc2.parametrizations.weight.original.grad.dtype == torch.bfloat16


def test_gates_need_no_gradient_of_the_weights_and_weights_none_of_the_gates():
    model, gates, x = gated(mlp)
    model.requires_grad_(False)
    model(x).sum().backward()
    assert gates.log_alpha.grad.any()
    model, gates, x = gated(mlp)
    gates.log_alpha.requires_grad_(False)
    model(x).sum().backward()
    assert gates.log_alpha.grad is None and find_tensor(model, "fc1.parametrizations.weight.original").grad.any()


def gates_of(size, per_example=False):
    torch.manual_seed(0)
    gates = Gates(sized({"a": size}), per_example=per_example).double()
    gates.draw()
    return gates


INDICES = {  # shape of the tensor, dim, gate of each position (3: ungated)
    "rows": ((3, 2), 0, [[0, 1, 2]]),
    "columns": ((2, 5), 1, [[2, 3, 0, 0, 1]]),
    "channels of a kernel": ((2, 3, 2, 2), 1, [[0, 3, 1]]),
    "elements": ((2, 2), -1, [[0, 1, 2, 3]]),
    "two on one position": ((2, 4), 1, [[0, 0, 1, 3], [1, 2, 3, 3]]),
    "vector": ((4,), 0, [[3, 3, 1, 1]]),
}


@pytest.mark.parametrize("name", INDICES)
def test_the_product_and_its_gradient_are_those_of_plain_indexing(name):
    shape, dim, indices = INDICES[name]
    gates = gates_of(3)
    gate = Gate(gates, [torch.tensor(index) for index in indices], dim)
    weight, z = torch.randn(shape, dtype=DOUBLE, requires_grad=True), torch.rand(3, dtype=DOUBLE)
    padded = torch.cat([z, torch.ones(1, dtype=DOUBLE)])
    along = torch.stack([padded[torch.tensor(index)] for index in indices]).prod(0)
    expected = along.view(shape) if dim < 0 else along.view([-1 if d == dim else 1 for d in range(len(shape))])
    assert torch.equal(gate.factor(z, weight).expand(shape), expected.expand(shape))
    with gates.fixed(z):
        found = gate(weight)
        assert torch.equal(found, weight * expected)
        seed = torch.randn(shape, dtype=DOUBLE)
        (grad,) = torch.autograd.grad((found * seed).sum(), weight)
    assert torch.equal(grad, seed * expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["columns", "channels of a kernel", "elements"])
def test_a_weight_in_half_precision_gets_the_gradient_of_the_same_product(name, dtype):
    shape, dim, indices = INDICES[name]
    gates = gates_of(3).float()
    gates.draw()
    gate = Gate(gates, [torch.tensor(index) for index in indices], dim)
    weight = torch.randn(shape).to(dtype).requires_grad_()
    seed = torch.randn(shape).to(dtype)
    found = gate(weight)
    assert found.dtype is dtype
    by_weight, by_gates = torch.autograd.grad((found * seed).sum(), [weight, gates.log_alpha])
    z, slope = gates.current().z.clone().requires_grad_(), gates.current().slope
    factor = gate.factor(z, seed.float())
    assert torch.equal(found, weight.detach() * factor.to(dtype))
    (written,) = torch.autograd.grad((weight.detach().float() * factor * seed.float()).sum(), z)
    assert by_weight.dtype is dtype and torch.equal(by_weight, seed * factor.detach().to(dtype))
    torch.testing.assert_close(by_gates, written * slope, rtol=2e-2, atol=2e-2)


def test_gates_for_each_example_multiply_what_is_read_and_leave_the_weight():
    gates = gates_of(3, per_example=True)
    linear, conv = nn.Linear(3, 2).double(), nn.Conv2d(3, 2, 2).double()
    gate, weight = Gate(gates, [torch.tensor([2, 3, 0])], 1), torch.randn(2, 3, dtype=DOUBLE)
    z = torch.rand(4, 3, dtype=DOUBLE)
    factor = torch.stack([z[:, 2], torch.ones(4, dtype=DOUBLE), z[:, 0]], 1)
    with gates.fixed(z):
        assert gate(weight) is weight
        for layer, x, expected in (
            (linear, torch.randn(4, 3), lambda x: x * factor),
            (linear, torch.randn(4, 5, 3), lambda x: x * factor[:, None]),
            (conv, torch.randn(4, 3, 6, 6), lambda x: x * factor[:, :, None, None]),
        ):
            x = x.double()
            (found, rest), named = gate.read(layer, (x, "rest"), {"scale": 2})
            assert torch.equal(found, expected(x)) and (rest, named) == ("rest", {"scale": 2})
            (found,), named = gate.read(layer, (), {"input": x, "scale": 2})
            assert torch.equal(found, expected(x)) and named == {"scale": 2}
    gates.eval()
    gates.draw()
    assert gate.read(linear, (torch.randn(4, 3),), {}) is None and not torch.equal(gate(weight), weight)


@pytest.mark.parametrize(("layer", "shape"), [(nn.Linear(3, 2), (3,)), (nn.Conv2d(3, 2, 1), (3, 6, 6))])
def test_gates_for_each_example_need_a_batch(layer, shape):
    gate = Gate(gates_of(3, per_example=True), [torch.arange(3)], 1)
    message = rf"^{type(layer).__name__}: gates for each example need a batch, found an input \({shape[0]},"
    with pytest.raises(StructureError, match=message):
        gate.read(layer, (torch.randn(shape),), {})


def test_one_gate_of_a_model_holds_the_state():
    gates = gates_of(2)
    owner, other = Gate(gates, [torch.arange(2)], 0, owner=True), Gate(gates, [torch.arange(2)], 0)
    assert list(owner.state_dict()) == ["gates.log_alpha"] and list(other.state_dict()) == []
    assert list(other.buffers()) == []
