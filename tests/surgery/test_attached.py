"""Finding gates, and what they multiply."""

from __future__ import annotations

import pytest
import torch
from plans import CASES, Truth
from torch import nn
from torch.nn.utils import parametrize

from lzero.attach import attach_gates
from lzero.errors import StructureError
from lzero.surgery.attached import factors, gated_leaves, gates_of, gates_on, require_gates, ungated


def test_gates_are_found_in_a_wrapper_too():
    model, plan = CASES["mlp"]()
    assert gates_of(model) is None
    gates = attach_gates(model, plan)
    assert gates_of(model) is gates is gates_of(nn.Sequential(model)) is require_gates(model)


def test_what_has_none_is_told_how_to_get_some():
    with pytest.raises(StructureError, match=r"Linear: no gates attached; call lzero\.attach_gates"):
        require_gates(nn.Linear(2, 2))
    with pytest.raises(StructureError, match=r"gates_of: expected an nn\.Module, found 3"):
        gates_of(3)


def test_only_parameters_that_gates_multiply_are_gated_leaves():
    model, plan = CASES["mlp"]()
    attach_gates(model, plan)
    parametrize.register_parametrization(model.fc3, "bias", nn.Identity())
    assert gated_leaves(model.fc3) == ["weight"] == gated_leaves(model.fc1)
    assert gated_leaves(model) == [] == gated_leaves(nn.Linear(2, 2))


def test_attributes_of_that_name_that_are_no_parametrizations_do_not_count():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.parametrizations = nn.Linear(2, 2)

    assert gated_leaves(Odd()) == []


def test_the_parameter_under_the_gates():
    model, plan = CASES["mlp"]()
    weight, before = model.fc2.weight, model.fc2.weight.detach().clone()
    attach_gates(model, plan, rescale=False)
    assert ungated(model.fc2, "weight") is weight and torch.equal(weight, before)
    assert [gate.dim for gate in gates_on(model.fc2, "weight")] == [1]


@pytest.mark.parametrize("name", CASES)
def test_factors_are_products_of_all_gates_on_an_element(name):
    model, plan = CASES[name]()
    gates = attach_gates(model, plan, rescale=False)
    z = torch.rand(len(gates), dtype=torch.float64) + 0.1
    readers = [type(group)(group.name, group.size, group.kind, group.consumers) for group in plan.groups]
    reading = type(plan)(tuple(readers), (), plan.shapes, plan.positions)
    truth = Truth.of(reading, gates)
    named = {id(tensor): name for name, tensor in _plain_names(model)}
    found = {named[id(tensor)]: factor for tensor, factor in factors(model, z)}
    assert set(found) == {name for name, needs in truth.needs.items() if needs.any()}
    for tensor, factor in found.items():
        expected = [float(torch.prod(z[torch.from_numpy(row)])) for row in truth.needs[tensor]]
        torch.testing.assert_close(factor.flatten().double(), torch.tensor(expected).double(), rtol=1e-5, atol=1e-7)


def _plain_names(model):
    for name, tensor in model.named_parameters():
        yield name.replace("parametrizations.", "").removesuffix(".original"), tensor
