"""Hard-concrete gates against scipy, quadrature, Monte Carlo, autograd and finite differences."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from lzero.errors import StructureError
from lzero.gates.hard_concrete import HardConcrete

ESTIMATORS = [HardConcrete(), HardConcrete(temperature=0.4, gamma=-0.3, zeta=1.2)]
LOG_ALPHAS = torch.tensor([-6.0, -1.7, -1.5, 0.0, 0.8, 3.0, 7.0], dtype=torch.float64)


def gate(estimator, log_alpha, noise):
    """z by the paper's formula, in numpy."""
    s = 1 / (1 + np.exp(-(noise + log_alpha) / estimator.temperature))
    return np.clip(s * (estimator.zeta - estimator.gamma) + estimator.gamma, 0, 1)


@pytest.fixture(params=ESTIMATORS, ids=["defaults", "others"])
def estimator(request):
    return request.param


def test_the_sample_is_the_papers_formula(estimator):
    noise = torch.tensor(stats.logistic.ppf(np.linspace(0.001, 0.999, 101)))
    z, _ = estimator.sample(LOG_ALPHAS[:, None], noise)
    assert np.allclose(z, gate(estimator, LOG_ALPHAS[:, None].numpy(), noise.numpy()), rtol=0, atol=1e-14)
    assert (z == 0).any() and (z == 1).any() and ((z > 0) & (z < 1)).any()


def test_the_probability_is_the_logistic_tail_beyond_the_clamp(estimator):
    edge = estimator.temperature * math.log(-estimator.gamma / estimator.zeta)  # of the noise plus log_alpha
    expected = stats.logistic.sf(edge - LOG_ALPHAS.numpy())
    assert np.allclose(estimator.probability(LOG_ALPHAS), expected, rtol=0, atol=1e-14)


def test_the_probability_slope_is_its_derivative(estimator):
    log_alpha = LOG_ALPHAS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(estimator.probability(log_alpha).sum(), log_alpha)
    assert torch.allclose(estimator.probability_slope(LOG_ALPHAS), slope, rtol=1e-12, atol=0)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
def test_the_quantile_is_the_gate_at_the_noises_quantile(estimator, level):
    expected = gate(estimator, LOG_ALPHAS.numpy(), stats.logistic.ppf(level))
    assert np.allclose(estimator.quantile(LOG_ALPHAS, level), expected, rtol=0, atol=1e-13)
    assert torch.equal(estimator.median(LOG_ALPHAS), estimator.quantile(LOG_ALPHAS, 0.5))


@pytest.mark.parametrize("log_alpha", [-12.0, -6.0, -1.6, 0.0, 0.8, 3.0, 12.0])
def test_the_mean_is_the_integral_over_the_noise(log_alpha):
    estimator = HardConcrete()

    def stretched(u):
        return gate(estimator, log_alpha, stats.logistic.ppf(u))

    edges = [0.0, *sorted(stats.logistic.cdf(estimator.temperature * math.log(r) - log_alpha) for r in (1 / 11, 11)), 1]
    expected = sum(integrate.quad(stretched, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(edges))
    assert float(estimator.mean(torch.tensor(log_alpha, dtype=torch.float64))) == pytest.approx(expected, abs=1e-10)


def test_sampled_means_and_probabilities_agree_with_the_closed_forms(estimator):
    torch.manual_seed(0)
    draws = 40_000
    like = LOG_ALPHAS.expand(draws, -1)
    z, _ = estimator.sample(like, estimator.noise(like))
    mean, probability = estimator.mean(LOG_ALPHAS), estimator.probability(LOG_ALPHAS)
    error = z.std(0) / draws**0.5
    assert ((z.mean(0) - mean).abs() / error < 4).all()
    spread = (probability * (1 - probability) / draws).sqrt()
    assert (((z != 0).double().mean(0) - probability).abs() / spread < 4).all()


def test_the_noise_is_logistic():
    torch.manual_seed(0)
    noise = HardConcrete().noise(torch.empty(20_000, dtype=torch.float64))
    assert stats.kstest(noise.numpy(), "logistic").pvalue > 1e-3


def test_the_slope_is_autograds_and_the_difference_quotient(estimator):
    torch.manual_seed(1)
    log_alpha = torch.randn(500, dtype=torch.float64).mul(2).requires_grad_()
    noise = estimator.noise(log_alpha.detach())
    z, slope = estimator.sample(log_alpha, noise)
    (autograd,) = torch.autograd.grad(z.sum(), log_alpha)
    assert torch.allclose(slope.detach(), autograd, rtol=1e-12, atol=0)
    step = 1e-6
    up, down = (gate(estimator, log_alpha.detach().numpy() + d, noise.numpy()) for d in (step, -step))
    smooth = (up > 0) & (up < 1) & (down > 0) & (down < 1)
    assert smooth.sum() > 50
    assert np.allclose(((up - down) / (2 * step))[smooth], slope.detach().numpy()[smooth], atol=1e-7)
    assert (slope[(z == 0) | (z == 1)] == 0).all()


@settings(max_examples=200, deadline=None)
@given(st.floats(-10, 10), st.floats(0.05, 0.95))
def test_the_median_is_zero_exactly_where_the_probability_is_at_most_half(log_alpha, level):
    estimator = HardConcrete()
    at = torch.tensor(log_alpha, dtype=torch.float64)
    if abs(log_alpha - estimator.initial(0.5)[0]) > 1e-9:  # nearer than that rounding decides
        assert bool(estimator.median(at) == 0) == bool(estimator.probability(at) <= 0.5)
    if abs(log_alpha - estimator.initial(1 - level)[0]) > 1e-9:
        assert bool(estimator.quantile(at, level) == 0) == bool(estimator.probability(at) <= 1 - level)


def test_the_threshold_has_the_value_of_the_paper():
    assert HardConcrete().initial(0.5)[0] == pytest.approx(-1.5986, abs=1e-4)


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-6, 1 - 1e-6))
def test_log_alpha_inverts_the_probability(probability):
    estimator = HardConcrete()
    at = torch.tensor(estimator.initial(probability)[0], dtype=torch.float64)
    assert float(estimator.probability(at)) == pytest.approx(probability, rel=1e-9)


def test_extreme_noise_stays_finite():
    estimator = HardConcrete()
    z, slope = estimator.sample(torch.zeros(2), torch.tensor([-math.inf, math.inf]))
    assert z.tolist() == [0, 1] and slope.tolist() == [0, 0]
    z, slope = estimator.sample(torch.tensor([-1e4, 1e4]), torch.zeros(2))
    assert z.tolist() == [0, 1] and slope.tolist() == [0, 0]


def test_the_mean_is_not_rounded_under_autocast():
    log_alpha = torch.linspace(-3, 3, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = HardConcrete().mean(log_alpha)
    assert torch.equal(inside, HardConcrete().mean(log_alpha))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": 0}, "temperature: expected a number > 0, found 0"),
        ({"temperature": math.nan}, "temperature: expected a number > 0, found nan"),
        ({"temperature": True}, "temperature: expected a number > 0, found True"),
        ({"gamma": 0.1}, r"gamma: expected a number < 0, found 0\.1"),
        ({"zeta": 1.0}, r"zeta: expected a number > 1, found 1\.0"),
        ({"zeta": "1.1"}, r"zeta: expected a number > 1, found '1\.1'"),
        ({"evaluate": "mode"}, "evaluate: expected one of 'mean', 'median', found 'mode'"),
    ],
)
def test_constants_out_of_range_are_refused(wrong, message):
    with pytest.raises(StructureError, match=f"HardConcrete: {message}"):
        HardConcrete(**wrong)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.4, "gamma": -0.2, "zeta": 1.3}])
def test_an_open_gate_in_evaluation_is_its_mean_or_its_median(options):
    leaf = torch.linspace(-4, 4, 33, dtype=torch.float64, requires_grad=True)
    for evaluate in ("mean", "median"):
        estimator = HardConcrete(evaluate=evaluate, **options)
        value = getattr(estimator, evaluate)(leaf)
        z, slope = estimator.evaluation(leaf.detach())
        assert torch.equal(z, value.detach())
        (expected,) = torch.autograd.grad(value.sum(), leaf)
        assert torch.allclose(slope, expected, rtol=1e-10, atol=1e-12)


def test_means_of_many_gates_are_computed_in_pieces():
    many = torch.linspace(-5, 5, 2**16 + 7, dtype=torch.float64)
    assert torch.equal(HardConcrete().mean(many)[-9:], HardConcrete().mean(many[-9:]))


@pytest.mark.parametrize("wrong", [0, 1, -0.5, 2, math.nan, "0.5", None])
def test_open_probabilities_out_of_range_are_refused(wrong):
    with pytest.raises(StructureError, match=r"open_probability: expected a number in \(0, 1\), found"):
        HardConcrete().initial(wrong)[0]


@pytest.mark.parametrize("wrong", [0.0, 1.0, math.nan])
def test_levels_out_of_range_are_refused(wrong):
    with pytest.raises(StructureError, match=r"level: expected a number in \(0, 1\)"):
        HardConcrete().quantile(torch.zeros(1), wrong)
