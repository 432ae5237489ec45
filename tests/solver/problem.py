"""A small regression with gates, which the tests of the solver and of the penalty train."""

import torch
from plans import mlp
from torch.nn import functional as F

from lzero.structure.attach import attach_gates


class Problem:
    """A small regression with gates; two of them built alike are equal to the bit."""

    def __init__(self, case=mlp, optimizer="adam", scale=1.0):
        torch.manual_seed(0)
        self.model, plan = case()
        self.gates = attach_gates(self.model, plan, open_probability=0.8)
        self.x = torch.randn(16, *plan.example_inputs.shape[1:])
        self.y = self.model.eval()(self.x).detach() + 0.1 * torch.randn(16, 1)
        self.model.train()
        weights = self.model.parameters()
        self.optimizer = torch.optim.Adam(weights, 1e-2) if optimizer == "adam" else torch.optim.SGD(weights, 1e-2, 0.9)
        self.scale = scale

    def loss(self):
        return F.mse_loss(self.model(self.x), self.y) * self.scale

    def backward(self):
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        return loss

    def train(self, seam, steps):
        for _ in range(steps):
            self.backward()
            seam.step()
            self.optimizer.step()

    def state(self):
        return [tensor.detach().clone() for tensor in (*self.model.parameters(), self.gates.log_alpha)]


def equal(one, two):
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
