"""A tenth of the parameters in a training of Lightning: one callback, beside the same training without it."""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lzero

x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))  # other hands wrote the last digits
x, y = x[order].float() / 16, y[order]
loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=32, shuffle=True)
test = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397)


class Digits(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return nn.functional.cross_entropy(self(images), labels)

    def test_step(self, batch, batch_idx):
        images, labels = batch
        self.log("error", (self(images).argmax(1) != labels).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def trainer(*callbacks):
    return lightning.Trainer(
        max_epochs=40,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


lightning.seed_everything(0)
dense = Digits()
trainer().fit(dense, loader)

lightning.seed_everything(0)
budget = lzero.integrations.lightning.Budget(0.10)  # the one line
trainer(budget).fit(Digits(), loader)
result = budget.purge()

print(result.certificate, result.model, sep="\n")
for name, module in {"dense": dense, "purged": result.model}.items():
    error = trainer().test(module, test, verbose=False)[0]["error"]
    print(f"{name}: test error {error:.2%}, {sum(p.numel() for p in module.parameters()):,} parameters")
