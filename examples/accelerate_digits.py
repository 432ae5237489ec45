"""A loop of accelerate with two lines more: a tenth of the parameters, gradients accumulated, beside the dense one."""

import torch
from accelerate import Accelerator
from side_by_side import TRAIN, network, show
from torch import nn
from torch.utils.data import DataLoader

import lzero

DENSITY, EPOCHS, ACCUMULATE = 0.10, 30, 2
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATE)


def train(density=None):
    model, loader = network(), DataLoader(TRAIN, batch_size=16, shuffle=True)
    if density is not None:
        steps = EPOCHS * -(-len(loader) // ACCUMULATE)
        solver = lzero.integrations.accelerate.budget(  # before prepare
            accelerator, model, density, example_inputs=TRAIN[:2][0], total_steps=steps
        )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    wrapped, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for _ in range(EPOCHS):
        for inputs, targets in loader:
            with accelerator.accumulate(wrapped):
                accelerator.backward(nn.functional.cross_entropy(wrapped(inputs), targets))
                if density is not None:
                    solver.step()  # beside the other one
                optimizer.step()
                optimizer.zero_grad()
    return model if density is None else solver.purge()


dense, result = train(), train(DENSITY)
show("accelerate_digits", dense, result)
