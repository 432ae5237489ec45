"""Whole experts of a mixture: gated where the router weighs each of them alone, refused in words where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.plan.plan import Plan
from lzero.plan.refusal import Reason
from lzero.tracing.gated_sums import Sum, gated_positions
from lzero.tracing.label import Slot

AssertExact = Callable[..., Plan]

EXPERTS, WIDTH, HIDDEN = 5, 8, 6
X = torch.randn(2, 3, WIDTH)


class Mixture(nn.Module):
    """Experts with weights [expert, in, out], routed by ``route`` and combined in the way that ``way`` names."""

    def __init__(self, route: Callable[[Tensor], Tensor], way: str = "sum", bias: bool = False) -> None:
        super().__init__()
        self.route, self.way, self.router = route, way, nn.Linear(WIDTH, EXPERTS)
        self.up = nn.Parameter(torch.randn(EXPERTS, WIDTH, HIDDEN))
        self.down = nn.Parameter(torch.randn(EXPERTS, HIDDEN, WIDTH))
        self.bias = nn.Parameter(torch.randn(EXPERTS, 1, WIDTH)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)
        weights = self.route(self.router(flat))  # [n, E]
        if self.way == "one einsum":
            h = F.gelu(torch.einsum("nd,edh->neh", flat, self.up)) * weights[..., None]
            return torch.einsum("neh,ehd->nd", h, self.down).view_as(x)
        h = F.gelu(torch.bmm(flat.expand(self.up.shape[0], -1, -1), self.up))
        h = torch.bmm(h, self.down)
        if self.bias is not None:
            h = h + self.bias
        if self.way == "einsum":
            return torch.einsum("ne,end->nd", weights, h).view_as(x)
        if self.way == "mean":
            return (h * weights.T[..., None]).mean(0).view_as(x)
        if self.way == "activation":
            return (h.cos() * weights.T[..., None]).sum(0).view_as(x)
        return (h * weights.T[..., None]).sum(0).view_as(x)


def chosen(scores: Tensor) -> Tensor:
    best, which = scores.topk(2, -1)
    return torch.zeros_like(scores).scatter(-1, which, best.softmax(-1))


def normalised(scores: Tensor) -> Tensor:
    return scores.sigmoid() / scores.sigmoid().sum(-1, keepdim=True)


EXACT: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": lambda: Mixture(torch.sigmoid),
    "unbounded": lambda: Mixture(lambda scores: scores),
    "softplus": lambda: Mixture(F.softplus),
    "sigmoid above a threshold": lambda: Mixture(lambda scores: scores.sigmoid() * (scores > 0)),
    "with biases": lambda: Mixture(torch.sigmoid, bias=True),
    "all in one product": lambda: Mixture(torch.sigmoid, "one einsum"),
    "combined by einsum": lambda: Mixture(torch.sigmoid, "einsum"),
    "combined by einsum, with biases": lambda: Mixture(torch.sigmoid, "einsum", bias=True),
}

REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "softmax": (lambda: Mixture(lambda scores: scores.softmax(-1)), "mixes all units of the dim (aten._softmax"),
    "the best two": (lambda: Mixture(chosen), "aten.topk"),
    "normalised sigmoids": (lambda: Mixture(normalised), "aten.sum"),
    "mean": (lambda: Mixture(torch.sigmoid, "mean"), "aten.mean"),
    "an activation after the experts": (lambda: Mixture(torch.sigmoid, "activation"), "aten.sum"),
}


def within(model: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), model, nn.Linear(WIDTH, 2))


@pytest.mark.parametrize("name", EXACT)
def test_experts_that_are_weighed_alone(name: str, assert_exact: AssertExact) -> None:
    plan = assert_exact(within(EXACT[name]()), X)
    (experts,) = (group for group in plan.groups if group.size == EXPERTS)
    dims = {member.tensor: (member.dim, member.role) for member in experts.members}
    assert dims["2.down"] == (0, "consumer")
    assert dims["2.up"] == dims["2.router.weight"] == (0, "producer")
    assert dims.get("2.bias", (0, "consumer")) == (0, "consumer")
    assert name == "all in one product" or any(group.size == HIDDEN for group in plan.groups)


@pytest.mark.parametrize("name", REFUSED)
def test_experts_that_depend_on_each_other(name: str, assert_exact: AssertExact) -> None:
    build, why = REFUSED[name]
    plan = assert_exact(within(build()), X)
    assert not [group for group in plan.groups if group.size == EXPERTS], str(plan)
    refused = [refusal for refusal in plan.refusals if refusal.size == EXPERTS]
    assert any("2.down" in refusal.tensors for refusal in refused)
    assert any(why in refusal.reason for refusal in refused), str(plan)
    assert any(group.size == HIDDEN for group in plan.groups)


SLOTS = (Slot("x", 0, 1, 3), Slot("w", 0, 4, 3), Slot("w", 1, 7, 2), Slot("b", 0, 9, 3))
TIED = np.array([0, 1, 2, 3, 1, 2, 3, 7, 8, 1, 2, 3])  # x, the rows of w and b are one class each
APART = np.arange(12)
FORBIDDEN = Reason("it is summed")


def way(*names: str) -> frozenset[str]:
    return frozenset(names)


@pytest.mark.parametrize(
    ("component", "ways", "expected"),
    [
        (TIED, [way("w")], [[4, 5, 6]]),
        (TIED, [way("b")], [[9, 10, 11]]),
        (TIED, [way("w", "b")], [[4, 5, 6], [9, 10, 11]]),
        (TIED, [way("other"), way("b")], [[9, 10, 11]]),  # the first way that can
        (TIED, [way("w", "other")], None),  # all of a way, or none
        (TIED, [way()], None),
        (TIED, [], None),
        (APART, [way("w"), way("b")], None),
        (
            np.array([0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 4, 5]),
            [way("w")],
            [[4, 5, 6]],
        ),  # columns too, in part
        (np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 9, 9, 9]), [way("w")], None),  # two dims could be meant
    ],
)
def test_slices_that_gate_a_sum(component: Any, ways: list[frozenset[str]], expected: Any) -> None:
    found = gated_positions(Sum(np.array([1, 2, 3]), tuple(ways), FORBIDDEN), SLOTS, component)
    given = None if found is None else sorted(labels.tolist() for labels in found)
    assert given == expected


def test_a_sum_over_what_is_fixed_is_gated_by_nothing() -> None:
    assert gated_positions(Sum(np.array([1, 0, 3]), (way("w"),), FORBIDDEN), SLOTS, TIED) is None


def test_units_that_add_up_without_a_slice_of_their_own_are_refused(assert_exact: AssertExact) -> None:
    class Tied(Mixture):
        def forward(self, x: Tensor) -> Any:
            h = torch.bmm(x.flatten(0, 1).expand(EXPERTS, -1, -1), self.up)
            return (h + 1).sum(0), h.sum(0)

    assert not [group for group in assert_exact(Tied(torch.sigmoid), X).groups if group.size == EXPERTS]
