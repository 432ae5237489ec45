"""A tenth of the parameters in a training of Lightning: one callback, beside the same training without it."""

import lightning
import torch
from side_by_side import TRAIN, network, show
from torch import nn
from torch.utils.data import DataLoader

import lzero

DENSITY, EPOCHS = 0.10, 40
loader = DataLoader(TRAIN, batch_size=32, shuffle=True)


class Digits(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return nn.functional.cross_entropy(self(images), labels)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def train(*callbacks):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", callbacks=[*callbacks], enable_model_summary=False, **quiet
    )
    model = Digits()
    trainer.fit(model, loader)
    return model


dense = train()
budget = lzero.integrations.lightning.Budget(DENSITY)  # the one line
train(budget)
result = budget.purge()

show("lightning_digits", dense, result)
