"""A training step as users write it, with gates and without."""

import torch
from networks import loss_of

import lzero


class Training:
    """``step()``: gradients to zero, forward, cross-entropy, backward, the solver's step, Adam's step.

    Args:
        network: of networks.py.
        granularity: of its gates; None for the network as it is.
        each_layer: a budget a layer in place of one for the whole network.
        compiled: compile the model by this backend.
    """

    def __init__(self, network, granularity=None, *, each_layer=False, compiled=None, device="cpu", batch=None):
        self.model = network.build().to(device)
        self.x, self.y = network.data(device, batch)
        self.gates = self.solver = None
        if granularity:
            self.gates = lzero.attach_gates(self.model, self.x[:2], granularity=granularity)
            budget = lzero.Constraint(0.5, each_layer=each_layer)
            self.solver = lzero.Solver(self.gates, constraints=[budget], total_steps=1_000_000)
        self.forward = torch.compile(self.model, backend=compiled) if compiled else self.model
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=7e-4)

    def backward(self):
        """Everything before the optimizers."""
        self.optimizer.zero_grad()
        loss = loss_of(self.forward, self.x, self.y)
        loss.backward()
        return loss

    def step(self):
        """One step of the weights, and of the gates where there are any."""
        self.backward()
        if self.solver is not None:
            self.solver.step()
        self.optimizer.step()
