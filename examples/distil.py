"""A twentieth of the parameters and few labels: the trained network as a teacher, beside the same budget without one.

The teacher has seen 1,100 labelled digits, whoever makes it small has 200. For means: SEEDS=5 python examples/distil.py
"""

import copy
import os

import torch
from side_by_side import IMAGES, LABELS, error, network, show
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import lzero

DENSITY, STEPS, SEEDS = 0.05, 1020, int(os.environ.get("SEEDS", "1"))
SHARE, TEMPERATURE = 0.9, 2.0  # chosen on the validation split, as all else here
FEW, ALL = slice(200), slice(1100)
VALIDATION, TEST = (TensorDataset(IMAGES[part], LABELS[part]) for part in (slice(1100, 1450), slice(1450, None)))


def batches(part, steps):
    """``steps`` batches of 32, shuffled anew each epoch."""
    images, targets = IMAGES[part], LABELS[part]
    while steps > 0:
        for batch in torch.randperm(len(images)).split(32)[:-1][:steps]:
            yield images[batch], targets[batch]
        steps -= len(images) // 32


def train_dense(seed):
    model = network(seed)
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
    gates = lzero.attach_gates(model, IMAGES[:2])
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


WAYS = {"labels alone": {}, "masks first": {"masks_first": 0.3}, "teacher": {"share": SHARE}}
WAYS["teacher, masks first"] = {**WAYS["masks first"], **WAYS["teacher"]}
errors = {name: [] for name in ("dense", *WAYS)}
results = {}
for seed in range(SEEDS):
    dense = train_dense(seed)
    for name, options in WAYS.items():
        torch.manual_seed(seed)
        results[name] = compress(dense, **options)
    for name, model in {"dense": dense, **{name: found.model for name, found in results.items()}}.items():
        errors[name].append([error(model, VALIDATION), error(model, TEST)])

result = results["teacher"]
show("distil", dense, result, test=TEST)
for name, rows in errors.items():
    validation, test = torch.tensor(rows).mean(0)
    size = 1 if name == "dense" else DENSITY
    print(f"{name} ({size:.0%} of the parameters): error on validation {validation:.2%}, on test {test:.2%}")
