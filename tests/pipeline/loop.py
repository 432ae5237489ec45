"""The README's loop on digits, for the tests of whole trainings."""

import functools
import itertools

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import lzero

BATCH, TRAIN = 32, 1400
BATCHES = TRAIN // BATCH  # an epoch's


@functools.cache
def digits():
    """Images [1797, 64] in [0, 1] and labels, shuffled once; the first ``TRAIN`` train."""
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    return torch.tensor(data.data, dtype=torch.float32)[order] / 16, torch.tensor(data.target)[order]


def mlp(*hidden):
    sizes = [64, *(hidden or (300, 100))]
    layers = [module for a, b in itertools.pairwise(sizes) for module in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 10))


def batches(steps, seed=0, size=BATCH):
    """``steps`` batches, by epochs that are shuffled anew."""
    x, y = digits()
    generator = torch.Generator().manual_seed(seed)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x[:TRAIN], y[:TRAIN]), size, shuffle=True, drop_last=True, generator=generator
    )
    taken = 0
    while taken < steps:
        for batch in loader:
            if taken == steps:
                return
            taken += 1
            yield batch


def gated(*hidden, seed=0, **options):
    """A gated MLP and its gates."""
    torch.manual_seed(seed)
    model = mlp(*hidden)
    return model, lzero.attach_gates(model, torch.zeros(2, 64), **options)


def train(model, solver, steps, optimizer=None, seed=0):
    """The README's loop."""
    optimizer = optimizer or torch.optim.Adam(model.parameters(), 1e-3)
    for x, y in batches(steps, seed):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        solver.step()
        optimizer.step()


def accuracy(model):
    x, y = digits()
    with torch.no_grad():
        return float((model.eval()(x[TRAIN:]).argmax(1) == y[TRAIN:]).float().mean())
