"""Gates that a script trains by hand, to compare what the library could do with them: draws, rates, the constraint."""

import math

import torch

from lzero import HardConcrete

GATE = HardConcrete()
SETTLES = 0.8  # of the training: from then on the likeliest gates are held


def start(count):
    """The parameters of so many gates, and what they are open with at first, as in ``attach_gates``."""
    return torch.full((count,), GATE.initial(0.97)[0]).requires_grad_()


def drawn(log_alpha):
    """One draw z of all gates, in [0, 1], with its gradient."""
    noise = torch.rand(len(log_alpha)).clamp(1e-6, 1 - 1e-6)
    return (((noise.logit() + log_alpha) / (2 / 3)).sigmoid() * 1.2 - 0.1).clamp(0, 1)


def likeliest(p, target):
    """1 for the share ``target`` of the gates that are open with the highest probability ``p``, 0 for the others."""
    return torch.zeros(len(p)).index_fill(0, p.argsort(descending=True)[: int(target * len(p))], 1.0)


def set_rate(weights, step, steps):
    """The rate of a step: a short rise, and half a cosine down."""
    for group in weights.param_groups:
        group["lr"] = 2e-3 * min(1, step / 50) * (1 + math.cos(math.pi * step / steps)) / 2


class Pull:
    """The constraint on a share of open gates, as in ``lzero.Solver``: annealed, scale-free, with restarts."""

    def __init__(self, log_alpha, target, steps):
        self.log_alpha, self.target, self.steps = log_alpha, target, steps
        self.gates = torch.optim.Adam([log_alpha], max(0.02, 24 / steps))
        self.multiplier, self.strength = 0.0, None

    def step(self, p, step):
        """Move the gates, open with probability ``p``, by their gradient and the constraint; then the multiplier."""
        pull = torch.autograd.grad(p.mean(), self.log_alpha)[0]
        now = self.log_alpha.grad.abs().sum()
        self.strength = now if self.strength is None else 0.98 * self.strength + 0.02 * now
        self.log_alpha.grad += self.multiplier * self.strength / pull.abs().sum() * pull
        self.gates.step()
        annealed = self.target + (1 - self.target) * max(0, 1 - step / (0.4 * self.steps)) ** 3
        violation = float((p > 0.5).float().mean()) - annealed
        self.multiplier = self.multiplier + 0.1 * violation if violation > 0 else 0.0
