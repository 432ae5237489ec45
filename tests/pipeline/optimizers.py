"""Optimizers of other people's loops, for the tests of whole trainings."""

import torch


class Sam(torch.optim.Optimizer):
    """Sharpness-aware minimisation: the gradient at the worst point nearby, of a second forward and backward."""

    def __init__(self, parameters, rho=0.05, **options):
        self.base = torch.optim.SGD(parameters, **options)
        super().__init__(self.base.param_groups, {})
        self.rho, self.moved = rho, []

    @torch.no_grad()
    def climb(self):
        held = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in held]).norm()
        self.moved = [(p, p.grad * (self.rho / (norm + 1e-12))) for p in held]
        for p, by in self.moved:
            p.add_(by)

    @torch.no_grad()
    def step(self):
        for p, by in self.moved:
            p.sub_(by)
        self.base.step()
