"""A loop of accelerate with two lines more: a tenth of the parameters, gradients accumulated, beside the dense one."""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lzero

EPOCHS, TRAIN, ACCUMULATE = 30, 1400, 2
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))  # other hands wrote the last digits
x, y = torch.tensor(images[order]).float() / 16, torch.tensor(labels[order])
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATE)


def trained(target=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    loader = DataLoader(TensorDataset(x[:TRAIN], y[:TRAIN]), batch_size=16, shuffle=True)
    if target is not None:
        steps = EPOCHS * -(-len(loader) // ACCUMULATE)
        solver = lzero.integrations.accelerate.budget(  # before prepare
            accelerator, model, target, example_inputs=x[:2], total_steps=steps
        )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    wrapped, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for _ in range(EPOCHS):
        for inputs, targets in loader:
            with accelerator.accumulate(wrapped):
                accelerator.backward(nn.functional.cross_entropy(wrapped(inputs), targets))
                if target is not None:
                    solver.step()  # beside the other one
                optimizer.step()
                optimizer.zero_grad()
    return model if target is None else solver.purge()


dense, result = trained(), trained(0.10)
print(result.certificate)
for name, model in {"dense": dense, "purged": result.model}.items():
    error = (model(x[TRAIN:]).argmax(1) != y[TRAIN:]).float().mean()
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{name}: test error {error:.2%}, {parameters:,} parameters")
