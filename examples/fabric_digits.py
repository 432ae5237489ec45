"""A tenth of the parameters in a loop of Lightning Fabric: two lines, beside the same loop without them."""

import lightning
import torch
from side_by_side import TRAIN, network, show
from torch import nn
from torch.utils.data import DataLoader

import lzero

DENSITY, EPOCHS = 0.10, 40
fabric = lightning.Fabric(accelerator="cpu", devices=1)
fabric.launch()
loader = fabric.setup_dataloaders(DataLoader(TRAIN, batch_size=32, shuffle=True))


def train(density=None):
    model = network()
    if density is not None:
        steps = EPOCHS * len(loader)
        solver = lzero.integrations.fabric.budget(
            fabric, model, density, example_inputs=TRAIN[:2][0], total_steps=steps
        )
    model, optimizer = fabric.setup(model, torch.optim.Adam(model.parameters(), lr=1e-3))
    for _ in range(EPOCHS):
        for inputs, targets in loader:
            optimizer.zero_grad()
            fabric.backward(nn.functional.cross_entropy(model(inputs), targets))
            if density is not None:
                solver.step()  # beside the other one
            optimizer.step()
    return model if density is None else solver.purge()


dense, result = train(), train(DENSITY)
show("fabric_digits", dense, result)
