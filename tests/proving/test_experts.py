"""Experts that are proved and such as are not: what a closed one may not be seen by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mixtures import BUILD, Expert, Network, Stacked
from torch import Tensor, nn

import lzero
from lzero.plan.group import GateGroup
from lzero.plan.plan import Plan


def discovered(model: nn.Module, **options: Any) -> Plan:
    torch.manual_seed(0)
    return lzero.discover(model, torch.randn(40, 4), **{"granularity": "experts", **options})


def experts_in(plan: Plan) -> list[GateGroup]:
    return [group for group in plan if group.kind == "expert"]


@pytest.mark.parametrize("name", ["both", "listed, top 1"])
def test_mixtures_are_proved_whole_and_nothing_is_said_against_them(name: str) -> None:
    model = BUILD[name]()
    plan = discovered(model)
    experts = experts_in(plan)
    assert len(experts) == len(model.layers)
    assert [refusal.name for refusal in plan.refusals] == ["first.input", "last"] or name != "both"
    assert not [r for r in plan.refusals if {*r.tensors} & {m.tensor for g in experts for m in g.members}]
    others = [group.name for group in discovered(BUILD[name](), granularity="unit")]
    assert [group.name for group in plan if group.kind != "expert"] == others


def test_experts_are_gated_where_they_are_asked_for() -> None:
    model = BUILD["both"]()
    asked = {"": "unit", "layers.1": "experts"}
    assert [group.name for group in experts_in(discovered(model, granularity=asked))] == ["layers.1.router"]
    plan = discovered(model, ignore=["layers.1.up", "layers.0.experts.2"])
    assert [group.name for group in experts_in(plan)] == ["layers.2.choice"]


class Mixture(nn.Module):
    """Weights of all experts by a function of their logits."""

    def __init__(self, weigh: Callable[[Any, Tensor], Tensor], experts: int = 5, **more: Any) -> None:
        super().__init__()
        self.weigh, self.num_experts = weigh, experts
        self.gate = nn.Linear(6, experts)
        self.experts = nn.ModuleList(Expert(6, 5) for _ in range(experts))
        for name, value in more.items():
            self.register_buffer(name, value) if isinstance(value, Tensor) else setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        made = torch.stack([expert(x) for expert in self.experts], -1)
        return (made * self.weigh(self, self.gate(x))[..., None, :]).sum(-1)


def top(scores: Tensor, by: Tensor, count: int) -> Tensor:
    """``scores`` of the ``count`` experts that come first ``by`` another."""
    return torch.zeros_like(scores).scatter(-1, by.topk(count, -1).indices, 1.0) * scores


SOUND: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "softmax": lambda m, x: x.softmax(-1),
    "sigmoid": lambda m, x: x.sigmoid(),
    "sigmoid of the first, renormalised": lambda m, x: nn.functional.normalize(top(x.sigmoid(), x, 1), p=1, dim=-1),
    "softmax at a temperature": lambda m, x: (x / 3).softmax(-1),
    "exp": lambda m, x: (x - x.logsumexp(-1, keepdim=True)).exp(),
    "divided by a number that stays": lambda m, x: x.softmax(-1) / m.num_experts,
}


@pytest.mark.parametrize("name", SOUND)
def test_what_weighs_a_closed_expert_by_nothing_is_proved(name: str) -> None:
    assert len(experts_in(discovered(Network(Mixture(SOUND[name]))))) == 1


UNSOUND: dict[str, tuple[Callable[[Any, Tensor], Tensor], dict[str, Any], str]] = {
    "as it is": (lambda m, x: x, {}, "NaN"),
    "tanh": (lambda m, x: x.tanh(), {}, "differ by"),
    "clamped": (lambda m, x: x.clamp(-2, 2).softmax(-1), {}, "differ by"),
    "the mean of their weights": (lambda m, x: x.sigmoid() / x.shape[-1], {}, "differ by"),
    "standardised": (lambda m, x: ((x - x.mean(-1, keepdim=True)) / 2).softmax(-1), {}, "NaN"),
    "with a correction": (
        lambda m, x: top(x.sigmoid(), x.sigmoid() + m.expert_bias / 20, m.top_k),
        {"expert_bias": torch.zeros(5), "top_k": 2},
        "layers.0.expert_bias is added to the scores",
    ),
    "with a correction downwards": (
        lambda m, x: top(x.sigmoid(), x.sigmoid() - m.load / 20, m.top_k),
        {"load": torch.zeros(5), "top_k": 2},
        "differ by",
    ),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_what_sees_a_closed_expert_all_the_same_is_refused(name: str) -> None:
    weigh, more, reason = UNSOUND[name]
    plan = discovered(Network(Mixture(weigh, **more)))
    assert not experts_in(plan)
    (refusal,) = [r for r in plan.refusals if r.size == 5 and "gate" in r.name]
    with pytest.raises(ValueError, match=reason):
        raise ValueError(refusal.reason)


class Hashed(Stacked):
    """What it gives is multiplied by the numbers of the experts that were chosen."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.router(x.reshape(-1, x.shape[-1]))[1].sum()


def test_experts_whose_numbers_are_computed_with_are_refused() -> None:
    assert not experts_in(discovered(Network(Hashed())))
