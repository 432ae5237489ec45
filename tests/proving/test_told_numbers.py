"""What the uses of numbers tell: amounts that solve every equation, and the line of those that nothing solves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from traps import Net, X, mlp

from lzero.host.copies import private_copy
from lzero.proving.told_numbers import Told, told_numbers
from lzero.tracing.grouping import unit_groups
from lzero.tracing.tracer import trace


def told(model: nn.Module, inputs: Any = X) -> Told:
    spare = private_copy(model)
    seen = trace(spare, inputs)
    return told_numbers(unit_groups(seen, model, lambda members: None)[0], seen.uses, seen.classes, spare)


def followers(found: Told, group: str = "a") -> dict[str, int]:
    """What each number loses with a unit."""
    return {f"{n.name}{'' if n.place < 0 else n.place}": n.each for n in found.numbers.get(group, ())}


# What the forward does with 12 units, and what its numbers lose with each of what is a unit then.
SOLVED: dict[str, tuple[Callable[[Any, Tensor], Tensor], dict[str, int]]] = {
    "itself": (lambda net, h: h.view(-1, net.n), {"n": 1}),
    "a half": (lambda net, h: h.view(-1, net.twice // 2), {"twice": 2}),
    "a double": (lambda net, h: torch.cat([h, h], 1).view(-1, 2 * net.n)[:, :12], {"n": 1}),
    "one of two factors": (
        lambda net, h: h.view(-1, net.heads, net.width).relu().view(-1, net.heads * net.width), {"heads": 1}
    ),
    "a factor that is told later": (
        lambda net, h: h.view(-1, net.heads * net.width).view(-1, net.heads, net.width).flatten(1), {"heads": 1}
    ),
    "a difference": (lambda net, h: h.view(-1, net.n - net.answer + 7), {"n": 1}),
    "in a list": (lambda net, h: h.view(*net.shape), {"shape1": 1}),
    "nothing": (lambda net, h: h.view(len(h), -1), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", SOLVED)
def test_amounts(name: str) -> None:
    forward, expected = SOLVED[name]
    found = told(mlp(forward, n=12, twice=24, heads=4, width=3, answer=7, shape=[3, 12]))
    assert followers(found) == expected and not found.conflicts


def test_a_number_that_no_use_tells_of_is_unknown() -> None:
    found = told(mlp(lambda net, h: h.view(-1, net.n) * net.factor, n=12, factor=12))
    assert ("", "n") in found.known and ("", "factor") not in found.known


def test_one_number_takes_from_every_group_on_its_dim() -> None:
    model = Net(lambda net, x: net.c(torch.cat([net.a(x), net.b(x)], 1).view(-1, net.n)), {"n": 10},
                a=nn.Linear(5, 4), b=nn.Linear(5, 6), c=nn.Linear(10, 2))  # fmt: skip
    found = told(model)
    assert followers(found, "a") == followers(found, "b") == {"n": 1}


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda net, h: h.view(-1, net.n) + net.b(torch.ones(1, 12)).sum() + _other(net, h),
         "the forward takes self.n for the size of these units and of others"),
        (lambda net, h: h.view(-1, net.b.weight.shape[0] * 6), "a size that the forward takes from another tensor"),
    ],
)  # fmt: skip
def test_conflicts_name_the_line(forward: Callable[[Any, Tensor], Tensor], reason: str) -> None:
    found = told(mlp(forward, n=12))
    assert reason in found.conflicts["a"].text and "test_told_numbers.py:" in found.conflicts["a"].text
    assert "cached_sizes" in found.conflicts["a"].advice


def _other(net: Any, h: Tensor) -> Tensor:
    """The same number as the length of a dim that stays."""
    return net.b(h).repeat(1, 6).view(-1, net.n).sum()
