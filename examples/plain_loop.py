"""A tenth of the parameters, in the loop that was there before: four numbered lines, beside the loop without them."""

import torch
from side_by_side import TRAIN, network, show
from torch import nn
from torch.utils.data import DataLoader

import lzero

DENSITY, EPOCHS = 0.10, 40
loader = DataLoader(TRAIN, batch_size=32, shuffle=True)

dense = network()
optimizer = torch.optim.Adam(dense.parameters(), lr=1e-3)
for _ in range(EPOCHS):
    for inputs, targets in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(dense(inputs), targets).backward()
        optimizer.step()

model = network()
gates = lzero.attach_gates(model, TRAIN[:2][0])  # 1
solver = lzero.Solver(gates, target_density=DENSITY, total_steps=EPOCHS * len(loader))  # 2
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(EPOCHS):
    for inputs, targets in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        solver.step()  # 3
        optimizer.step()
result = lzero.purge(model)  # 4

show("plain_loop", dense, result)
