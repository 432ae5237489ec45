"""What makes a tensor zero: a product with a parameter's slice, however it is moved, and no longer once it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from tracing.rules.follow import follow

from lzero.tracing.rules import RULES
from lzero.tracing.rules.zeros import (
    with_a_batched_factor,
    with_a_factor,
    with_both_terms,
    with_self,
    with_term_and_batched_factor,
)

# Of x [3, 2, 5] and parameters w, v [3, 5, 4] and b [3, 1, 4]: the parameters that, all zero, make the result zero.
KEEPS: dict[str, tuple[Callable[..., Tensor], set[str]]] = {
    "nothing": (lambda x, w, v, b: x * 2, set()),
    "a batched product": (lambda x, w, v, b: torch.bmm(x, w), {"w"}),
    "of two products": (lambda x, w, v, b: torch.bmm(x, w) + torch.bmm(x, v), {"w", "v"}),
    "with a bias": (lambda x, w, v, b: torch.bmm(x, w) + b, {"w", "b"}),
    "with a bias taken away": (lambda x, w, v, b: torch.bmm(x, w) - b, {"w", "b"}),
    "with a bias in one op": (lambda x, w, v, b: torch.baddbmm(b, x, w), {"w", "b"}),
    "with a term that stays": (lambda x, w, v, b: torch.bmm(x, w) + x[..., :4], set()),
    "with a number": (lambda x, w, v, b: torch.bmm(x, w) + 1, set()),
    "times something": (lambda x, w, v, b: x[..., :4] * torch.bmm(x, w), {"w"}),
    "times a parameter": (lambda x, w, v, b: torch.bmm(x, w) * b, {"w"}),
    "moved": (lambda x, w, v, b: -torch.bmm(x, w).transpose(1, 2)[..., :1].permute(1, 0, 2).unsqueeze(-1) / 2, {"w"}),
    "reshaped and copied": (lambda x, w, v, b: torch.bmm(x, w).reshape(3, 8).clone().contiguous().double(), {"w"}),
    "summed elsewhere": (lambda x, w, v, b: torch.bmm(x, w).sum(1), {"w"}),
    "averaged elsewhere": (lambda x, w, v, b: torch.bmm(x, w).mean(1), {"w"}),
    "in another product": (lambda x, w, v, b: torch.bmm(torch.bmm(x, w), torch.ones(3, 4, 2)), {"w"}),
    "an activation": (lambda x, w, v, b: torch.bmm(x, w).relu(), set()),
    "a division by it": (lambda x, w, v, b: x[..., :4] / torch.bmm(x, w), set()),
    "a maximum": (lambda x, w, v, b: torch.bmm(x, w).amax(1), set()),
    "a softmax": (lambda x, w, v, b: torch.bmm(x, w).softmax(-1), set()),
    "overwritten": (lambda x, w, v, b: torch.bmm(x, w).fill_(1.0), set()),
    "added to in place": (lambda x, w, v, b: torch.bmm(x, w).add_(1.0), set()),
}


@pytest.mark.parametrize("name", KEEPS)
def test_what_makes_a_result_zero(name: str) -> None:
    op, expected = KEEPS[name]
    held: list[Tensor] = []

    def run(x: Tensor, **parameters: Tensor) -> Tensor:
        held.append(op(x, **parameters))
        return held[0]

    parameters = {"w": torch.randn(3, 5, 4), "v": torch.randn(3, 5, 4), "b": torch.randn(3, 1, 4)}
    followed = follow(run, (3, 2, 5), 0, **parameters)
    found = followed.table.find(held[0])
    assert found is not None and set(found.zeroing) == expected


@pytest.mark.parametrize("name", [name for name in KEEPS if KEEPS[name][1]])
def test_and_so_it_is_in_numbers(name: str) -> None:
    op, expected = KEEPS[name]
    tensors: dict[str, Any] = {"w": torch.randn(3, 5, 4), "v": torch.randn(3, 5, 4), "b": torch.randn(3, 1, 4)}
    zeroed = {key: torch.zeros_like(tensor) if key in expected else tensor for key, tensor in tensors.items()}
    x = torch.randn(3, 2, 5)
    assert not op(x, **zeroed).any()
    for missing in expected:
        assert op(x, **{**zeroed, missing: tensors[missing]}).any()


def test_every_way_is_used_by_a_rule() -> None:
    ways = {with_a_batched_factor, with_a_factor, with_both_terms, with_self, with_term_and_batched_factor}
    assert {rule.zeros for rule in RULES.values()} >= ways
