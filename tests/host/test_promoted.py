"""Forwards that cast to less, without the rounding."""

from __future__ import annotations

import torch

from lzero.host.promoted import Promoted

X = torch.rand(5, 4, dtype=torch.float64)


def test_casts_and_constants_of_less_are_float64() -> None:
    with Promoted() as promoted:
        made = [X.float(), X.to(torch.bfloat16), X.softmax(-1, dtype=torch.float32), X.sum(0, dtype=torch.float32),
                torch.zeros(3, dtype=torch.float32), X.half() @ X.half().T]  # fmt: skip
    assert {tensor.dtype for tensor in made} == {torch.float64}
    assert torch.equal(made[0], X) and torch.equal(made[-1], X @ X.T)
    assert promoted.asked == {torch.float32, torch.bfloat16, torch.float16}


def test_what_asks_for_nothing_less_is_as_it_was() -> None:
    with Promoted() as promoted:
        made = (X.long(), X.bool(), X.double(), X + 1)
    assert [tensor.dtype for tensor in made] == [torch.int64, torch.bool, torch.float64, torch.float64]
    assert promoted.asked == set()


def test_gradients_flow_through_what_was_cast() -> None:
    leaf = X.clone().requires_grad_()
    with Promoted():
        (leaf.float() * 3).sum().backward()
    assert leaf.grad is not None and torch.equal(leaf.grad, torch.full_like(X, 3))
