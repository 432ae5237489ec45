"""A small regression with gates, which the tests of the solver and of the penalty train."""

import torch
from plans import mlp
from torch.nn import functional as F

from lzero.attach import attach_gates


class Kept(torch.optim.Optimizer):
    """Moves nothing, and keeps the gradient that it was given: what a trainer made of that of the loss."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.0})
        self.gradient = None

    def step(self, closure=None):
        self.gradient = self.param_groups[0]["params"][0].grad.clone()


class Problem:
    """A small regression with gates; two of them built alike are equal to the bit."""

    def __init__(self, case=mlp, scale=1.0, dtype=torch.float32, estimator=None, kind="adam"):
        torch.manual_seed(0)
        self.model, plan = case()
        self.model.to(dtype)
        self.gates = attach_gates(self.model, plan, open_probability=0.8, estimator=estimator)
        self.x = torch.randn(16, *plan.example_inputs.shape[1:]).to(dtype)
        self.y = self.model.eval()(self.x).detach() + 0.1 * torch.randn(16, 1, dtype=dtype)
        self.model.train()
        self.optimizer = torch_optimizer(kind, self.model.parameters(), 1e-2)
        self.scale = scale
        self.kept = Kept([self.gates.log_alpha])

    def loss(self):
        return F.mse_loss(self.model(self.x), self.y) * self.scale

    def backward(self):
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        return loss

    def train(self, trainer, steps):
        for _ in range(steps):
            loss = self.backward()
            trainer.step(loss, self.loss)
            self.optimizer.step()

    def state(self):
        """Weights and gates, copied."""
        return [self.gates.log_alpha.detach().clone(), *(p.detach().clone() for p in self.model.parameters())]

    def pull(self, trainer):
        """What ``trainer``, built with ``optimizer=problem.kept``, adds to the gradient of a fresh backward."""
        self.backward()
        before = self.gates.log_alpha.grad.clone()
        trainer.step()
        return self.kept.gradient - before, before


def torch_optimizer(kind, parameters, lr):
    """An optimizer of torch by a short name."""
    makers = {
        "adam": lambda: torch.optim.Adam(parameters, lr),
        "sgd": lambda: torch.optim.SGD(parameters, lr, momentum=0.9),
    }
    return makers[kind]()


def set_multipliers(solver, values):
    """Put lambda of every part of ``solver`` where a test wants it."""
    with torch.no_grad():
        solver._dual.value.copy_(torch.as_tensor(values, dtype=torch.float64))


def equal(one, two):
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
