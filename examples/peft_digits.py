"""LoRA and gates together: a frozen network learns mirrored digits by adapters, and nine tenths of it leave.

Adapters first, then gates around both; purge, and only then merge. Needs peft: pip install "lzero[peft]"
"""

import copy

import peft
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lzero

EPOCHS = 40
x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
x, y = x[order].float() / 16, y[order]
mirrored = x.view(-1, 8, 8).flip(2).flatten(1)


def fit(model, inputs, epochs, solver=None):
    """The loop: of what may learn, and with a solver or without."""
    loader = DataLoader(TensorDataset(inputs[:1400], y[:1400]), batch_size=32, shuffle=True)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    for _ in range(epochs):
        for images, targets in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), targets).backward()
            if solver is not None:
                solver.step()
            optimizer.step()


torch.manual_seed(0)
base = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
fit(base, x, 15)
config = peft.LoraConfig(r=8, target_modules=["0", "2", "4"])

dense = peft.get_peft_model(copy.deepcopy(base), copy.deepcopy(config))
fit(dense, mirrored, EPOCHS)

model = peft.get_peft_model(copy.deepcopy(base), config)
gates = lzero.attach_gates(model, mirrored[:2])  # units of the base and their adapters; ranks stay
fit(model, mirrored, EPOCHS, lzero.Solver(gates, target_density=0.10, total_steps=EPOCHS * 44))
result = lzero.purge(model)

print(result.certificate)
merged = {"dense": dense.merge_and_unload(), "purged": copy.deepcopy(result.model).merge_and_unload()}
for name, trained in merged.items():
    error = (trained(mirrored[1400:]).argmax(1) != y[1400:]).float().mean()
    print(f"{name}, merged: test error {error:.2%}, {sum(p.numel() for p in trained.parameters()):,} parameters")
