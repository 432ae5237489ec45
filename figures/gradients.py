"""How good is each estimator's gradient? Writes gradients.csv, gradients.md and gradients.png.

    python figures/gradients.py

A network 64-6-6-10 on one batch of 32 digits, with its 12 hidden units gated: few enough to enumerate all 4,096 masks,
so that the gradient of E[loss] over binary gates with P(z = 1) = p is known exactly, per unit of logit p. Hard-concrete
and log-normal gates optimise an expectation of their own, over gates between 0 and 1; its gradient is taken by central
differences of a quasi-Monte Carlo mean with common numbers, which uses no estimator. Deterministic gates are a number
each, that which counts for p at the start of a training; their gradient is told per unit of logit p too.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from gradients_page import plot, report
from script import HERE, parser
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from lzero.errors import StructureError
from lzero.gates import AR, ARM, Deterministic, Estimator, HardConcrete, LogNormal, StraightThrough
from lzero.recorder import Recorder
from lzero_lab.files import write_text

ESTIMATORS: dict[str, Estimator] = {
    "ARM": ARM(),
    "AR": AR(),
    "straight-through": StraightThrough(),
    "hard concrete, β = 0.1": HardConcrete(temperature=0.1),
    "hard concrete, β = 1/3": HardConcrete(temperature=1 / 3),
    "hard concrete, β = 2/3": HardConcrete(),
    "log-normal": LogNormal(),
    "deterministic": Deterministic(),
}
NETWORKS = ("untrained", "trained")
OPEN = (0.1, 0.5, 0.9)
WIDTHS = (6, 6)
GATES = sum(WIDTHS)
BATCH = 32
DOUBLE = torch.float64
STEP, FINE = 0.05, 1e-5  # of the central differences, of expectations and of what nothing is drawn for
CHUNK = 2**18  # draws times examples that are held at once
SURE = 1.7  # a bias of this many standard errors is one: chi of 12 coordinates at 0.1 %


@dataclass(frozen=True)
class Network:
    """The loss of one batch as a function of the gates."""

    weights: tuple[Tensor, ...]
    x: Tensor
    y: Tensor

    def losses(self, z: Tensor) -> Tensor:
        """Of every draw and example, [N, B], for gates [N, B, 12] or, shared by the examples, [N, 1, 12]."""
        w1, b1, w2, b2, w3, b3 = self.weights
        one, two = z.split(WIDTHS, -1)
        hidden = F.linear(F.relu(F.linear(self.x, w1, b1)) * one, w2, b2)
        logits = F.linear(F.relu(hidden) * two, w3, b3)  # [N, B, 10]
        return logits.logsumexp(-1) - logits.gather(-1, self.y.expand(len(z), -1)[..., None])[..., 0]

    def slopes(self, z: Tensor) -> Tensor:
        """d mean loss / dz, shaped as ``z``."""
        z = z.requires_grad_()
        return torch.autograd.grad(self.losses(z).mean(1).sum(), z)[0]


def networks(steps: int) -> dict[str, Network]:
    """A network as it is initialised, and after a training without gates."""
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=DOUBLE), torch.tensor(digits.target)
    torch.manual_seed(0)
    sizes = (64, *WIDTHS, 10)
    layers = [torch.nn.Linear(a, b).double() for a, b in itertools.pairwise(sizes)]
    weights = [p.detach().clone().requires_grad_() for layer in layers for p in (layer.weight, layer.bias)]
    frozen = [tuple(p.detach().clone() for p in weights)]
    optimizer = torch.optim.Adam(weights, lr=1e-2)
    for _ in range(steps):
        batch = torch.randint(len(x), (128,))
        optimizer.zero_grad()
        Network(tuple(weights), x[batch], y[batch]).losses(torch.ones(1, 1, GATES, dtype=DOUBLE)).mean().backward()
        optimizer.step()
    frozen.append(tuple(p.detach() for p in weights))
    chosen = torch.randperm(len(x))[:BATCH]
    return {name: Network(w, x[chosen], y[chosen]) for name, w in zip(NETWORKS, frozen, strict=True)}


class Masks:
    """Losses of all masks, by lookup."""

    def __init__(self, network: Network) -> None:
        self.all = torch.tensor([[i >> k & 1 for k in range(GATES)] for i in range(2**GATES)], dtype=DOUBLE)
        self.losses = torch.cat([network.losses(z[:, None]).mean(1) for z in self.all.split(512)])

    def of(self, z: Tensor) -> Tensor:
        """Loss [N] of binary gates [N, 12]."""
        return self.losses[(z @ (2.0 ** torch.arange(GATES, dtype=DOUBLE))).long()]

    def gradient(self, p: float) -> Tensor:
        """d E[loss] / d logit p of every gate, [12], where all are open with probability ``p``: exact."""
        logit = torch.full((GATES,), math.log(p / (1 - p)), dtype=DOUBLE, requires_grad=True)
        q = torch.sigmoid(logit)
        chances = torch.where(self.all > 0, q, 1 - q).prod(1)
        return torch.autograd.grad((chances * self.losses).sum(), logit)[0]


def smoothed_gradient(estimator: Estimator, network: Network, phi: Tensor, points: int) -> tuple[Tensor, float]:
    """d E[loss] / dphi, shaped as ``phi``, over gates that are not binary, and its error.

    Central differences with common numbers, twice: the mean, and half the distance.
    """

    def once(seed: int) -> Tensor:
        u = torch.quasirandom.SobolEngine(GATES, scramble=True, seed=seed).draw(points, dtype=DOUBLE)
        noise = u.clamp(1e-9, 1 - 1e-9).logit() if isinstance(estimator, HardConcrete) else u
        gradient = torch.zeros_like(phi)
        for at in range(phi.numel()):
            step = torch.zeros_like(phi)
            step.view(-1)[at] = STEP
            for part in noise.split(CHUNK // BATCH):
                up, down = (network.losses(estimator.sample(end, part)[0][:, None]) for end in (phi + step, phi - step))
                gradient.view(-1)[at] += float((up - down).sum()) / (2 * STEP * points * BATCH)
        return gradient

    one, two = once(0), once(1)
    return (one + two) / 2, float((one - two).norm()) / 2


def plain_gradient(estimator: Estimator, network: Network, phi: Tensor) -> tuple[Tensor, float]:
    """The same where nothing is drawn: no expectation, and as exact as two steps of the differences agree."""
    found = []
    for width in (FINE, FINE / 2):
        ends = [phi + side * width * torch.eye(GATES, dtype=DOUBLE) for side in (1, -1)]  # [12, 12], one gate moved
        up, down = (network.losses(estimator.sample(end, end)[0][:, None]).mean(1) for end in ends)
        found.append((up - down) / (2 * width))
    return found[1], float((found[0] - found[1]).norm())


def per_logit(estimator: Estimator, phi: Tensor) -> float:
    """dphi / dlogit p of gates that count for p at the start of a training."""
    start = estimator.at(0.0)
    p, slope = start.probability(phi)[0], start.probability_slope(phi)[0]
    return float(p * (1 - p) / slope)


def scored(estimator: Estimator, masks: Masks, phi: Tensor) -> Callable[[int], Tensor]:
    """Gradients [n, 12] by the score, which is linear in the losses."""

    def draw(n: int) -> Tensor:
        u = estimator.noise(phi.expand(n, -1))
        one, two = both_losses(estimator, masks, phi, u)
        return estimator.score(phi, u, 1.0, None) * one + estimator.score(phi, u, 0.0, 1.0) * two

    return draw


def both_losses(estimator: Estimator, masks: Masks, phi: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Losses [n, 1] of the forward that is drawn and of the opposite one."""
    one, two = (masks.of(estimator.sample(phi, noise)[0])[:, None] for noise in (u, estimator.opposite(u)))
    return one, two


def integrated(estimator: Estimator, masks: Masks, phi: Tensor) -> tuple[Tensor, float]:
    """Mean [12] and total variance of the score, without sampling.

    Between the thresholds p and 1 - p of every gate the losses do not change, and the score is linear in the noise.
    """
    p = float(estimator.probability(phi)[0])
    edges = torch.tensor(sorted({0.0, p, 1 - p, 1.0}), dtype=DOUBLE)
    mean, square = torch.zeros_like(phi), 0.0
    for box in torch.cartesian_prod(*[torch.arange(len(edges) - 1)] * GATES).split(2**16):
        low, high = edges[box], edges[box + 1]
        chance = (high - low).prod(1)[:, None]
        one, two = both_losses(estimator, masks, phi, (low + high) / 2)
        ends = [estimator.score(phi, u, 1.0, None) * one + estimator.score(phi, u, 0.0, 1.0) * two for u in (low, high)]
        mean += (chance * (ends[0] + ends[1]) / 2).sum(0)
        square += float((chance * (ends[0] ** 2 + ends[0] * ends[1] + ends[1] ** 2) / 3).sum())
    return mean, square - float(mean.pow(2).sum())


def pathwise(estimator: Estimator, network: Network, phi: Tensor, examples: int) -> Callable[[int], Tensor]:
    """Gradients [n, 12] or [n, 24] by dz/dphi, of gates drawn for each of ``examples`` examples (1: shared)."""

    def draw(n: int) -> Tensor:
        noise = estimator.noise(torch.empty(n, examples, GATES, dtype=DOUBLE))
        z, slope = estimator.sample(phi, noise)  # [n, examples, 12] and, for two parameters a gate, [2, ...]
        gradient = (network.slopes(z) * slope).sum(-2)
        return gradient if phi.dim() == 1 else gradient.transpose(0, 1).flatten(1)

    return draw


@dataclass(frozen=True)
class Moments:
    """Of the gradient of one forward; ``error`` is that of the mean, and ``cosine`` the average one with the aim."""

    mean: Tensor
    variance: float
    error: float
    cosine: float


def sampled(draw: Callable[[int], Tensor], draws: int, chunk: int, aim: Tensor) -> Moments:
    """Of ``draws`` gradients."""
    total, square, cosine = torch.zeros_like(aim), 0.0, 0.0
    for done in range(0, draws, chunk):
        gradients = draw(min(chunk, draws - done))
        total += gradients.sum(0)
        square += float(gradients.pow(2).sum())
        cosine += float(F.cosine_similarity(gradients, aim[None]).sum())
    mean = total / draws
    variance = max(0.0, square / draws - float(mean.pow(2).sum()))
    return Moments(mean, variance, math.sqrt(variance / draws), cosine / draws)


def quality(found: Moments, own: tuple[Tensor, float], binary: Tensor | None) -> dict:
    """Bias, noise and direction, relative to the gradient of the own objective (with its error) and of the binary one.

    What chance alone explains is taken off the biases; ``error`` is their standard error.
    """
    row = {"deviation": math.sqrt(found.variance) / float(own[0].norm()), "cosine": found.cosine}
    for name, (target, inexact) in {"own": own, "binary": (binary, 0.0)}.items():
        if target is not None:
            error = math.hypot(found.error, inexact) / float(target.norm())
            raw = float((found.mean - target).norm() / target.norm())
            row[f"bias_{name}"] = math.sqrt(raw**2 - error**2) if raw > SURE * error else 0.0
            row[f"error_{name}"] = error
            row[f"direction_{name}"] = float(F.cosine_similarity(found.mean, target, dim=0))
    return row


def measure(scale: int, steps: int) -> Recorder:
    """One row for every network, open probability, estimator and way to draw."""
    recorder = Recorder()
    for where, network in networks(steps).items():
        masks = Masks(network)
        for p in OPEN:
            exact = masks.gradient(p)
            for name, estimator in ESTIMATORS.items():
                try:
                    start = torch.tensor(estimator.initial(p), dtype=DOUBLE)
                except StructureError:  # log-normal gates cannot be that seldom open
                    continue
                phi = start[:, None].expand(-1, GATES).contiguous().squeeze(0)
                labels = {"network": where, "open": p, "estimator": name}
                torch.manual_seed(0)
                if estimator.losses:
                    mean, variance = integrated(estimator, masks, phi)
                    cosine = sampled(scored(estimator, masks, phi), 2 * scale, CHUNK // BATCH, exact).cosine
                    found = Moments(mean, variance, 0.0, cosine)
                    recorder.append(**labels, drawn="once", **quality(found, (exact, 0.0), exact))
                    continue
                if isinstance(estimator, Deterministic):
                    scale_of_p = per_logit(estimator, phi)
                    gradient, error = plain_gradient(estimator, network, phi)
                    found = sampled(pathwise(estimator, network, phi, 1), 1, 1, exact)
                    found = replace(found, mean=found.mean * scale_of_p)
                    own = gradient * scale_of_p, error * scale_of_p
                    recorder.append(**labels, drawn="never", **quality(found, own, exact))
                    continue
                own, binary = (exact, 0.0), exact
                if not isinstance(estimator, StraightThrough):
                    gradient, error = smoothed_gradient(estimator, network, phi, scale)
                    own = gradient.flatten(), error
                if estimator.coordinates > 1:
                    binary = None
                for drawn, examples in (("once", 1), ("for each example", BATCH)):
                    draw = pathwise(estimator, network, phi, examples)
                    found = sampled(draw, 2 * scale, CHUNK // BATCH, own[0] if binary is None else binary)
                    recorder.append(**labels, drawn=drawn, **quality(found, own, binary))
    return recorder


def main(arguments: list[str] | None = None) -> None:
    accepted = parser(__doc__, data_dir=False, workers=False)
    accepted.add_argument("--scale", type=int, default=8192, help="points of an expectation, and half the draws")
    accepted.add_argument("--steps", type=int, default=600, help="of the training")
    accepted.add_argument("--out", type=Path, default=HERE)
    accepted.add_argument("--redraw", action="store_true", help="from the rows in gradients.csv")
    options = accepted.parse_args(arguments)
    table = options.out / "gradients.csv"
    if not options.redraw:
        measure(options.scale, options.steps).to_csv(table)
    rows = Recorder.from_csv(table).rows
    plot(rows, options.out / "gradients.png")
    write_text(options.out / "gradients.md", report(rows))


if __name__ == "__main__":
    main()
