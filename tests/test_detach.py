"""The way back: a gated model is plain again, gives what it gave in eval mode, and is the object that it was."""

import pytest
import torch
from pictures import MODELS, picture
from plans import CASES, lenet, mlp
from torch import nn

import lzero
from lzero.attach import attach_gates


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


def test_a_wrapped_model_comes_back_as_the_part_that_was_wrapped():
    torch.manual_seed(0)
    model, plan = mlp()
    attach_gates(model, plan)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    expected = averaged.module.eval()(plan.example_inputs)
    found = lzero.detach_gates(averaged)
    assert found is averaged.module and lzero.gates_of(found) is None
    torch.testing.assert_close(found(plan.example_inputs), expected, rtol=1e-5, atol=1e-6)
    assert lzero.gates_of(model) is not None  # of which it was a copy


def test_held_gates_are_what_is_left_in_the_weights():
    torch.manual_seed(0)
    model, plan = mlp()
    gates = attach_gates(model, plan)
    open_ = gates.with_floor(torch.arange(len(gates)) % 2 == 0)
    gates.hold(open_)
    expected = model.train()(plan.example_inputs)
    closed = ~gates.split(open_)["fc1"]
    lzero.detach_gates(model)
    torch.testing.assert_close(model(plan.example_inputs), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal((model.fc2.weight == 0).all(0), closed)


@pytest.mark.parametrize("wrong", [nn.Linear(2, 2), None, "model"])
def test_what_has_no_gates_is_refused(wrong):
    with pytest.raises(lzero.StructureError, match=r"no gates attached|expected"):
        lzero.detach_gates(wrong)
