"""What is proposed as experts: by shape, beside what chooses; and what is said where that is not enough."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mixtures import BUILD, Listed, Network, Stacked
from torch import Tensor, nn

from lzero.plan.follower import Follower
from lzero.tracing.experts import Experts, experts_of
from lzero.tracing.tracer import trace


def proposed(model: nn.Module, wanted: Any = lambda path: True) -> list[Experts]:
    torch.manual_seed(0)
    return experts_of(model, trace(model.eval(), torch.randn(40, 4)), wanted)


EXPECTED = {
    "listed, top 2": [("layers.0.gate", 5, 5, True), ("layers.1.gate", 5, 5, True)],
    "listed, all of them": [("layers.0.gate", 5, 5, False)],
    "stacked, top 2": [("layers.0.router", 5, 0, False), ("layers.1.router", 4, 0, False)],
    "dense": [("layers.0.choice", 4, 0, False), ("layers.1.choice", 4, 0, False)],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_experts_stand_beside_what_chooses_them(name: str) -> None:
    found = [experts.readings[0] for experts in proposed(BUILD[name]())]
    assert [(g.name, g.size, len(g.blocks), g.router.sparse) for g in found if g.router] == EXPECTED[name]


def test_numbers_and_choices_are_those_of_their_names() -> None:
    (experts,) = proposed(Network(Stacked(experts=7, top=3)))
    group = experts.readings[0]
    names = {"layers.0.router": "n_routed_experts", "layers.0": "num_experts"}
    assert set(group.numbers) == {Follower(path, name, -1, 1) for path, name in names.items()}
    assert group.router is not None and group.router.chosen == (("layers.0.router", "top_k"),)
    tensors = {(m.tensor.removeprefix("layers.0."), m.dim) for m in group.members}
    assert tensors == {("router.weight", 0), ("router.bias", 0), ("up", 0), ("down", 0), ("shift", 0)}


def test_what_is_not_asked_for_is_not_proposed() -> None:
    model = BUILD["listed, top 2"]()
    assert [e.readings[0].name for e in proposed(model, lambda path: "1" in path)] == ["layers.1.gate"]


def test_alike_layers_without_a_choice_are_no_experts() -> None:
    assert not proposed(Network(*(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(4))))


class Lists(nn.Module):
    """The two halves of an expert in two lists."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(6, 3)
        self.up, self.down = (nn.ModuleList(nn.Linear(*s) for _ in range(3)) for s in ((6, 5), (5, 6)))

    def forward(self, x: Tensor) -> Tensor:
        shares = self.gate(x).softmax(-1)
        made = [down(torch.tanh(up(x))) for up, down in zip(self.up, self.down, strict=True)]
        return torch.stack([share[..., None] * one for share, one in zip(shares.unbind(-1), made, strict=True)]).sum(0)


class Corrected(Listed):
    """Choices by scores with a correction that weighs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("score_correction", torch.zeros(5))


class Grouped(Listed):
    """Choices among groups of experts first."""

    def __init__(self) -> None:
        super().__init__()
        self.n_group = 5


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Lists, "in several lists of modules"),
        (Corrected, "layers.0.score_correction is added to the scores"),
        (Grouped, r"layers.0 chooses among 5 groups of equally many experts \(n_group\)"),
    ],
)
def test_known_obstacles_are_named(layer: Any, reason: str) -> None:
    (experts,) = proposed(Network(layer()))
    assert experts.obstacle is not None
    with pytest.raises(ValueError, match=reason):
        raise ValueError(experts.obstacle.text)
    assert all(experts.obstacle is None for experts in proposed(BUILD["both"]()))
