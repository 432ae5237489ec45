"""The way back: a plain copy, or the model itself, with every parameter in its place."""

from __future__ import annotations

import pytest
import torch
from plans import CASES, same, snapshot
from torch import nn

from lzero.attach import attach_gates
from lzero.surgery.attached import gates_of
from lzero.surgery.remove import own_class, restore_order, strip, without_gates


def gated(name, **options):
    model, plan = CASES[name]()
    before = snapshot(model)
    return model, attach_gates(model, plan, rescale=False, **options), before


@pytest.mark.parametrize(
    ("name", "per_example"), [(name, each) for name in CASES for each in (False, True) if not each or name != "weights"]
)
def test_taking_gates_off_leaves_nothing(name, per_example):
    model, gates, before = gated(name, per_example=per_example)
    strip(model, gates)
    same(before, snapshot(model))
    assert gates_of(model) is None and not hasattr(model, "lzero")


@pytest.mark.parametrize("name", CASES)
def test_a_copy_without_gates_leaves_the_gated_model(name):
    model, gates, before = gated(name)
    after = snapshot(model)
    plain = without_gates(model)
    same(after, snapshot(model))
    assert gates_of(plain) is None and gates_of(model) is gates
    assert list(plain.state_dict()) == list(before["state"])
    assert all(torch.equal(tensor, before["state"][key]) for key, tensor in plain.state_dict().items())
    own = {id(tensor) for tensor in model.parameters()}
    assert not own & {id(tensor) for tensor in plain.parameters()}


def test_a_copy_of_a_model_that_has_none():
    model = nn.Linear(2, 3)
    plain = without_gates(model)
    assert plain is not model and torch.equal(plain.weight, model.weight)


def test_hooks_of_the_users_own_stay():
    model, plan = CASES["mlp"]()
    kept = [model.register_forward_pre_hook(lambda *_: None), model.fc2.register_forward_hook(lambda *_: None)]
    gates = attach_gates(model, plan)
    strip(model, gates)
    assert list(model._forward_pre_hooks) == [kept[0].id] and list(model.fc2._forward_hooks) == [kept[1].id]


def test_parameters_are_put_into_an_order_and_unknown_ones_last():
    module = nn.Module()
    for name in "cab":
        module.register_parameter(name, nn.Parameter(torch.ones(1)))
    held = dict(module.named_parameters())
    restore_order(module, ("a", "gone", "b"))
    assert list(module._parameters) == ["a", "b", "c"]
    assert all(module._parameters[name] is held[name] for name in "abc")


def test_a_class_of_its_own_is_like_the_shared_one():
    class Shared(nn.Linear):
        mark = 3

    one, two = Shared(2, 2), Shared(2, 2)
    own_class(one)
    assert type(one) is not Shared and type(two) is Shared
    assert type(one).__name__ == "Shared" and type(one).__bases__ == Shared.__bases__ and type(one).mark == 3
    del type(one).mark
    assert Shared.mark == 3
