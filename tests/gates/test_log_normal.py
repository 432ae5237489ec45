"""Log-normal gates against quadrature, 60-digit arithmetic, Monte Carlo and difference quotients."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from lzero.errors import StructureError
from lzero.gates.log_normal import LogNormal

LOW, HIGH = -20.0, 0.0
MUS = [-25.0, -20.01, -20.0, -19.9, -15.0, -10.0, -9.99, -3.0, -0.1, -0.001, 0.0, 0.001, 0.1, 1.0, 5.0, 10.0]
LOG_SIGMAS = [-8.0, -6.5, -5.0, -3.0, -1.5, -0.5, 0.0, 0.7, 1.5, 2.5, 4.0]
GRID = list(itertools.product(MUS, LOG_SIGMAS))
GATES = torch.tensor(GRID, dtype=torch.float64).T  # [2, G]
SUMS = ["mean", "second_moment", "probability", "divergence"]


def quadrature(mu, log_sigma):
    """E[theta], E[theta^2], SNR and KL by integrating the density of t over where it is not negligible."""
    sigma = math.exp(log_sigma)
    mode = min(max(mu, LOW), HIGH)
    slope = abs(mode - mu) / sigma**2  # of the log-density at the end of the interval
    reach = 240 / (slope + math.sqrt(slope**2 + 240 / sigma**2))  # the density has fallen by exp(-120)
    edges = np.linspace(max(LOW, mode - reach), min(HIGH, mode + reach), 41)

    def integral(f):
        return sum(integrate.fixed_quad(f, a, b, n=20)[0] for a, b in itertools.pairwise(edges))

    def log_density(t):
        return (mode - t) * (t + mode - 2 * mu) / (2 * sigma**2)

    def weight(t):
        return np.exp(log_density(t))

    mass = integral(weight)
    rise = integral(lambda t: np.expm1(t - mode) * weight(t)) / mass
    spread = integral(lambda t: (np.expm1(t - mode) - rise) ** 2 * weight(t)) / mass
    mean = math.exp(mode) * (1 + rise)
    entropy = math.log(mass) - integral(lambda t: log_density(t) * weight(t)) / mass
    return mean, mean**2 + math.exp(2 * mode) * spread, (1 + rise) / math.sqrt(spread), math.log(HIGH - LOW) - entropy


def exact(mu, log_sigma):
    """The closed forms of the paper, in mpmath's precision: what ``SUMS`` names."""
    mu, sigma = mpmath.mpf(mu), mpmath.exp(mpmath.mpf(log_sigma))
    alpha, beta = (LOW - mu) / sigma, (HIGH - mu) / sigma

    def between(a, b):
        root = mpmath.sqrt(2)
        if b < 0:
            a, b = -b, -a
        return (mpmath.erfc(a / root) - mpmath.erfc(b / root)) / 2

    mass = between(alpha, beta)
    first, second = (
        mpmath.exp(m * mu + (m * sigma) ** 2 / 2) * between(alpha - m * sigma, beta - m * sigma) / mass for m in (1, 2)
    )
    tails = (alpha * mpmath.npdf(alpha) - beta * mpmath.npdf(beta)) / (2 * mass)
    divergence = mpmath.log((HIGH - LOW) / sigma) - mpmath.log(2 * mpmath.pi * mpmath.e) / 2 - mpmath.log(mass) - tails
    return first, second, first**2 / second, divergence


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_agree_with_quadrature_in_and_outside_the_interval(dtype):
    estimator, gates = LogNormal(), GATES.to(dtype)
    expected = np.array([quadrature(*gate) for gate in gates.double().T.tolist()]).T
    rel = 1e-7 if dtype == torch.float64 else 1e-6
    for name, values in zip(["mean", "second_moment", "snr", "divergence"], expected, strict=True):
        found = getattr(estimator, name)(gates)
        assert found.dtype == dtype
        assert np.allclose(found.double(), values, rtol=rel, atol=1e-6 if name == "divergence" else 0), name
    ratio = expected[0] ** 2 / expected[1]
    assert np.allclose(estimator.probability(gates).double(), ratio, rtol=rel, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_agree_with_difference_quotients_in_60_digits(dtype):
    estimator = LogNormal()
    gates = GATES.to(dtype)
    slopes = np.empty((len(SUMS), *gates.shape))
    values = np.empty((len(SUMS), gates.shape[1]))
    with mpmath.workdps(60):
        h = mpmath.mpf(10) ** -20
        for g, (mu, log_sigma) in enumerate(gates.double().T.tolist()):
            values[:, g] = [float(value) for value in exact(mu, log_sigma)]
            moved = [(exact(mu + h, log_sigma), exact(mu - h, log_sigma))]
            moved.append((exact(mu, log_sigma + h), exact(mu, log_sigma - h)))
            for c, (up, down) in enumerate(moved):
                slopes[:, c, g] = [float((u - d) / (2 * h)) for u, d in zip(up, down, strict=True)]
    for name, value, slope in zip(SUMS, values, slopes, strict=True):
        gate = gates.clone().requires_grad_()
        getattr(estimator, name)(gate).sum().backward()
        scale = np.abs(slope) + (1.0 if name == "divergence" else value)
        error = np.abs(gate.grad.double().numpy() - slope) / scale
        assert error.max() < (1e-9 if dtype == torch.float64 else 2e-7), name
    assert torch.equal(estimator.evaluation(gates)[0], estimator.mean(gates))
    assert not estimator.probability_slope(gate).requires_grad


@pytest.mark.parametrize("name", ["mean", "probability"])
def test_the_slopes_without_a_graph_are_those_of_autograd(name):
    estimator, gates = LogNormal(), GATES.clone().requires_grad_()
    getattr(estimator, name)(gates).sum().backward()
    found = estimator.evaluation(GATES)[1] if name == "mean" else estimator.probability_slope(GATES)
    assert found.shape == (2, GATES.shape[1]) and torch.equal(found, gates.grad)


def test_the_probability_exceeds_one_half_exactly_where_the_snr_exceeds_one():
    log_sigma = torch.linspace(-3, 4, 5001, dtype=torch.float64)
    for mu in (-22.0, -12.0, -5.0, -0.5, 0.0, 3.0):
        gates = torch.stack([torch.full_like(log_sigma, mu), log_sigma])
        assert torch.equal(LogNormal().probability(gates) > 0.5, LogNormal().snr(gates) > 1)


def test_samples_are_the_quantiles_of_the_truncated_normal():
    levels = torch.tensor([0.01, 0.2, 0.5, 0.77, 0.999], dtype=torch.float64)[:, None]
    mild = [(mu, s) for mu, s in GRID if -21 <= mu <= 1 and s >= -1.5]  # where scipy's is accurate
    gates = torch.tensor(mild, dtype=torch.float64).T
    found, _ = LogNormal().sample(gates, levels.expand(-1, len(mild)))
    mu, sigma = gates[0].numpy(), gates[1].exp().numpy()
    expected = stats.truncnorm.ppf(levels.numpy(), (LOW - mu) / sigma, (HIGH - mu) / sigma, loc=mu, scale=sigma)
    assert np.allclose(found.log(), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_sample_slopes_are_difference_quotients_at_fixed_noise(batch):
    torch.manual_seed(0)
    estimator, step = LogNormal(), 1e-5
    noise = torch.rand(*batch, GATES.shape[1], dtype=torch.float64)
    theta, slope = estimator.sample(GATES, noise)
    assert theta.shape == noise.shape and slope.shape == (2, *noise.shape)
    for c in range(2):
        shift = torch.zeros(2, 1, dtype=torch.float64)
        shift[c] = step
        # as far as the frame stays the same, and the kink of a narrow gate at its end is not met
        up, down = (estimator.sample(GATES + sign * shift, noise)[0] for sign in (1, -1))
        quotient = (up.log() - down.log()) / (2 * step)
        smooth = GATES[1] > -6
        assert torch.allclose((slope[c] / theta)[..., smooth], quotient[..., smooth], rtol=2e-4, atol=2e-5)


def test_sampled_means_agree_with_the_closed_form_and_gradients_with_its_slope():
    torch.manual_seed(1)
    estimator, draws = LogNormal(), 20_000
    theta, slope = estimator.sample(GATES, torch.rand(draws, GATES.shape[1], dtype=torch.float64))
    mean, mean_slope = estimator.evaluation(GATES)
    for found, expected in [(theta, mean), *zip(slope, mean_slope, strict=True)]:
        error = found.std(0) / draws**0.5
        typical = found.abs().amax(0) < 50 * found.std(0)  # a few draws in 20,000 do not carry it
        z = (found.mean(0) - expected).abs() / error.clamp_min(1e-300)
        assert typical.sum() > 100 and (z[typical] < 5).all()


def test_float32_samples_are_those_of_float64():
    torch.manual_seed(2)
    noise, gates = torch.rand(GATES.shape[1]), GATES.float()
    single, double = LogNormal().sample(gates, noise), LogNormal().sample(gates.double(), noise.double())
    for found, expected in zip(single, double, strict=True):
        assert found.dtype == torch.float32 and torch.allclose(found.double(), expected, rtol=1e-6, atol=1e-30)


@settings(max_examples=300, deadline=None)
@given(
    st.floats(-1e4, 1e4),
    st.floats(-60, 60),
    st.sampled_from([0.0, 1e-12, 2**-24, 0.3, 0.5, 1 - 2**-24, 1.0]),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([(-20.0, 0.0), (-3.0, 0.5), (-0.01, 0.0)]),
)
def test_everything_is_finite_everywhere(mu, log_sigma, level, dtype, interval):
    estimator = LogNormal(*interval)
    gate = torch.tensor([[mu], [log_sigma]], dtype=dtype, requires_grad=True)
    theta, slope = estimator.sample(gate, torch.full((1,), level, dtype=dtype))
    low, high = (math.exp(end) for end in interval)
    assert low * (1 - 1e-6) <= float(theta) <= high * (1 + 1e-6) and torch.isfinite(slope).all()
    for name in SUMS:
        gate.grad = None
        value = getattr(estimator, name)(gate)
        value.backward()
        assert torch.isfinite(value).all() and torch.isfinite(gate.grad).all() and value >= 0
    assert float(estimator.probability(gate.detach())) <= 1


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1001, 1 - 1e-9))
def test_the_start_has_the_probability_asked_for(probability):
    mu, log_sigma = LogNormal().initial(probability)
    assert mu == 0
    found = LogNormal().probability(torch.tensor([[mu], [log_sigma]], dtype=torch.float64))
    assert float(found) == pytest.approx(probability, abs=1e-10)


def test_the_papers_start_has_a_probability_of_nearly_one():
    variance = (1 - 2 / math.pi) * math.exp(-10)  # of a half-normal
    found = LogNormal().probability(torch.tensor([[0.0], [-5.0]], dtype=torch.float64))
    assert float(1 - found) == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize(("interval", "lowest"), [((-20.0, 0.0), "0.1"), ((-4.0, 1.0), "0.3946")])
def test_what_no_sigma_reaches_is_refused_with_the_way_out(interval, lowest):
    estimator = LogNormal(*interval)
    with pytest.raises(StructureError, match=rf"expected an open_probability above {lowest}.* raise it, or lower low"):
        estimator.initial(0.0999)
    assert estimator.initial(float(lowest) + 0.001)[0] == interval[1]


@pytest.mark.parametrize("wrong", [0, 1, -0.5, math.nan, "0.5", None])
def test_open_probabilities_out_of_range_are_refused(wrong):
    with pytest.raises(StructureError, match=r"open_probability: expected a number in \(0, 1\), found"):
        LogNormal().initial(wrong)


@pytest.mark.parametrize("wrong", [(0.0, 0.0), (1.0, -1.0), (-math.inf, 0.0), (-20.0, math.nan)])
def test_intervals_out_of_order_are_refused(wrong):
    with pytest.raises(StructureError, match="LogNormal: expected finite low < high"):
        LogNormal(*wrong)


def test_an_interval_whose_ends_float32_cannot_hold_keeps_double_precision():
    gates = LogNormal(-20.1, 0.1)
    narrow = torch.tensor([[-20.1], [-30.0]], dtype=torch.float64)
    z, _ = gates.sample(narrow, torch.tensor([0.5], dtype=torch.float64))
    assert float(z.log()) == pytest.approx(-20.1, abs=1e-7)  # float32 is 4e-7 away
    assert float(gates.mean(narrow).log()) == pytest.approx(-20.1, abs=1e-7)
