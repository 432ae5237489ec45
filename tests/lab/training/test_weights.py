"""The weights of a training: optimizers, schedules and running means."""

import pytest
import torch
from torch import nn

from lzero_lab.errors import DataError
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.weights import SCHEDULES, ExponentialMovingAverage, optimizer, rate_factor


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", {0: 1, 119: 1, 120: 1, 160: 0.5, 190: 0.125}),
        ("cosine", {0: 1, 50: 0.8535534, 100: 0.5, 150: 0.1464466}),
        ("drops", {0: 1, 59: 1, 60: 0.2, 119: 0.2, 120: 0.04, 160: 0.008, 199: 0.008}),
    ],
)
def test_the_factor_at_steps_of_200(schedule, expected):
    assert {step: rate_factor(schedule, step, 200, 0.4) for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_it_begins_at_1_and_never_rises(schedule, steps):
    factors = [rate_factor(schedule, step, steps, 0.4) for step in range(steps)]
    assert factors[0] == 1 and min(factors) > 0
    assert factors == sorted(factors, reverse=True)


def test_an_unknown_schedule_lists_the_known():
    with pytest.raises(DataError, match="expected one of linear, cosine, drops, found 'steps'"):
        rate_factor("steps", 0, 1, 0.4)


@pytest.mark.parametrize(
    ("recipe", "kind", "momentum"),
    [
        (Recipe(lr=0.01, weight_decay=0.1), torch.optim.Adam, None),
        (Recipe(optimizer="sgd", lr=0.01, weight_decay=0.1), torch.optim.SGD, (0.9, False)),
        (Recipe(optimizer="sgd", lr=0.01, weight_decay=0.1, nesterov=True), torch.optim.SGD, (0.9, True)),
    ],
)
def test_the_optimizer_is_the_recipes(recipe, kind, momentum):
    model = nn.Linear(2, 3)
    made = optimizer(recipe, model)
    (group,) = made.param_groups
    assert type(made) is kind and group["params"] == list(model.parameters())
    assert (group["lr"], group["weight_decay"]) == (0.01, 0.1)
    assert momentum is None or (group["momentum"], group["nesterov"]) == momentum


def walk(average, parameter, values):
    for value in values:
        parameter.data.fill_(value)
        average.update()


def test_the_mean_follows_faster_at_first():
    parameter = nn.Parameter(torch.zeros(2))
    average = ExponentialMovingAverage([parameter], decay=0.3)
    walk(average, parameter, (1.0, 2.0, 4.0, 4.0))
    mean = 0.0
    for step, value in enumerate((1.0, 2.0, 4.0, 4.0)):
        decay = min(0.3, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * value
    torch.testing.assert_close(average.values[0], torch.full((2,), mean))


def test_within_the_context_parameters_hold_their_means():
    parameter = nn.Parameter(torch.zeros(2))
    average = ExponentialMovingAverage([parameter], decay=0.9)
    walk(average, parameter, (1.0, 3.0))
    with pytest.raises(RuntimeError, match="inside"), average.active():
        assert parameter.equal(average.values[0]) and not parameter.equal(torch.full((2,), 3.0))
        raise RuntimeError("inside")
    assert parameter.equal(torch.full((2,), 3.0))


def test_a_loaded_mean_goes_on_to_the_same_values():
    parameter = nn.Parameter(torch.zeros(2))
    one, other = (ExponentialMovingAverage([parameter], decay=0.9) for _ in range(2))
    walk(one, parameter, (1.0, 3.0))
    other.load([value.clone() for value in one.values], 2)
    parameter.data.fill_(5.0)
    one.update(), other.update()
    assert one.values[0].equal(other.values[0])


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_the_highest_rates_of_a_recipe_are_taken_by_the_optimizer(name):
    layer = nn.Linear(3, 2)
    highest = optimizer(Recipe(optimizer=name, lr=1e30, weight_decay=1e30), layer)
    for _ in range(2):
        layer(torch.randn(4, 3)).sum().backward()
        highest.step()  # higher ones end in an error of PyTorch's own
