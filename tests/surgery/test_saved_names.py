"""The names of saved tensors: gathered Linears and tied tensors brought to those of the fresh model."""

import pytest
import torch
from torch import nn

from lzero.errors import StructureError
from lzero.surgery.gathered_linear import GatheredLinear
from lzero.surgery.saved_names import aliases, fresh_names, gathered_linears


def tied():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


def test_a_gathered_linear_is_found_and_renamed():
    model = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 2))
    small = nn.Sequential(GatheredLinear(nn.Linear(2, 3), torch.tensor([1, 4])), nn.Linear(3, 2))
    state = small.state_dict()
    assert gathered_linears(model, state) == {"0": model[0]}
    named = fresh_names(model, state)
    assert set(named) == {"0.columns", "0.weight", "0.bias", "1.weight", "1.bias"}
    assert named["0.weight"] is state["0.linear.weight"] and "0.weight" not in state
    assert gathered_linears(small, state) == {} and fresh_names(small, state) == state


def test_a_root_that_is_gathered_is_found():
    linear = nn.Linear(6, 3)
    state = GatheredLinear(nn.Linear(2, 3), torch.tensor([1, 4])).state_dict()
    assert gathered_linears(linear, state) == {"": linear}
    assert set(fresh_names(linear, state)) == {"columns", "weight", "bias"}


def test_what_only_looks_like_one_is_left():
    model = nn.Sequential(nn.Linear(6, 3), nn.Conv2d(1, 1, 1))
    for state in (
        {"0.columns": torch.arange(2), "0.weight": torch.ones(3, 2)},
        {"1.columns": torch.arange(2), "1.linear.weight": torch.ones(3, 2)},
    ):
        assert gathered_linears(model, state) == {} and fresh_names(model, state) == state
    both = {"0.columns": torch.arange(2), "0.weight": torch.ones(3, 6), "0.linear.weight": torch.ones(3, 2)}
    assert fresh_names(model, both) == both


def test_any_name_of_a_tied_tensor_is_enough():
    model = tied()
    assert [names for names in aliases(model) if len(names) > 1] == [["0.weight", "2.weight"]]
    state = model.state_dict()
    for name in ("0.weight", "2.weight"):
        named = fresh_names(model, {key: value for key, value in state.items() if key != name})
        assert named.keys() == state.keys() and named[name].data_ptr() == state[name].data_ptr()
    none = {key: value for key, value in state.items() if key not in ("0.weight", "2.weight")}
    assert fresh_names(model, none) == none


def test_what_was_noted_on_a_module_with_two_paths_is_read_once_and_alike():
    model = nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3))
    model.append(model[0])
    marks = {f"{path}.purged_eps": torch.tensor([4, 3]) for path in ("0", "2")}
    state = {**model.state_dict(), **marks}
    assert fresh_names(model, state).keys() == model.state_dict().keys() | {"0.purged_eps"}
    alone = {name: value for name, value in state.items() if name != "0.purged_eps"}
    assert fresh_names(model, alone).keys() == model.state_dict().keys() | {"0.purged_eps"}
    with pytest.raises(StructureError, match=r"0\.purged_eps and 2\.purged_eps: one module in the model"):
        fresh_names(model, {**state, "2.purged_eps": torch.tensor([4, 2])})
