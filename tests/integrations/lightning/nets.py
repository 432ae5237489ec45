"""Small modules of Lightning, a Trainer that is quiet, and the same training by hand."""

import contextlib

import lightning
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lzero

WIDTH, BATCH, EXAMPLES, TARGET = 32, 64, 640, 0.3
SEED = 1000


def data():
    """Two classes that four of sixteen features tell apart."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(EXAMPLES, 16, generator=generator)
    return x, (x[:, :4].sum(1) > 0).long()


def loader(**options):
    return DataLoader(TensorDataset(*data()), BATCH, **options)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))


def seed(module):
    """Every step of every process has noise of its own, whatever was drawn before."""
    torch.manual_seed(SEED + module.trainer.fit_loop.epoch_loop.total_batch_idx + 7919 * module.global_rank)


class Classifier(lightning.LightningModule):
    """As in the first pages of Lightning: layers in ``__init__``, a forward, and a training step that calls it."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        seed(self)
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.log("val_loss", F.cross_entropy(logits, y))
        self.log("val_error", (logits.argmax(1) != y).float().mean())

    test_step = validation_step

    def predict_step(self, batch, batch_idx):
        return self(batch[0])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


class Inner(Classifier):
    """Its training step calls the network, and no forward."""

    def training_step(self, batch, batch_idx):
        seed(self)
        return F.cross_entropy(self.net(batch[0]), batch[1])


def trainer(tmp_path, *callbacks, epochs=20, **options):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "devices": 1,
        "default_root_dir": tmp_path,
        "max_epochs": epochs,
        "log_every_n_steps": 10,
    }
    return lightning.Trainer(callbacks=list(callbacks), **{**quiet, **options})


def budget(target=TARGET, **options):
    return lzero.integrations.lightning.Budget(target, **options)


def by_hand(epochs=20, accumulate=1, clip=None, autocast=None, dtype=None, scaler=None, cast=None):
    """The gates and the weights after the same training in a loop of one's own."""
    model = network()
    x, y = data()
    gates = lzero.attach_gates(model, x[:2])
    if dtype is not None:
        model.to(dtype)
    steps = epochs * -(-EXAMPLES // BATCH // accumulate)
    solver = lzero.Solver(gates, TARGET, total_steps=steps)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    number = 0
    for _ in range(epochs):
        batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True))
        for index, (inputs, labels) in enumerate(batches):
            torch.manual_seed(SEED + number)
            number += 1
            inputs = inputs.to(dtype or cast or inputs.dtype)
            with autocast or contextlib.nullcontext():
                logits = model(inputs)
                loss = None if cast else F.cross_entropy(logits, labels) / accumulate
            if loss is None:  # as Fabric: the loss in single precision
                loss = F.cross_entropy(logits.float(), labels) / accumulate
            (loss if scaler is None else scaler.scale(loss)).backward()
            if (index + 1) % accumulate and index + 1 < len(batches):
                continue
            if scaler is not None:
                scaler.unscale_(optimizer)
            solver.step(scaler=scaler)
            if clip is not None:
                clip(model.parameters())
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
            optimizer.zero_grad()
    return gates, model
