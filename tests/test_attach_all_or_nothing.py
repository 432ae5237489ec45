"""Attaching is all or nothing: a failure at any call leaves the model as it was, to the bit."""

import copy

import pytest
import torch
from pictures import MODELS, picture, unchanged
from plans import lenet, mlp
from torch import nn
from torch.nn.utils import parametrize

import lzero
from lzero.attach import attach_gates
from lzero.gates.gates import Gates
from lzero.surgery import register as register_module


def expanded():
    """A weight whose memory is shared by its rows: in place it cannot be rescaled."""
    model, plan = mlp(input_gates=False)
    row = torch.randn(1, 4)
    model.fc2.weight = nn.Parameter(row.expand(3, 4))
    return model, plan


CALLS = {  # whatever attaching does to a model
    "parametrize": (parametrize, "register_parametrization"),
    "gate": (register_module, "Gate"),
    "pre-hook": (nn.Module, "register_forward_pre_hook"),
    "load hook": (nn.Module, "register_load_state_dict_pre_hook"),
    "save hook": (nn.Module, "register_state_dict_post_hook"),
    "rnn": (register_module, "follow_gates"),
    "data parallel": (register_module, "_hide_from_data_parallel"),
    "factors": (register_module, "factors"),
    "division": (torch.Tensor, "div_"),
    "module": (nn.Module, "__setattr__"),
    "delete": (nn.Module, "__delattr__"),
    "parameter": (nn.Module, "register_parameter"),
    "means": (Gates, "means"),
}


class Failing:
    """Calls go through, but the ``at``-th raises, before or after it has done its work."""

    def __init__(self, target, name, monkeypatch, model, at, error, late):
        self.calls = 0
        original = getattr(target, name)

        def call(*args, **kwargs):
            if not self.of(args, model):
                return original(*args, **kwargs)
            self.calls += 1
            if self.calls != at:
                return original(*args, **kwargs)
            if late:
                original(*args, **kwargs)
            raise error("stopped here")

        monkeypatch.setattr(target, name, call)

    def of(self, args, model):
        """Whether a call is about this model, and not about the copy that is tried first."""
        if args and isinstance(args[0], nn.Module) and not isinstance(args[0], Gates):
            return any(args[0] is module for module in model.modules())
        if args and isinstance(args[0], torch.Tensor):
            return any(args[0] is parameter for parameter in model.parameters())
        return True


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("where", CALLS)
@pytest.mark.parametrize("name", MODELS)
def test_a_failure_at_any_call_leaves_the_model_as_it_was(name, where, late, error, monkeypatch):
    reached, at = 0, 1
    while True:
        torch.manual_seed(0)
        model, plan = MODELS[name]()
        before = picture(model)
        with monkeypatch.context() as patch:
            failing = Failing(*CALLS[where], patch, model, at, error, late)
            try:
                attach_gates(model, plan)
            except (error, lzero.LzeroError):
                reached += 1
            else:
                break
        assert failing.calls >= at  # cleaning up may call it again
        unchanged(before, picture(model))
        at += 1 + at // 3  # the first ones, and then some
    assert reached or where in ("rnn", "delete", "module", "parameter")
    assert lzero.gates_of(model) is not None


@pytest.mark.parametrize("where", ["parametrize", "division", "save hook"])
def test_after_a_failure_attaching_gives_what_it_would_have_given(where, monkeypatch):
    torch.manual_seed(0)
    model, plan = lenet()
    twin = copy.deepcopy(model)
    with monkeypatch.context() as patch:
        Failing(*CALLS[where], patch, model, 1, RuntimeError, True)
        with pytest.raises(RuntimeError, match="stopped here"):
            attach_gates(model, plan)
    for network in (model, twin):
        attach_gates(network, plan)
        network.eval()
    x = plan.example_inputs
    assert torch.equal(model(x), twin(x))
    assert list(model.state_dict()) == list(twin.state_dict())


def test_a_parameter_of_shared_memory_cannot_be_rescaled_and_stays():
    torch.manual_seed(0)
    model, plan = expanded()
    before = picture(model)
    with pytest.raises(RuntimeError, match=r"unsupported operation|single memory location"):
        attach_gates(model, plan)
    unchanged(before, picture(model))
    gates = attach_gates(model, plan, rescale=False)
    with gates.fixed(torch.ones(len(gates))):
        assert model(plan.example_inputs).shape == (3, 2)


def test_an_optimizer_built_before_or_after_holds_the_same_parameters():
    torch.manual_seed(0)
    model, plan = mlp()
    before = torch.optim.Adam(model.parameters()).param_groups[0]["params"]
    attach_gates(model, plan)
    names = [name for name, _ in model.named_parameters()]
    after = torch.optim.Adam(model.parameters()).param_groups[0]["params"]
    assert {id(p) for p in before} == {id(p) for p in after} and len(names) == len(before)
