"""How much of a group the outputs show: by gradients, and by value where none reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import Net
from proving.chains import A, B, Model
from torch import Tensor, nn

from lzero.host.copies import private_copy
from lzero.host.inputs import ExampleInputs
from lzero.plan.group import GateGroup, Member
from lzero.proving.evidence import moves, output_slopes, share_that_moves, visible_shares
from lzero.proving.random_model import RandomModel

X = torch.randn(64, 4)  # enough that a ReLU is rarely dead on all


def random_model(model: nn.Module) -> RandomModel:
    return RandomModel(private_copy(model), ExampleInputs(X))


def first(count: int) -> Callable[[Tensor], Tensor]:
    """Only the first units count."""
    return lambda h: h * (torch.arange(h.shape[-1]) < count)


@pytest.mark.parametrize("count", [0, 1, 5, 10])
def test_the_share_is_that_of_the_units_that_count(count: int) -> None:
    shares = visible_shares(random_model(Model(second=first(count))), [A, B])
    assert shares["b"] == count / 10
    assert shares["a"] == (1.0 if count else 0.0)


def test_dead_units_do_not_count_and_living_ones_do() -> None:
    model = random_model(Model())
    with torch.no_grad():
        model.model.a.bias[3] = -1e6  # type: ignore[index,union-attr,operator]
    assert visible_shares(model, [A])["a"] == 7 / 8


@pytest.mark.parametrize("count", range(9))
def test_what_no_gradient_reaches_is_compared_in_four_parts(count: int) -> None:
    """The parts are units 0 and 4, 1 and 5, 2 and 6, 3 and 7: those with a unit that counts move the outputs."""
    model = random_model(Model(first=first(count), second=lambda h: h.detach()))
    assert visible_shares(model, [A])["a"] == share_that_moves(model, A) == min(count, 4) / 4
    assert moves(model, A) == (count > 0)


def test_what_moves_less_than_rounding_may_does_not_count() -> None:
    model = random_model(Model(second=lambda h: h * 1e-14))
    assert visible_shares(model, [A])["a"] == 1.0  # it has a slope
    assert share_that_moves(model, A) == 0.0


def test_of_a_model_that_remembers_two_calls_are_compared() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        net.last = x
        return net.c(net.b(net.a(x)).detach() * 0)

    net = Net(forward, a=nn.Linear(4, 8), b=nn.Linear(8, 10), c=nn.Linear(10, 3))
    model = random_model(net)
    assert model.calls == 2 and visible_shares(model, [A])["a"] == 0.0


def test_a_forward_that_fails_on_a_part_counts_as_moving() -> None:
    def fails(h: Tensor) -> Tensor:
        if bool((h == 0).all()):
            raise ValueError
        return h.detach()

    single = GateGroup("b", 10, "unit", (*B.members[:2], Member("c.weight", 1, torch.arange(10)[:, None], "consumer")))
    model = random_model(Model(second=fails))
    assert visible_shares(model, [single])["b"] == 1.0


def test_weights_by_weight() -> None:
    group = GateGroup("c", 30, "weight", (Member("c.weight", -1, torch.arange(30)[:, None], "consumer"),))
    assert visible_shares(random_model(Model(second=first(4))), [group])["c"] == 12 / 30


def test_units_of_several_positions_count_with_any_of_them() -> None:
    pairs = GateGroup("b", 5, "unit", (Member("c.weight", 1, torch.arange(10).view(5, 2), "consumer"),))
    assert visible_shares(random_model(Model(second=first(3))), [pairs])["b"] == 2 / 5


def test_slopes_are_gradients_and_leave_nothing_behind() -> None:
    model = random_model(Model(second=first(4)))
    before = [parameter.clone() for parameter in model.model.parameters()]
    slopes = output_slopes(model, ["c.weight", "b.weight"])
    assert set(slopes) == {"b.weight", "c.weight"}
    assert (
        slopes["c.weight"].shape == (3, 10) and not slopes["c.weight"][:, 4:].any() and slopes["c.weight"][:, :4].all()
    )
    assert not slopes["b.weight"][4:].any()
    for parameter, old in zip(model.model.parameters(), before, strict=True):
        assert not parameter.requires_grad and parameter.grad is None and torch.equal(parameter, old)


def test_a_backward_that_fails_gives_no_slopes() -> None:
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, h: Tensor) -> Tensor:
            return h.clone()

        @staticmethod
        def backward(ctx: object, grad: Tensor) -> Tensor:
            raise ValueError("no derivative")

    model = random_model(Model(second=Fails.apply))
    assert output_slopes(model, ["b.weight"]) == {}
    assert visible_shares(model, [A])["a"] == 1.0  # by value


def test_whether_it_moves_is_known_after_the_first_part_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = random_model(Model()), list[nn.Module]()
    outputs = model.outputs
    monkeypatch.setattr(model, "outputs", lambda gated: calls.append(gated) or outputs(gated))
    assert moves(model, A)
    assert len(calls) == 1
