"""A small regression with masks, which the tests of magnitude pruning train."""

import torch
from plans import mlp
from torch.nn import functional as F

import lzero
from lzero.baselines import Magnitude
from lzero.gates import Mask


class Problem:
    """A small regression with masks; two of them built alike are equal to the bit."""

    def __init__(self, case=mlp, seed=0, **options):
        torch.manual_seed(seed)
        self.model, plan = case()
        self.gates = lzero.attach_gates(self.model, plan, estimator=Mask(), **options)
        self.x = torch.randn(16, *plan.example_inputs.shape[1:])
        self.y = torch.randn(self.model(self.x).shape)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2, weight_decay=0.1)

    def trainer(self, density=None, **options):
        return Magnitude(self.gates, density, model=self.model, **({"total_steps": 10} | options))

    def backward(self):
        self.optimizer.zero_grad()
        F.mse_loss(self.model(self.x), self.y).backward()

    def train(self, trainer, steps):
        for _ in range(steps):
            self.backward()
            trainer.step()
            self.optimizer.step()

    def state(self):
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}


def at_once(problem, density=None, **options):
    """The trainer of ``problem`` after a single update, before any optimizer step."""
    trainer = problem.trainer(density, schedule="one-shot", begin=0.0, **options)
    problem.backward()
    trainer.step()
    return trainer
