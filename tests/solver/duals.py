"""The ways to step a multiplier: cooper's optimizer, and the options with which the solver does the same."""

import cooper
import torch

DUALS = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.05, maximize=True), {"dual": "sgd"}),
    "momentum": (
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.7, maximize=True),
        {"dual": "sgd", "dual_options": {"momentum": 0.7}},
    ),
    "nupi": (
        lambda p: cooper.optim.nuPI(p, lr=0.05, Kp=torch.tensor([2.0]), Ki=torch.tensor([1.0]), maximize=True),
        {"dual": "nupi", "dual_options": {"Kp": 2.0}},
    ),
    "smoothed nupi": (
        lambda p: cooper.optim.nuPI(p, 0.05, Kp=torch.ones(1), Ki=torch.ones(1), ema_nu=0.9, maximize=True),
        {"dual": "nupi", "dual_options": {"ema_nu": 0.9}},
    ),
}
