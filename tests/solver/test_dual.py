"""Multipliers against updates written by hand, and what they refuse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lzero.errors import SolverError
from lzero.solver.dual import Multipliers, default_dual_lr

CPU, DOUBLE = torch.device("cpu"), torch.float64


def built(parts=2, **options):
    defaults = {"dual": "sgd", "lr": 0.1, "options": {}, "restarts": False, "two_sided": True, "augmentation": 0.0}
    return Multipliers(parts, CPU, **{**defaults, **options})


def put(multipliers, values):
    with torch.no_grad():
        multipliers.value.copy_(torch.tensor(values, dtype=DOUBLE))


class Sgd:
    def step(self, value, e):
        return value + 0.1 * e


class Momentum:
    def __init__(self):
        self.velocity = 0.0

    def step(self, value, e):
        self.velocity = 0.7 * self.velocity + e
        return value + 0.1 * self.velocity


class NuPi:
    """nuPI of Sohrabi et al. (arXiv 2406.04558), with a first step of plain ascent.

    After that step cooper has xi = 0, and not the first error as in its docstring: the second one is proportional.
    """

    def __init__(self, kp, ki, nu):
        self.kp, self.ki, self.nu, self.xi = kp, ki, nu, None

    def step(self, value, e):
        if self.xi is None:
            self.xi = 0.0
            return value + 0.1 * self.ki * e
        before, self.xi = self.xi, self.nu * self.xi + (1 - self.nu) * e
        return value + 0.1 * (self.ki * e + self.kp * (self.xi - before))


WRITTEN = {
    "sgd": ({}, Sgd),
    "momentum": ({"options": {"momentum": 0.7}}, Momentum),
    "nupi": ({"dual": "nupi"}, lambda: NuPi(1.0, 1.0, 0.0)),
    "nupi, gains": ({"dual": "nupi", "options": {"Kp": 2.0, "Ki": 0.5}}, lambda: NuPi(2.0, 0.5, 0.0)),
    "nupi, smoothed": ({"dual": "nupi", "options": {"ema_nu": 0.9}}, lambda: NuPi(1.0, 1.0, 0.9)),
}
ALL = pytest.mark.parametrize("name", WRITTEN)
VIOLATIONS = st.lists(st.tuples(*[st.sampled_from([-0.5, -0.1, 0.0, 0.25, 1.0])] * 2), min_size=1, max_size=12)


@ALL
@settings(max_examples=25, deadline=None)
@given(VIOLATIONS, st.booleans(), st.booleans())
def test_every_step_is_the_one_written_by_hand(name, violations, two_sided, restarts):
    options, make = WRITTEN[name]
    multipliers, written = built(**options, two_sided=two_sided, restarts=restarts), [make(), make()]
    expected = [0.0, 0.0]
    for violation in violations:
        multipliers.ascend(torch.tensor(violation, dtype=DOUBLE))
        for k, e in enumerate(violation):
            expected[k] = written[k].step(expected[k], e)
            if not two_sided:
                expected[k] = max(expected[k], 0.0)
            if restarts and expected[k] * e < 0:
                expected[k] = 0.0
        assert multipliers.value.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_a_restart_comes_where_the_signs_disagree_and_not_at_a_budget_met_to_the_bit():
    multipliers = built(4, restarts=True, lr=0.01)
    put(multipliers, [0.5, -0.5, 0.5, 0.5])
    multipliers.ascend(torch.tensor([-0.1, 0.1, 0.0, 0.1], dtype=DOUBLE))
    assert multipliers.value.tolist() == [0, 0, 0.5, pytest.approx(0.501)]


@ALL
@pytest.mark.parametrize("augmentation", [0.0, 0.5])
def test_the_force_is_lambda_and_with_augmentation_the_violation_beside_it(name, augmentation):
    violation = torch.tensor([0.4, -2.0], dtype=DOUBLE)
    for two_sided in (True, False):
        multipliers = built(**WRITTEN[name][0], two_sided=two_sided, augmentation=augmentation)
        put(multipliers, [0.3, 0.7])
        assert multipliers.augmented == (augmentation > 0)
        assert multipliers.force().tolist() == [0.3, 0.7]
        expected = [0.3 + augmentation * 0.4, 0.7 - augmentation * 2.0]
        expected = expected if two_sided else [max(value, 0.0) for value in expected]
        assert multipliers.force(violation).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_step_that_does_not_count_changes_nothing(restarts):
    multipliers = built(restarts=restarts)
    assert multipliers.immediate
    put(multipliers, [0.5, -0.25])
    multipliers.ascend(torch.tensor([-3.0, 3.0], dtype=DOUBLE), torch.tensor(False))
    assert multipliers.value.tolist() == [0.5, -0.25]
    multipliers.ascend(torch.tensor([1.0, -1.0], dtype=DOUBLE), torch.tensor(True))
    assert multipliers.value.tolist() == [pytest.approx(0.6), pytest.approx(-0.35)]


@ALL
def test_only_plain_ascent_is_without_memory(name):
    assert built(**WRITTEN[name][0]).immediate == (name == "sgd")
    assert not built(options={"weight_decay": 0.1}).immediate


@ALL
def test_it_goes_on_from_its_tensors(name):
    options = WRITTEN[name][0]
    whole, resumed = built(**options), built(**options)
    errors = torch.randn(20, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    for e in errors[:10]:
        whole.ascend(e)
    saved = {key: tensor.detach().clone() for key, tensor in whole.tensors().items()}
    resumed.ascend(errors[0])  # what it had is replaced
    resumed.restore(saved)
    for e in errors[10:]:
        whole.ascend(e)
        resumed.ascend(e)
    assert torch.equal(whole.value, resumed.value)
    memory = {"sgd": [], "momentum": ["dual.momentum_buffer"]}.get(name, ["dual.xi"])
    assert list(saved) == ["multipliers", *memory]
    assert whole.tensors()["multipliers"] is whole.value


def test_restoring_copies():
    multipliers, saved = built(options={"momentum": 0.5}), {"multipliers": torch.ones(2, dtype=DOUBLE)}
    saved["dual.momentum_buffer"] = torch.ones(2, dtype=DOUBLE)
    multipliers.restore(saved)
    multipliers.ascend(torch.ones(2, dtype=DOUBLE))
    assert all(tensor.tolist() == [1, 1] for tensor in saved.values())
    multipliers.restore({"multipliers": saved["multipliers"]})  # the memory of a dual optimizer may begin anew
    assert set(multipliers.tensors()) == {"multipliers"}


RATES = [(1, 0.15), (133, 0.15), (200, 0.1), (1000, 0.02), (2000, 0.01), (10**6, 0.01)]


@pytest.mark.parametrize(("steps", "lr"), RATES)
def test_the_default_step_is_twenty_over_the_steps_within_bounds(steps, lr):
    assert default_dual_lr(steps) == pytest.approx(lr, rel=5e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dual": "adam"}, "^dual: expected one of 'sgd', 'nupi', found 'adam'$"),
        ({"lr": 0}, "^dual_lr: expected a positive number, found 0$"),
        ({"lr": math.inf}, "^dual_lr: expected a positive number, found inf$"),
        ({"augmentation": -1}, "^augmentation: expected a finite number >= 0, found -1$"),
        ({"options": [1]}, r"^dual_options: expected a mapping of arguments of sgd, found \[1\]$"),
        ({"options": {"Kq": 1}}, "^dual_options: sgd does not take {'Kq': 1}: "),
        ({"options": {"momentum": -1}}, "^dual_options: sgd does not take {'momentum': -1}: "),
        ({"dual": "nupi", "options": {"ema_nu": 2}}, "^dual_options: nupi does not take {'ema_nu': 2}: "),
        ({"dual": "nupi", "options": {"Kp": "x"}}, "^dual_options: nupi does not take {'Kp': 'x'}: "),
    ],
)
def test_what_makes_no_ascent_is_refused(options, message):
    with pytest.raises(SolverError, match=message):
        built(**options)
