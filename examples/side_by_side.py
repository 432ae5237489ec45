"""What the examples share: digits in two parts, a small network, and what to show of a dense and a purged one."""

from collections import OrderedDict
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from lzero import plots

torch.set_flush_denormal(True)  # closed gates leave numbers so small in Adam's means that CPUs get slow by them
images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))  # other hands wrote the last digits
IMAGES, LABELS = images[order].float() / 16, labels[order]  # [1797, 64] in [0, 1], [1797]
TRAIN, TEST = TensorDataset(IMAGES[:1400], LABELS[:1400]), TensorDataset(IMAGES[1400:], LABELS[1400:])


def network(seed=0):
    """An MLP with the weights of this seed."""
    torch.manual_seed(seed)
    layers = {"fc1": nn.Linear(64, 300), "relu1": nn.ReLU(), "fc2": nn.Linear(300, 100), "relu2": nn.ReLU()}
    return nn.Sequential(OrderedDict(layers, out=nn.Linear(100, 10)))


@torch.no_grad()
def error(model, test=TEST, answer=nn.Module.__call__):
    """The share of ``test`` that ``model`` gets wrong."""
    x, y = test.tensors
    return float((answer(model.eval(), x).argmax(1) != y).float().mean())


def show(name, dense, result, purged=None, test=TEST, answer=nn.Module.__call__):
    """Print the certificate and both networks; write a figure of what is left, runs/examples/NAME.png."""
    print(result)
    models = {"dense": dense, "purged": purged or result.model}
    errors = {label: error(model, test, answer) for label, model in models.items()}
    for label, model in models.items():
        size = sum(parameter.numel() for parameter in model.parameters())
        print(f"{label}: test error {errors[label]:.2%}, {size:,} parameters")
    rows = [row for row in result.table().rows if "units" in row]
    figure, _ = plots.architecture(
        [{"layer": row["layer"], "kept": row["units"], "total": row["units_before"]} for row in rows]
    )
    shipped = f"{result.certificate.deployed['params']:.2%} of the parameters"
    title = f"{name}: test error {errors['purged']:.2%} with {shipped}, {errors['dense']:.2%} with all of them"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    print("figure:", plots.save(figure, Path("runs") / "examples" / f"{name}.png"))
