"""What a gated model saves and loads: its own training, and plain checkpoints at their own scale."""

from __future__ import annotations

import pytest
import torch
from plans import CASES
from torch import nn

from lzero.attach import attach_gates
from lzero.surgery.checkpoint import PREFIX, Place, hide_place, show_place


def gated(name="mlp", **options):
    torch.manual_seed(0)
    model, plan = CASES[name]()
    return model, attach_gates(model, plan, **options)


@pytest.mark.parametrize("name", CASES)
def test_a_saved_training_comes_back(name):
    model, gates = gated(name)
    with torch.no_grad():
        gates.log_alpha.normal_()
    gates.hold(gates.open_mask())
    state = model.state_dict()
    other, others = gated(name)
    assert other.load_state_dict(state).missing_keys == []
    assert torch.equal(others.log_alpha, gates.log_alpha)
    again = other.state_dict()
    assert again.keys() == state.keys() and any(key.startswith(PREFIX) for key in state)
    assert all(torch.equal(again[key], value) for key, value in state.items())


def test_entries_of_the_training_are_copies():
    model, gates = gated()
    gates.hold(gates.open_mask())
    state = {key: value.clone() for key, value in model.state_dict().items() if key.startswith(PREFIX)}
    saved = model.state_dict()
    with torch.no_grad():
        gates.log_alpha.fill_(-5)
    gates.hold(gates.open_mask())
    assert state and all(torch.equal(saved[key], value) for key, value in state.items())


def test_a_state_dict_in_a_larger_model_has_its_entries_under_the_prefix():
    model, gates = gated()
    gates.hold(gates.open_mask())
    state = nn.Sequential(nn.Linear(2, 2), model).state_dict()
    here = [key for key in state if PREFIX in key]
    assert here and all(key.startswith(f"1.{PREFIX}") for key in here)
    other, others = gated()
    nn.Sequential(nn.Linear(2, 2), other).load_state_dict(state)
    assert torch.equal(others.log_alpha, gates.log_alpha)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_plain_checkpoint_gives_its_own_network_in_eval_mode(name, rescale):
    plain, plan = CASES[name]()
    model, gates = gated(name, rescale=rescale)
    alpha = gates.log_alpha.detach().clone()
    model.load_state_dict(plain.state_dict())
    assert torch.equal(gates.log_alpha, alpha)
    if rescale:
        x = plan.example_inputs
        torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=1e-4, atol=1e-5)
    else:
        originals = {key.replace("parametrizations.", "").removesuffix(".original"): value
                     for key, value in model.named_parameters()}  # fmt: skip
        assert all(torch.equal(originals[key], value) for key, value in plain.named_parameters())


def test_a_plain_weight_that_does_not_fit_is_told_by_loading():
    model, _ = gated()
    state = CASES["mlp"]()[0].state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict({**state, "fc2.weight": torch.ones(2, 2)})


def test_the_place_of_the_entries_has_every_attribute_and_hides_again():
    model = nn.Linear(2, 2)
    show_place(model)
    assert isinstance(model.lzero.anything.at.all, Place)
    with pytest.raises(AttributeError):
        model.lzero._private  # noqa: B018
    show_place(model)
    hide_place(model)
    hide_place(model)
    assert not hasattr(model, "lzero")


def test_an_attribute_of_that_name_stays_the_users():
    model = nn.Linear(2, 2)
    model.lzero = "mine"
    show_place(model)
    hide_place(model)
    assert model.lzero == "mine"
