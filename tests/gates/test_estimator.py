"""What every estimator offers, and the helpers that they share."""

import math

import pytest
import torch

from lzero.errors import StructureError
from lzero.gates import AR, ARM, Deterministic, HardConcrete, LogNormal, Mask, StraightThrough
from lzero.gates.estimator import exact, logit
from lzero.gates.segments import MANY_GATES

DOUBLE = torch.float64
ESTIMATORS = [
    HardConcrete(),
    StraightThrough(),
    AR(),
    ARM(),
    ARM(2.0, "hard_sigmoid"),
    LogNormal(),
    Deterministic(),
    Deterministic(0.6, 0.2).at(0.3),
    Deterministic(count="logistic"),
    Mask(),
]
ALL = pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)


def parameters(estimator, gates=6, dtype=DOUBLE):
    torch.manual_seed(0)
    values = 0.2 * torch.randn(estimator.coordinates, gates, dtype=dtype)
    return values if estimator.coordinates > 1 else values[0]


@ALL
def test_everything_has_the_shape_of_the_gates_and_slopes_that_of_the_parameters(estimator):
    log_alpha = parameters(estimator)
    for batch in ((), (4,)):
        noise = estimator.noise(torch.empty(*batch, 6, dtype=DOUBLE))
        z, slope = estimator.sample(log_alpha, noise)
        leading = (estimator.coordinates,) if estimator.coordinates > 1 else ()
        assert noise.shape == z.shape == (*batch, 6) and slope.shape == (*leading, *batch, 6)
    z, slope = estimator.evaluation(log_alpha)
    assert z.shape == estimator.mean(log_alpha).shape == estimator.probability(log_alpha).shape == (6,)
    assert slope.shape == estimator.probability_slope(log_alpha).shape == log_alpha.shape


@ALL
def test_the_slope_of_the_probability_is_autograds_with_and_without_the_probability(estimator):
    leaf = parameters(estimator).requires_grad_()
    (expected,) = torch.autograd.grad(estimator.probability(leaf).sum(), leaf)
    torch.testing.assert_close(estimator.probability_slope(leaf.detach()), expected, rtol=1e-9, atol=1e-12)
    p, slope = estimator.probability_with_slope(leaf)
    assert not p.requires_grad and not slope.requires_grad
    torch.testing.assert_close(p, estimator.probability(leaf.detach()))
    torch.testing.assert_close(slope, expected, rtol=1e-9, atol=1e-12)


@ALL
def test_the_probability_with_its_slope_is_not_rounded_to_the_parameters_precision(estimator):
    single = parameters(estimator, dtype=torch.float32)
    found = estimator.probability_with_slope(single)
    expected = estimator.probability_with_slope(single.double())
    assert all(a.dtype is DOUBLE and torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@ALL
@pytest.mark.parametrize("probability", [0.3, 0.5, 0.9])
def test_a_training_begins_at_the_probability_that_was_asked_for(estimator, probability):
    start = torch.tensor(estimator.initial(probability), dtype=DOUBLE)[:, None]
    found = estimator.at(0.0).probability(start if estimator.coordinates > 1 else start[0])
    assert len(start) == estimator.coordinates and float(found) == pytest.approx(probability, abs=1e-9)


@ALL
def test_a_rank_rises_with_the_probability_and_is_it_unless_it_says_so(estimator):
    log_alpha = parameters(estimator)
    rank, p = estimator.rank(log_alpha), estimator.probability(log_alpha)
    assert (rank >= 0).all() and (rank <= 1).all() and not ((p[:, None] > p) & (rank[:, None] < rank)).any()
    assert estimator.apart or torch.equal(rank, p)


@ALL
def test_at_the_end_of_a_training_an_estimator_is_what_was_attached(estimator):
    end = estimator.at(0.25).at(1.0)
    assert end == estimator.at(1.0) and end.rank(parameters(estimator)).equal(estimator.rank(parameters(estimator)))
    assert estimator.at(0.5) is estimator or estimator.apart


@ALL
def test_opposite_noise_is_as_far_from_the_other_end_and_opposite_again_what_it_was(estimator):
    levels = torch.tensor([0.125, 0.25, 0.5, 0.875])
    logistic = isinstance(estimator, HardConcrete)
    noise, expected = (levels.logit(), (1 - levels).logit()) if logistic else (levels, 1 - levels)
    torch.testing.assert_close(estimator.opposite(noise), expected)
    assert torch.equal(estimator.opposite(estimator.opposite(noise)), noise)


@ALL
def test_only_those_that_need_losses_have_a_score(estimator):
    log_alpha = parameters(estimator)
    noise = torch.rand(6, dtype=DOUBLE)
    score = estimator.score(log_alpha, noise, 2.0, 1.0)
    assert score.shape == log_alpha.shape and bool(score.any()) == bool(estimator.losses)


def test_noise_is_uniform_and_from_the_default_generator():
    torch.manual_seed(4)
    found = AR().noise(torch.empty(2, 3))
    torch.manual_seed(4)
    assert torch.equal(found, torch.rand(2, 3))


def test_exact_parameters_are_double_up_to_as_many_gates_as_round_out():
    few, many = torch.zeros(2, MANY_GATES, requires_grad=True), torch.zeros(MANY_GATES + 1, requires_grad=True)
    assert exact(few).dtype is DOUBLE and exact(many).dtype is torch.float32
    assert not exact(many).requires_grad and exact(many).data_ptr() == many.data_ptr()


@pytest.mark.parametrize("p", [1e-300, 1e-9, 0.3, 0.5, 1 - 1e-9])
def test_the_logit_inverts_the_sigmoid(p):
    value = logit(p)
    assert 1 / (1 + math.exp(-value)) == pytest.approx(p, rel=1e-12)
    assert logit(0.5) == 0 and logit(0.25) == -logit(0.75)


@pytest.mark.parametrize("wrong", [0, 1, -0.1, 1.5, math.nan, math.inf, True, "0.5", None, 1j])
def test_what_is_no_probability_has_no_logit(wrong):
    with pytest.raises(StructureError, match=r"open_probability: expected a number in \(0, 1\), found"):
        logit(wrong)
