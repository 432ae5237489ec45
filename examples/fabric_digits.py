"""A tenth of the parameters in a loop of Lightning Fabric: two lines, beside the same loop without them."""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lzero

EPOCHS = 40
x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))  # other hands wrote the last digits
x, y = x[order].float() / 16, y[order]

fabric = lightning.Fabric(accelerator="cpu", devices=1)
fabric.launch()
loader = fabric.setup_dataloaders(DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=32, shuffle=True))


def train(density=None):
    fabric.seed_everything(0)
    model = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    solver = None
    if density is not None:
        steps = EPOCHS * len(loader)
        solver = lzero.integrations.fabric.budget(fabric, model, density, example_inputs=x[:2], total_steps=steps)
    model, optimizer = fabric.setup(model, torch.optim.Adam(model.parameters(), lr=1e-3))
    for _ in range(EPOCHS):
        for images, labels in loader:
            optimizer.zero_grad()
            fabric.backward(nn.functional.cross_entropy(model(images), labels))
            if solver is not None:
                solver.step()
            optimizer.step()
    return model, solver


dense, _ = train()
_, solver = train(density=0.10)
result = solver.purge()

print(result.certificate, result.model, sep="\n")
for name, trained in {"dense": dense, "purged": result.model}.items():
    error = (trained(x[1400:]).argmax(1) != y[1400:]).float().mean()
    print(f"{name}: test error {error:.2%}, {sum(p.numel() for p in trained.parameters()):,} parameters")
