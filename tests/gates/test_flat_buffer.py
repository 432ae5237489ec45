"""One tensor, whatever is done to its module: moved, cast, loaded, assigned, copied."""

import copy

import pytest
import torch
from gates.forwards import gated
from plans import mlp
from torch import nn

from lzero.gates.flat_buffer import FlatBuffer

DOUBLE = torch.float64


class Noted(FlatBuffer):
    """Notes what it is told."""

    def __init__(self, values):
        super().__init__(values)
        self.told = []
        self.inner = nn.Linear(2, 2)

    def _replaced(self):
        self.told.append("replaced")

    def _moved(self, like):
        self.told.append((like.dtype, like.device.type))


def noted(grad=True):
    module = Noted(torch.tensor([0.1, -2.0, 3.0]))
    if grad:
        module.log_alpha.grad = torch.tensor([1.0, 2.0, 3.0])
    return module, module.log_alpha


def test_it_is_a_buffer_that_requires_grad_and_no_parameter():
    module, tensor = noted(grad=False)
    assert tensor.requires_grad and tensor.is_leaf and not isinstance(tensor, nn.Parameter)
    assert [name for name, _ in module.named_buffers()] == ["log_alpha"]
    assert "log_alpha" not in dict(module.named_parameters()) and "log_alpha" in module.state_dict()


MOVES = {
    "double": (lambda m: m.double(), DOUBLE, DOUBLE),
    "float": (lambda m: m.float(), torch.float32, torch.float32),
    "half": (lambda m: m.half(), torch.float32, torch.float16),
    "bfloat16": (lambda m: m.bfloat16(), torch.float32, torch.bfloat16),
    "to half": (lambda m: m.to("cpu", torch.float16), torch.float32, torch.float16),
    "cpu": (lambda m: m.cpu(), torch.float32, torch.float32),
    "within another": (lambda m: nn.ModuleList([m]).double()[0], DOUBLE, DOUBLE),
}


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", MOVES)
def test_moving_keeps_the_one_tensor_with_its_values_and_gradient(name, grad):
    move, dtype, of_others = MOVES[name]
    module, tensor = noted(grad)
    optimizer = torch.optim.SGD([tensor], lr=1.0)
    values = tensor.detach().clone()
    assert move(module) is module
    assert module.log_alpha is tensor and tensor.requires_grad and tensor.is_leaf
    assert tensor.dtype is dtype and module.inner.weight.dtype is of_others
    assert torch.equal(tensor.detach(), values.to(dtype))
    assert module.told == [(dtype, "cpu")]
    if grad:
        assert tensor.grad.dtype is dtype and tensor.grad.tolist() == [1, 2, 3]
        optimizer.step()
        assert torch.equal(tensor.detach(), values.to(dtype) - torch.tensor([1, 2, 3]))
    else:
        assert tensor.grad is None


def test_a_cast_to_half_and_back_rounds_nothing():
    module, tensor = noted()
    values = tensor.detach().clone()
    module.half().float()
    assert torch.equal(tensor.detach(), values) and tensor.grad.dtype is torch.float32


def test_a_move_that_fails_leaves_the_buffer_where_it_was():
    module, tensor = noted()

    def fail(value):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        module._apply(fail)
    assert module.log_alpha is tensor and tensor.grad.tolist() == [1, 2, 3] and module.told == []


@pytest.mark.parametrize("saved", [torch.float16, torch.bfloat16, torch.float32, DOUBLE])
@pytest.mark.parametrize("assign", [False, True])
def test_loading_fills_the_one_tensor_in_at_least_single_precision(assign, saved):
    module, tensor = noted()
    state = {key: torch.full_like(value, 0.7).to(saved) for key, value in module.state_dict().items()}
    source = state["log_alpha"]
    module.load_state_dict(state, assign=assign)
    assert module.log_alpha is tensor and tensor.requires_grad and tensor.is_leaf
    assert tensor.dtype is (DOUBLE if assign and saved is DOUBLE else torch.float32)
    assert torch.equal(tensor.detach(), source.to(tensor.dtype)) and module.told == ["replaced"]
    assert module.inner.weight.dtype is (saved if assign else torch.float32)


def test_a_state_without_it_leaves_it_as_it_is():
    module, tensor = noted()
    values, state = tensor.detach().clone(), module.state_dict()
    del state["log_alpha"]
    for assign in (False, True):
        found = module.load_state_dict(state, strict=False, assign=assign)
        assert found.missing_keys == ["log_alpha"] and module.log_alpha is tensor and torch.equal(tensor, values)


def test_a_copy_has_a_tensor_of_its_own():
    module, tensor = noted()
    twin = copy.deepcopy(module)
    assert twin.log_alpha is not tensor and torch.equal(twin.log_alpha, tensor) and twin.log_alpha.requires_grad
    twin.double()
    assert tensor.dtype is torch.float32 and module.told == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_casting_the_model_later_keeps_log_alpha_exact(dtype):
    model, gates, x = gated(mlp)
    with torch.no_grad():
        gates.log_alpha.normal_()
    model(x).sum().backward()
    parameter, before, grad = gates.log_alpha, gates.log_alpha.detach().clone(), gates.log_alpha.grad.clone()
    model.to(dtype)
    assert gates.log_alpha is parameter and torch.equal(parameter, before) and torch.equal(parameter.grad, grad)
    model(x.to(dtype)).sum().backward()
    assert not torch.equal(parameter.grad, grad)
    model.double()
    assert parameter.dtype == torch.float64


@pytest.mark.parametrize("saved", [torch.float32, DOUBLE])
def test_log_alpha_stays_the_tensor_that_it_is_when_states_are_assigned(saved):
    model, gates, _x = gated(mlp)
    before = gates.log_alpha
    state = {key: value.clone().to(saved) for key, value in model.state_dict().items()}
    key = next(key for key in state if key.endswith("log_alpha"))
    state[key] = torch.full_like(state[key], 0.7)
    model.load_state_dict(state, assign=True)
    assert gates.log_alpha is before and before.requires_grad and before.is_leaf
    assert torch.equal(before.detach(), torch.full((len(gates),), 0.7, dtype=before.dtype))
