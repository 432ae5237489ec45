"""Binary gates: scores whose expectation over the noise, computed without sampling, is the enumerated gradient."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plans import all_masks, sized

from lzero.errors import StructureError
from lzero.gates.bernoulli import AR, ARM, StraightThrough
from lzero.gates.gates import Gates

LINKS = [("sigmoid", 1.0), ("sigmoid", 7.0), ("sigmoid", 0.3), ("hard_sigmoid", 1.0), ("hard_sigmoid", 7.0)]
KINDS = [StraightThrough, AR, ARM]
GATES = 6
DOUBLE = torch.float64


def g(link, scale, phi):
    """P(z = 1) as the paper writes it."""
    return torch.sigmoid(scale * phi) if link == "sigmoid" else (scale * phi + 0.5).clamp(0, 1)


def start(link, scale):
    """Six phi; those of the hard sigmoid are clamped at both ends and inside."""
    p = torch.tensor([0.08, 0.35, 0.5, 0.66, 0.93, 0.8], dtype=DOUBLE)
    phi = (p.logit() if link == "sigmoid" else p - 0.5) / scale
    if link == "hard_sigmoid":
        phi[0], phi[4] = -0.8 / scale, 0.9 / scale
    return phi


def network(seed=0):
    """The loss [M] of a network with six gated hidden units, for masks z [M, 6]; far from linear in z."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(5, n, generator=generator, dtype=DOUBLE) for n in (3, 2))
    first, second, last = (
        torch.randn(a, b, generator=generator, dtype=DOUBLE) for a, b in ((3, GATES), (GATES, 4), (4, 2))
    )
    return lambda z: ((torch.tanh((torch.tanh(x @ first) * z[:, None]) @ second) @ last - y) ** 2).mean((1, 2))


def enumerated(f, link, scale, phi):
    """d E[f(z)] / d phi over all 64 masks, by autograd through their probabilities."""
    phi = phi.clone().requires_grad_()
    masks = torch.tensor(all_masks(len(phi)))
    p = g(link, scale, phi)
    expectation = (torch.where(masks, p, 1 - p).prod(1) * f(masks.to(DOUBLE))).sum()
    return torch.autograd.grad(expectation, phi)[0]


def expected_score(estimator, f, phi):
    """The integral of the score over the noise, exact.

    Both forwards are constant in u between the thresholds p and 1 - p of every gate, and there the score is linear in
    u: its mean over such a box is its value in the middle.
    """
    axes = []
    for p in estimator.probability(phi).tolist():
        edges = sorted({0.0, p, 1 - p, 1.0})
        axes.append([((a + b) / 2, b - a) for a, b in itertools.pairwise(edges)])
    total = torch.zeros_like(phi)
    for box in itertools.product(*axes):
        u = torch.tensor([middle for middle, _ in box], dtype=DOUBLE)
        one, _ = estimator.sample(phi, u)
        two, _ = estimator.sample(phi, estimator.opposite(u))
        losses = f(torch.stack([one, two])).tolist()
        total += math.prod(width for _, width in box) * estimator.score(phi, u, *losses)
    return total


@pytest.mark.parametrize(("link", "scale"), LINKS)
@pytest.mark.parametrize("kind", [AR, ARM])
def test_the_score_is_unbiased_exactly(kind, link, scale):
    f, phi = network(), start(link, scale)
    truth = enumerated(f, link, scale, phi)
    assert (truth.abs() > 1e-4).sum() >= 4
    found = expected_score(kind(scale, link), f, phi)
    assert torch.allclose(found, truth, rtol=1e-10, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(LINKS), st.sampled_from([AR, ARM]), st.integers(0, 99), st.data())
def test_the_score_is_unbiased_for_any_values_of_the_loss(choice, kind, seed, data):
    link, scale = choice
    phi = torch.tensor(data.draw(st.lists(st.floats(-1.2, 1.2), min_size=3, max_size=3)), dtype=DOUBLE) / scale
    table = torch.randn(8, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    f = lambda z: table[(z @ torch.tensor([1.0, 2, 4], dtype=DOUBLE)).long()]  # noqa: E731
    if link == "hard_sigmoid":  # at the kink there is no gradient, and next to it r = g' / (g (1 - g)) loses its digits
        assume(not (((scale * phi).abs() - 0.5).abs() < 1e-6).any())
    assert torch.allclose(
        expected_score(kind(scale, link), f, phi), enumerated(f, link, scale, phi), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize(("link", "scale"), LINKS)
@pytest.mark.parametrize("kind", [AR, ARM])
def test_the_mean_of_many_scores_is_the_enumerated_gradient(kind, link, scale):
    estimator, f, phi = kind(scale, link), network(1), start(link, scale)
    torch.manual_seed(0)
    draws = 20_000
    u = estimator.noise(phi.expand(draws, -1))
    one, two = (f(estimator.sample(phi, noise)[0]) for noise in (u, estimator.opposite(u)))
    scores = torch.stack([estimator.score(phi, u[i], float(one[i]), float(two[i])) for i in range(draws)])
    truth, error = enumerated(f, link, scale, phi), scores.std(0) / draws**0.5
    assert ((scores.mean(0) - truth).abs() <= 4.5 * error + 1e-12).all()
    if link == "hard_sigmoid":
        assert (scores[:, [0, 4]] == 0).all()  # clamped: the truth is 0, without noise


def test_the_second_forward_pays():
    f, phi = network(), start("sigmoid", 1.0)
    torch.manual_seed(0)
    variances = {}
    for kind in (AR, ARM):
        estimator = kind()
        u = estimator.noise(phi.expand(4_000, -1))
        one, two = (f(estimator.sample(phi, noise)[0]).tolist() for noise in (u, estimator.opposite(u)))
        scores = [estimator.score(phi, *case) for case in zip(u, one, two, strict=True)]
        variances[kind] = float(torch.stack(scores).var(0).sum())
    assert 2 * variances[ARM] < variances[AR] / 2  # two forwards of AR would halve its variance


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("link", "scale"), LINKS)
def test_probability_slope_and_mean_are_the_link(kind, link, scale):
    estimator = kind(scale, link)
    phi = torch.linspace(-3, 3, 41, dtype=DOUBLE).requires_grad_()
    p = g(link, scale, phi)
    (slope,) = torch.autograd.grad(p.sum(), phi)
    assert torch.allclose(estimator.probability(phi), p, rtol=1e-14, atol=0)
    assert torch.allclose(estimator.mean(phi), p, rtol=1e-14, atol=0)
    assert torch.allclose(estimator.probability_slope(phi.detach()), slope, rtol=1e-12, atol=1e-300)
    (own,) = torch.autograd.grad(estimator.probability(phi).sum(), phi)
    assert torch.equal(own, slope)
    assert torch.allclose(p + g(link, scale, -phi), torch.ones_like(p), atol=1e-15)  # what ARM rests on


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("link", "scale"), LINKS)
def test_a_gate_is_one_where_the_noise_is_below_and_its_opposite_where_it_is_above(kind, link, scale):
    estimator, phi = kind(scale, link), start(link, scale)
    torch.manual_seed(0)
    u = estimator.noise(phi.expand(20_000, -1))
    assert u.dtype == DOUBLE and ((u >= 0) & (u < 1)).all()
    z, slope = estimator.sample(phi, u)
    assert torch.equal(z, (u < g(link, scale, phi)).to(DOUBLE))
    opposite, _ = estimator.sample(phi, estimator.opposite(u))
    agree = opposite == (u > g(link, scale, -phi)).to(DOUBLE)
    assert agree.double().mean() > 1 - 1e-5  # rounding decides where u = g(-phi)
    p = g(link, scale, phi)
    spread = (p * (1 - p) / len(u)).sqrt()
    for gates in (z, opposite):
        assert ((gates.mean(0) - p).abs() <= 4.5 * spread).all()
    taken = estimator.probability_slope(phi) if kind is StraightThrough else torch.zeros_like(phi)
    assert torch.equal(slope, taken.expand_as(z))


@pytest.mark.parametrize(("link", "scale"), LINKS)
def test_the_straight_through_gradient_is_that_of_the_mean_at_the_sample(link, scale):
    f, phi = network(), start(link, scale)
    gates = Gates(sized({"hidden": GATES}), estimator=StraightThrough(scale, link)).double()
    with torch.no_grad():
        gates.log_alpha.copy_(phi)
    torch.manual_seed(3)
    gates.draw()
    z, slope = gates.current().z, gates.current().slope
    torch.manual_seed(3)
    mean = g(link, scale, phi.requires_grad_())
    by_hand = (torch.rand_like(phi) < mean).to(DOUBLE).detach() + mean - mean.detach()
    assert torch.equal(z, by_hand)
    (expected,) = torch.autograd.grad(f(by_hand[None]).sum(), phi)
    (at,) = torch.autograd.grad(f(z.requires_grad_()[None]).sum(), z)
    assert expected.any() and torch.allclose(at * slope, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(choice=st.sampled_from(LINKS), p=st.floats(1e-6, 1 - 1e-6))
def test_the_initial_parameter_inverts_the_probability(kind, choice, p):
    link, scale = choice
    (phi,) = kind(scale, link).initial(p)
    assert float(kind(scale, link).probability(torch.tensor(phi, dtype=DOUBLE))) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("link", "scale"), LINKS)
def test_the_evaluation_gate_is_the_mean_or_the_likelier_value(kind, link, scale):
    phi = torch.tensor([-2.0, -1e-9, 0.0, 1e-9, 2.0], dtype=DOUBLE)
    z, slope = kind(scale, link, "median").evaluation(phi)
    assert z.tolist() == [0, 0, 0, 1, 1] and slope.tolist() == [0] * 5
    estimator, leaf = kind(scale, link), phi.clone().requires_grad_()
    z, slope = estimator.evaluation(phi)
    assert torch.equal(z, estimator.mean(phi)) and torch.equal(z, estimator.probability(phi))
    (expected,) = torch.autograd.grad(estimator.probability(leaf).sum(), leaf)
    assert torch.allclose(slope, expected)


def test_an_open_gate_below_one_half_is_evaluated_at_its_mean():
    gates = Gates(sized({"hidden": 3}), estimator=ARM())
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([-3.0, -1.0, -2.0]))
    assert gates.open_mask().tolist() == [False, True, False]  # the likeliest, so that the layer lives
    expected = np.array([0, 1 / (1 + math.e), 0])
    assert np.allclose(gates.evaluate(gates.open_mask()).numpy(), expected, atol=1e-7)


def test_how_many_losses_each_estimator_needs():
    assert [kind.losses for kind in (StraightThrough, AR, ARM)] == [0, 1, 2]
    assert [kind.coordinates for kind in KINDS] == [1, 1, 1]
    phi = torch.ones(3)
    assert not StraightThrough().score(phi, torch.rand(3), 5.0, None).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"scale": wrong}, "scale: expected a number > 0, found") for wrong in (0.0, -1.0, math.inf, math.nan, "1")),
        *(({"link": wrong}, "link: expected one of 'sigmoid', 'hard_sigmoid', found") for wrong in ("softplus", None)),
        *(({"evaluate": wrong}, "evaluate: expected one of 'mean', 'median', found") for wrong in ("mode", 1)),
    ],
)
def test_malformed_options_are_refused(kind, options, message):
    with pytest.raises(StructureError, match=f"{kind.__name__}: {message}"):
        kind(**options)


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5, math.nan, "0.5"])
@pytest.mark.parametrize("link", ["sigmoid", "hard_sigmoid"])
def test_an_impossible_open_probability_is_refused(link, p):
    with pytest.raises(StructureError, match=r"open_probability: expected a number in \(0, 1\), found"):
        ARM(link=link).initial(p)


def test_a_scored_estimator_cannot_draw_for_each_example():
    for kind in (AR, ARM):
        message = rf"per_example: {kind.__name__} gates share one draw.*leave per_example out, or choose another"
        with pytest.raises(StructureError, match=message):
            Gates(sized({"hidden": 3}), estimator=kind(), per_example=True)
    Gates(sized({"hidden": 3}), estimator=StraightThrough(), per_example=True)


def test_single_precision_saturates_without_nan():
    phi = torch.tensor([-200.0, -20.0, 20.0, 200.0])
    for link in ("sigmoid", "hard_sigmoid"):
        for kind in (AR, ARM):
            score = kind(7.0, link).score(phi, torch.tensor([0.0, 0.3, 0.6, 0.9]), 2.0, 1.0)
            assert torch.isfinite(score).all()
