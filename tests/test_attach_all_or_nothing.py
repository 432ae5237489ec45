"""Attaching is all or nothing: a failure at any call leaves the model as it was, to the bit; and the way back."""

import copy

import pytest
import torch
from plans import CASES, lenet, mlp, tied
from torch import nn
from torch.nn.utils import parametrize

import lzero
from lzero.attach import attach_gates
from lzero.gates.gates import Gates
from lzero.surgery import register as register_module


def picture(model):
    """All of a model that attaching may touch."""
    modules = list(model.named_modules(remove_duplicate=False))
    registries = ("_parameters", "_buffers", "_modules", "_forward_pre_hooks", "_forward_hooks")
    registries += ("_forward_pre_hooks_with_kwargs", "_load_state_dict_pre_hooks", "_state_dict_hooks")
    return {
        "classes": [(name, id(module), type(module)) for name, module in modules],
        "held": [[list(getattr(module, registry).items()) for registry in registries] for _, module in modules],
        "attributes": [list(vars(module)) for _, module in modules],
        "plain": [
            {k: v for k, v in vars(m).items() if isinstance(v, int | float | str | bool | tuple | list)}
            for _, m in modules
        ],
        "values": {name: (p.data_ptr(), p.stride(), p.detach().clone()) for name, p in model.named_parameters()},
        "state": list(model.state_dict()),
        "grads": [p.requires_grad for p in model.parameters()],
        "random": torch.get_rng_state(),
    }


def unchanged(before, after):
    assert before["state"] == after["state"] and before["classes"] == after["classes"]
    for one, two in zip(before["held"], after["held"], strict=True):
        for first, second in zip(one, two, strict=True):
            assert [name for name, _ in first] == [name for name, _ in second]
            assert all(a is b for (_, a), (_, b) in zip(first, second, strict=True))
    assert before["attributes"] == after["attributes"] and before["plain"] == after["plain"]
    assert before["grads"] == after["grads"] and torch.equal(before["random"], after["random"])
    for name, (place, stride, value) in before["values"].items():
        other = after["values"][name]
        assert (place, stride) == other[:2] and torch.equal(value, other[2]), name


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.LSTM(4, 6, num_layers=2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.out(self.inner(x)[0])


def discovered(make, *shape):
    def build():
        model = make()
        return model, lzero.discover(model, torch.randn(shape))

    return build


def expanded():
    """A weight whose memory is shared by its rows: in place it cannot be rescaled."""
    model, plan = mlp(input_gates=False)
    row = torch.randn(1, 4)
    model.fc2.weight = nn.Parameter(row.expand(3, 4))
    return model, plan


MODELS = {"mlp": mlp, "lenet": lenet, "tied": tied, "lstm": discovered(Lstm, 2, 3, 4)}
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


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("per_example", [False, True])
@pytest.mark.parametrize("name", [*(n for n in CASES if n != "weights"), "lstm", "weights"])
def test_detaching_right_after_attaching_gives_the_model_back(name, per_example, rescale):
    if per_example and name in ("lstm", "weights"):
        pytest.skip("no gates for each example there")
    torch.manual_seed(0)
    model, plan = {**CASES, **MODELS}[name]()
    model.eval()
    before, own = picture(model), {name: id(p) for name, p in model.named_parameters(remove_duplicate=False)}
    expected = model(plan.example_inputs)
    attach_gates(model, plan, per_example=per_example, rescale=rescale)
    assert lzero.detach_gates(model) is model
    assert lzero.gates_of(model) is None
    after = picture(model)
    assert before["state"] == after["state"]
    assert own == {name: id(p) for name, p in model.named_parameters(remove_duplicate=False)}
    for (path, module, kind), (_, other, found) in zip(before["classes"], after["classes"], strict=True):
        assert module == other and found.__name__ == kind.__name__ and isinstance(model.get_submodule(path), kind)
        assert found is kind, path
    assert before["held"] == after["held"]
    assert [sorted(names) for names in before["attributes"]] == [sorted(names) for names in after["attributes"]]
    if rescale:
        for key, (_, _, value) in before["values"].items():
            torch.testing.assert_close(after["values"][key][2], value, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(model(plan.example_inputs), expected, rtol=1e-5, atol=1e-6)
    attach_gates(model, plan)  # and again


def test_detaching_keeps_what_the_gated_model_gave_and_closed_units_are_zeros():
    torch.manual_seed(0)
    model, plan = lenet(3, 4, 5)
    shapes = [p.shape for p in model.parameters()]
    gates = attach_gates(model, plan)
    with torch.no_grad():
        gates.log_alpha.normal_(-1.6, 2.0)
    model.eval()
    expected, open_ = model(plan.example_inputs), gates.split(gates.open_mask())
    lzero.detach_gates(model)
    assert [p.shape for p in model.parameters()] == shapes
    torch.testing.assert_close(model(plan.example_inputs), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(model.conv2.weight.abs().sum((0, 2, 3)) == 0, ~open_["conv1"])
    with pytest.raises(lzero.StructureError, match=r"LeNet: no gates attached; call lzero\.attach_gates"):
        lzero.detach_gates(model)


def test_an_optimizer_built_before_or_after_holds_the_same_parameters():
    torch.manual_seed(0)
    model, plan = mlp()
    before = torch.optim.Adam(model.parameters()).param_groups[0]["params"]
    attach_gates(model, plan)
    names = [name for name, _ in model.named_parameters()]
    after = torch.optim.Adam(model.parameters()).param_groups[0]["params"]
    assert {id(p) for p in before} == {id(p) for p in after} and len(names) == len(before)
