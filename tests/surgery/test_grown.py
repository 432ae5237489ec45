"""Parameters that come into a model after its gates are noticed before they are trained, not after."""

import copy
import pickle

import pytest
import torch
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.surgery import adapters
from lzero.surgery.attached import gates_of
from lzero.surgery.grown import Watch, check_not_grown

X = torch.randn(5, 8)


class Beside(nn.Module):
    """A layer with a path beside it."""

    def __init__(self, base):
        super().__init__()
        self.base, self.path = base, nn.Linear(base.in_features, base.out_features)

    def forward(self, x):
        return self.base(x) + self.path(x)


def gated():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
    return model, lzero.attach_gates(model, X)


def solve(gates):
    return lzero.Solver(gates, 0.5, total_steps=200)


@pytest.mark.parametrize("after", [False, True], ids=["before the solver", "after the solver"])
def test_a_layer_around_a_gated_one_stops_the_next_forward_in_train_mode(after):
    model, gates = gated()
    for _ in range(10):
        model(X)
    solver = solve(gates) if after else None
    model[2] = Beside(model[2])
    solver = solver or solve(gates)
    with pytest.raises(StructureError, match=r"^2\.\S+: came into the model after its gates"):
        model(X)
    with pytest.raises(StructureError, match="came into the model after its gates"):
        lzero.purge(model)
    with pytest.raises(lzero.SolverError):
        solver.step()
    model[2] = model[2].base
    model(X).sum().backward()
    solver.step()


def test_an_adapter_is_told_the_order(monkeypatch):
    monkeypatch.setattr(adapters, "ADAPTERS", dict(adapters.ADAPTERS))
    adapters.adapter(Beside, base="base")
    model, _ = gated()
    model[0] = Beside(model[0])
    with pytest.raises(StructureError, match=r"^0\.path\.weight: belongs to an adapter .*peft\.get_peft_model\(model"):
        model(X)


def test_it_looks_now_and_then_and_never_in_eval_mode(monkeypatch):
    looks = []
    monkeypatch.setattr("lzero.surgery.grown.check_not_grown", lambda model, gates: looks.append(model))
    model, gates = gated()
    for _ in range(120):
        model(X)
    assert len(looks) == 3 + 2
    solve(gates)
    for _ in range(10):
        model(X)
    assert len(looks) == 3 + 2 + 3
    model.eval()
    solve(gates)
    model(X)
    assert len(looks) == 8


def test_fewer_or_as_many_parameters_are_no_matter_here():
    model, gates = gated()
    check_not_grown(model, gates)
    model[0].bias = None
    check_not_grown(model, gates)
    model(X)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda held: pickle.loads(pickle.dumps(held))], ids=["copy", "pickle"])
def test_a_copy_watches_its_own_gates(way):
    model, gates = gated()
    # a parametrized class cannot be pickled: the hook alone with its gates
    watch = way(Watch(gates))
    assert watch.gates is not gates and torch.equal(watch.gates.log_alpha, gates.log_alpha)
    twin = copy.deepcopy(model)
    watches = [hook for hook in twin._forward_pre_hooks.values() if isinstance(hook, Watch)]
    assert [hook.gates for hook in watches] == [gates_of(twin)]
    lzero.detach_gates(twin)
    assert not twin._forward_pre_hooks
