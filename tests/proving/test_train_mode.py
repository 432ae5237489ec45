"""Train mode by hand: PyTorch's own layers stay out of it, and random draws are noticed."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from proving.chains import A, Model, X
from torch import Tensor, nn

from lzero.host.copies import private_copy
from lzero.host.inputs import ExampleInputs
from lzero.proving.random_model import RandomModel
from lzero.proving.train_mode import Draws, train_by_hand
from lzero.proving.trial import why_not_exact

PENALTY = "in train mode purged and gated outputs differ by"


def random_model(model: nn.Module, **options: bool) -> RandomModel:
    return RandomModel(private_copy(model), ExampleInputs.of(X), **options)


class Penalised(Model):
    """What train mode returns beside."""

    def __init__(self, beside: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._beside = beside

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (self._beside(self.a(x)) if self.training else 0)


def test_layers_of_pytorch_stay_in_eval_mode() -> None:
    model = nn.Sequential(Model(), nn.Dropout(0.5), nn.BatchNorm1d(3))
    train_by_hand(model)
    assert model[0].training and not model[1].training and not model[2].training


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (lambda: torch.rand(()), True),
        (lambda: np.random.rand(), True),
        (random.random, True),
        (lambda: torch.zeros(()), False),
    ],
)
def test_draws_from_any_global_generator_are_noticed(drawn: Callable[[], object], expected: bool) -> None:
    class Draw(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            drawn()
            return x

    model = Draw()
    draws = Draws(model)
    model(torch.zeros(1))
    assert draws.any is expected


def test_a_penalty_in_train_mode_is_a_result() -> None:
    model = random_model(Penalised(lambda h: h.pow(2).mean()))
    assert model.trains_otherwise and not model.trains_more
    failure = why_not_exact(model, [A])
    assert failure is not None and failure.reason.text.startswith(PENALTY)
    assert not random_model(Penalised(lambda h: h.pow(2).mean()), train=False).trains_otherwise


def test_what_is_drawn_is_not_compared() -> None:
    model = random_model(Penalised(lambda h: h.pow(2).mean() * torch.rand(())))
    assert not model.trains_otherwise and why_not_exact(model, [A]) is None


def test_train_mode_that_gives_the_same_is_not_run() -> None:
    assert not random_model(Model()).trains_otherwise


def test_statistics_that_train_mode_moves_are_none_of_the_comparison() -> None:
    class Auxiliary(Model):
        """A head and a scale that train mode alone has, behind a norm with statistics."""

        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            y = self.norm(super().forward(x))
            return (2 * y, self.head(y)) if self.training else y

    model = random_model(Auxiliary())
    assert model.trains_more and model.trains_otherwise
    assert why_not_exact(model, [A]) is None
