"""A twentieth of the parameters and few labels: the trained network as a teacher, beside the same budget without one.

The teacher has seen 1,100 labelled digits, whoever makes it small has 200. For means: SEEDS=5 python examples/distil.py
"""

import copy
import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import lzero

SEEDS, STEPS, DENSITY = int(os.environ.get("SEEDS", "1")), 1020, 0.05
SHARE, TEMPERATURE = 0.9, 2.0  # chosen on the validation split, as all else here
x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
x, y = x[order].float() / 16, y[order]
FEW, ALL, VALIDATION, TEST = slice(200), slice(1100), slice(1100, 1450), slice(1450, None)


def batches(part, steps):
    """``steps`` batches of 32, shuffled anew each epoch."""
    images, targets = x[part], y[part]
    while steps > 0:
        for batch in torch.randperm(len(images)).split(32)[:-1][:steps]:
            yield images[batch], targets[batch]
        steps -= len(images) // 32


def network():
    return nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


def train_dense():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for images, targets in batches(ALL, 510):
        optimizer.zero_grad()
        F.cross_entropy(model(images), targets).backward()
        optimizer.step()
    return model


def distance(outputs, taught):
    """KL divergence from the teacher's softened answers to the student's, at the scale of the hard loss."""
    soft, hard = F.log_softmax(outputs / TEMPERATURE, 1), F.log_softmax(taught / TEMPERATURE, 1)
    return TEMPERATURE**2 * F.kl_div(soft, hard, log_target=True, reduction="batchmean")


def compress(trained, share=0.0, masks_first=0.0):
    """``trained`` at the budget; ``share`` of the loss is the teacher's, and weights wait for the first part of it."""
    teacher = copy.deepcopy(trained).eval().requires_grad_(False)  # before attach_gates
    model = copy.deepcopy(trained).train()
    gates = lzero.attach_gates(model, x[:2])
    solver = lzero.Solver(gates, target_density=DENSITY, total_steps=STEPS)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step, (images, targets) in enumerate(batches(FEW, STEPS)):
        model.requires_grad_(step >= masks_first * STEPS)  # gates are no parameters: they learn all along
        outputs = model(images)
        loss = (1 - share) * F.cross_entropy(outputs, targets)
        if share:
            loss = loss + share * distance(outputs, teacher(images))
        optimizer.zero_grad()
        loss.backward()
        solver.step()
        optimizer.step()
    return lzero.purge(model)


def error(model, part):
    with torch.no_grad():
        return float((model.eval()(x[part]).argmax(1) != y[part]).float().mean())


WAYS = {"labels alone": {}, "masks first": {"masks_first": 0.3}, "teacher": {"share": SHARE}}
WAYS["teacher, masks first"] = {**WAYS["masks first"], **WAYS["teacher"]}
errors = {name: [] for name in ("dense", *WAYS)}
for seed in range(SEEDS):
    torch.manual_seed(seed)
    dense = train_dense()
    errors["dense"].append([error(dense, VALIDATION), error(dense, TEST)])
    for name, options in WAYS.items():
        torch.manual_seed(seed)
        found = compress(dense, **options)
        errors[name].append([error(found.model, VALIDATION), error(found.model, TEST)])
        result = found if name == "teacher" else globals().get("result")

print(result.certificate)
for name, rows in errors.items():
    validation, test = torch.tensor(rows).mean(0)
    size = 1 if name == "dense" else DENSITY
    print(f"{name} ({size:.0%} of the parameters): error on validation {validation:.2%}, on test {test:.2%}")
