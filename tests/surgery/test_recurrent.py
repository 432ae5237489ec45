"""Hidden units of recurrent layers: one unit is the same index of all gates, layers and directions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from exactness import largest_difference
from torch import Tensor, nn

from lzero import attach_gates, purge
from lzero.host.run import run
from lzero.plan.plan import Plan
from lzero.reload import load_purged

AssertExact = Callable[..., Plan]

X = torch.randn(3, 6, 5)


class Tagger(nn.Module):
    """A recurrent layer and a Linear on its outputs."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.recurrent = kind(5, 8, batch_first=True, **options)
        self.out = nn.Linear((options.get("proj_size") or 8) * (1 + self.recurrent.bidirectional), 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.recurrent(x)[0])


class Cells(nn.Module):
    """A loop over time with a cell."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.cell, self.out = kind(5, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        state: Any = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.out(state[0] if isinstance(state, tuple) else state)


KINDS = [nn.LSTM, nn.GRU, nn.RNN]
FORMS: list[dict[str, Any]] = [{}, {"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}]


@pytest.mark.parametrize("options", [*FORMS, {"bias": False}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_units(kind: type[nn.RNNBase], options: dict[str, Any], assert_exact: AssertExact) -> None:
    plan = assert_exact(Tagger(kind, **options), X)
    assert [(group.name, group.size) for group in plan.groups] == [("recurrent", 8)]
    consumers = {m.tensor for m in plan.groups[0].consumers}
    assert {"recurrent.weight_hh_l0", "out.weight"} <= consumers
    assert ("recurrent.weight_ih_l1" in consumers) == ("num_layers" in options)


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_projected_units(options: dict[str, Any], assert_exact: AssertExact) -> None:
    plan = assert_exact(Tagger(nn.LSTM, proj_size=3, **options), X)
    assert [group.size for group in plan.groups] == [3]
    (hidden,) = (refusal for refusal in plan.refusals if refusal.size == 8)
    assert "fewer projected than hidden units" in hidden.reason and "without proj_size" in hidden.advice


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells(kind: Callable[..., nn.Module], assert_exact: AssertExact) -> None:
    assert [(group.name, group.size) for group in assert_exact(Cells(kind), X).groups] == [("cell", 8)]


def test_units_that_feed_a_recurrent_layer(assert_exact: AssertExact) -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.GRU(7, 4, batch_first=True))
    assert [(group.name, group.size) for group in assert_exact(model, X).groups] == [("0", 7)]


@pytest.mark.parametrize("options", FORMS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_gates_reach_the_forward(kind: type[nn.RNNBase], options: dict[str, Any]) -> None:
    torch.manual_seed(0)  # all eight gates may open fully by chance, and then have no gradient
    model = Tagger(kind, **options).double()
    inputs, plain = X.double(), copy.deepcopy(model)
    gates = attach_gates(model, inputs, rescale=False)
    model(inputs).pow(2).sum().backward()
    assert gates.log_alpha.grad is not None and gates.log_alpha.grad.any()
    copy.deepcopy(model)  # nothing of the last forward is held
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([-9.0, 0.2, 1.0, -9.0, 0.5, -9.0, 3.0, 0.1]))
    small = purge(model).model
    assert small.recurrent.hidden_size == 5
    difference, scale = largest_difference(run(model, inputs), run(small, inputs))
    assert difference <= 1e-12 * scale
    assert largest_difference(run(plain, inputs), run(small, inputs))[0] > 1e-3
    assert largest_difference(run(load_purged(plain, small.state_dict()), inputs), run(small, inputs))[0] == 0
    assert not small.recurrent._forward_pre_hooks and not small.recurrent._forward_hooks


@pytest.mark.parametrize("kind", KINDS)
def test_purged_layers_with_all_units_open_still_train(kind: type[nn.RNNBase]) -> None:
    model = Tagger(kind)
    plain = copy.deepcopy(model)
    gates = attach_gates(model, X)
    with torch.no_grad():
        gates.log_alpha.fill_(9.0)
    small = purge(model).model
    for trained in (small, load_purged(plain, small.state_dict())):
        trained(X).sum().backward()
        assert all(parameter.grad is not None for parameter in trained.parameters())
