"""Adapters by class: their rank is no unit, and what they would write into gated weights is refused."""

import copy
import pickle

import pytest
import torch
from torch import nn

import lzero
from lzero.errors import LzeroWarning, StructureError
from lzero.surgery import adapters


class LowRank(nn.Module):
    """A Linear with a low-rank path beside it, as LoRA puts it."""

    def __init__(self, inside, rank=4):
        super().__init__()
        self.inside, (self.out_features, self.in_features) = inside, (inside.out_features, inside.in_features)
        self.down, self.up = nn.Linear(self.in_features, rank, bias=False), nn.Linear(rank, self.out_features)

    def forward(self, x):
        return self.inside(x) + self.up(self.down(x))

    def fuse(self):
        self.inside.weight.data += self.up.weight @ self.down.weight


class Saving(nn.Sequential):
    """A model with a method that writes its adapters alone."""

    def save_pretrained(self, place, **options):
        return place, options


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(adapters, "ADAPTERS", dict(adapters.ADAPTERS))
    monkeypatch.setattr(adapters, "SAVERS", dict(adapters.SAVERS))
    adapters.adapter(LowRank, base="inside", writes=("fuse",))
    adapters.partial_saver(Saving, saves=("save_pretrained",))


def network():
    torch.manual_seed(0)
    return Saving(
        LowRank(nn.Linear(8, 24)), nn.ReLU(), LowRank(nn.Linear(24, 16)), nn.ReLU(), nn.Linear(16, 3)
    ).double()


X = torch.randn(5, 8, dtype=torch.float64)


def test_units_go_through_both_paths_and_ranks_are_left():
    plan = lzero.discover(network(), X)
    assert {group.name: group.size for group in plan} == {"0.inside": 24, "2.inside": 16}
    first = plan.groups[0]
    assert {(m.tensor, m.dim) for m in first.consumers} == {("2.inside.weight", 1), ("2.down.weight", 1)}
    assert ("0.up.weight", 0) in {(m.tensor, m.dim) for m in first.members}
    said = {refusal.name: refusal for refusal in plan.refusals}["0.down"]
    assert said.size == 4 and "rank of LoRA" in said.reason and said.advice == 'granularity={"0": "unit"} gates it'
    assert "inner size of an adapter" in str(plan)


def test_a_rank_that_is_asked_for_by_path_is_a_unit():
    plan = lzero.discover(network(), X, granularity={"": "unit", "2": "unit"})
    assert {group.name for group in plan} == {"0.inside", "2.inside", "2.down"}


def test_features_that_an_adapted_layer_reads_stay_unless_asked_for_by_path():
    plan = lzero.discover(network(), X, granularity="input")
    assert {group.name for group in plan} == {"0.inside", "2.inside"}
    plan = lzero.discover(network(), X, granularity={"": "unit", "0": "input"})
    assert {group.name for group in plan} == {"0.inside", "2.inside", "0.down", "0.inside.input", "0.down.input"}


def test_without_the_class_a_rank_is_a_unit_like_others():
    adapters.ADAPTERS.clear()
    assert {group.name for group in lzero.discover(network(), X)} == {"0.inside", "0.down", "2.inside", "2.down"}


def test_paths_say_whose_a_tensor_is():
    paths = adapters.adapter_paths(nn.ModuleDict({"a": LowRank(LowRank(nn.Linear(2, 2)))}))
    assert paths == {"a": "a.inside", "a.inside": "a.inside.inside"}
    owns = adapters.adapter_that_owns
    assert owns(paths, "a.up.weight") == "a" and owns(paths, "a.inside.up.weight") == "a.inside"
    assert owns(paths, "a.inside.inside.weight") is None and owns(paths, "ab.weight") is None


def merges(model):
    return [vars(layer).get("fuse") for layer in model.modules() if isinstance(layer, LowRank)]


def test_what_an_adapter_would_write_is_refused_while_gates_are_on():
    model = network()
    lzero.attach_gates(model, X)
    before = copy.deepcopy(model.state_dict())
    for layer in (model[0], model[2], copy.deepcopy(model)[2]):
        with pytest.raises(StructureError, match=r"merge: gates are attached.*lost\. Purge first"):
            layer.fuse()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    small = lzero.purge(model, constraints=[lzero.Constraint(0.6)]).model
    assert merges(small) == [None, None] and merges(model) == [adapters.refused_write] * 2
    outputs = small(X)
    for layer in (small[0], small[2]):
        layer.fuse()
    plain = nn.Sequential(*(layer.inside if isinstance(layer, LowRank) else layer for layer in small))
    with torch.no_grad():
        for number in (0, 2):
            plain[number].bias += small[number].up.bias
    torch.testing.assert_close(plain(X), outputs, rtol=0, atol=1e-12)
    lzero.detach_gates(model)
    assert merges(model) == [None, None]
    model[2].fuse()


def test_files_of_the_adapters_alone_come_with_a_warning_while_gates_are_on():
    model = network()
    lzero.attach_gates(model, X)
    for one in (model, copy.deepcopy(model)):
        with pytest.warns(LzeroWarning, match="neither the gates nor the state of their training"):
            assert one.save_pretrained("here", a=1) == ("here", {"a": 1})
    assert copy.deepcopy(model).save_pretrained.__self__ is not model
    assert pickle.loads(pickle.dumps(lzero.detach_gates(model))).save_pretrained("x") == ("x", {})
    assert "save_pretrained" not in vars(model)


def test_a_failure_leaves_adapters_as_they_were(monkeypatch):
    model = network()

    def fails(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lzero.surgery.register._hide_from_data_parallel", fails)
    with pytest.raises(KeyboardInterrupt):
        lzero.attach_gates(model, X)
    assert merges(model) == [None, None] and "save_pretrained" not in vars(model)


def test_what_names_no_class_is_refused():
    with pytest.raises(StructureError, match="expected classes of modules, or dotted names"):
        adapters.adapter("LowRank", base="inside")


class Inner(nn.Module):
    """Its number follows layers that lie in adapters."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.read, self.out = 24, LowRank(nn.Linear(8, 24)), LowRank(LowRank(nn.Linear(24, 3)))

    def forward(self, x):
        return self.out(self.read(x).relu().view(len(x), self.inner))


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_numbers_of_the_module_around_an_adapter_follow_the_layer_inside():
    model = Inner().double()
    gates = lzero.attach_gates(model, X)
    assert [(group.name, group.size) for group in gates.plan] == [("read.inside", 24)]
    result = lzero.purge(model, constraints=[lzero.Constraint(0.6)])
    assert result.model.inner == int(result.kept["read.inside"].sum()) < 24
