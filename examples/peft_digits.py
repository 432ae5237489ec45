"""LoRA and gates together: a frozen network learns mirrored digits by adapters, and nine tenths of it leave.

Adapters first, then gates around both; purge, and only then merge. Needs peft: pip install "lzero[peft]"
"""

import copy

import peft
import torch
from side_by_side import IMAGES, TEST, TRAIN, network, show
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lzero

DENSITY, EPOCHS = 0.10, 40


def mirrored(data):
    images, labels = data.tensors
    return TensorDataset(images.view(-1, 8, 8).flip(2).flatten(1), labels)


def train(model, data, epochs, solver=None):
    """The loop: of what may learn, and with a solver or without."""
    loader = DataLoader(data, batch_size=32, shuffle=True)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    for _ in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            if solver is not None:
                solver.step()
            optimizer.step()
    return model


base = train(network(), TRAIN, 15)
config = peft.LoraConfig(r=8, target_modules=["fc1", "fc2", "out"])
dense = train(peft.get_peft_model(copy.deepcopy(base), copy.deepcopy(config)), mirrored(TRAIN), EPOCHS)

model = peft.get_peft_model(copy.deepcopy(base), config)
gates = lzero.attach_gates(model, IMAGES[:2])  # units of the base and their adapters; ranks stay
train(model, mirrored(TRAIN), EPOCHS, lzero.Solver(gates, target_density=DENSITY, total_steps=EPOCHS * 44))
result = lzero.purge(model)

merged = copy.deepcopy(result.model).merge_and_unload()
show("peft_digits", dense.merge_and_unload(), result, purged=merged, test=mirrored(TEST))
