"""Putting gates on: every alias of a gated tensor, in an order that nobody notices, and nothing if anything fails."""

from __future__ import annotations

import pytest
import torch
from plans import CASES, same, snapshot
from torch import nn

from lzero.attach import attach_gates
from lzero.surgery.attached import gated_leaves, gates_on
from lzero.surgery.register import register


def fresh(name):
    """A model without gates, its index maps, and gates for it."""
    model, plan = CASES[name]()
    gates = attach_gates(CASES[name]()[0], plan)
    return model, plan.maps(), gates, plan


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_with_a_map_is_gated_and_no_other(name):
    model, maps, gates, _ = fresh(name)
    before = dict(model.named_parameters(remove_duplicate=False))
    register(model, maps, gates, rescale=False)
    wanted = {id(before[tensor]) for tensor, _ in maps}
    found = set()
    for path, module in list(model.named_modules()):
        for leaf in gated_leaves(module):
            found.add(f"{path}.{leaf}")
            assert [gate.dim for gate in gates_on(module, leaf)]
    assert found == {name for name, tensor in before.items() if id(tensor) in wanted}


def test_both_names_of_a_tied_weight_are_gated_and_stay_one_parameter():
    model, maps, gates, _ = fresh("tied")
    weight = model.one.weight
    register(model, maps, gates, rescale=False)
    assert model.one.parametrizations.weight.original is weight is model.two.parametrizations.weight.original


def test_one_gate_alone_owns_the_gates():
    model, maps, gates, _ = fresh("mlp")
    register(model, maps, gates, rescale=True)
    assert sum(module is gates for module in model.modules()) == 1
    assert len([name for name, _ in model.named_modules(remove_duplicate=False) if name.endswith(".gates")]) == 1


@pytest.mark.parametrize("name", CASES)
def test_rescaling_divides_every_weight_by_the_mean_of_its_gates(name):
    model, maps, gates, _ = fresh(name)
    before = {id(p): p.detach().clone() for p in model.parameters()}
    register(model, maps, gates, rescale=True)
    means = torch.cat([gates.means(), torch.ones(1)])  # the last for positions without a gate
    for (tensor, _), _ in maps.items():
        path, _, leaf = tensor.rpartition(".")
        original = model.get_submodule(path).parametrizations[leaf].original
        expected = before[id(original)]
        for (other, dim), stack in maps.items():
            for one in stack if other == tensor else ():
                shape = original.shape if dim < 0 else [-1 if d == dim else 1 for d in range(original.dim())]
                expected = expected / means[one].view(shape)
        torch.testing.assert_close(original, expected)


def test_a_failure_leaves_the_model_as_it_was(monkeypatch):
    model, maps, gates, _ = fresh("lenet")
    before = snapshot(model)

    def fails(*_):
        raise KeyboardInterrupt

    for place in ("show_place", "factors", "_hide_from_data_parallel", "load_training"):
        with monkeypatch.context() as patch:
            if place == "load_training":
                patch.setattr(nn.Module, "register_load_state_dict_pre_hook", fails)
            else:
                patch.setattr(f"lzero.surgery.register.{place}", fails)
            with pytest.raises(KeyboardInterrupt):
                register(model, maps, gates, rescale=True)
        same(before, snapshot(model))
