"""The Trainer of Hugging Face, with one argument more: a small ViT at 40 % of its parameters, beside the dense one."""

import tempfile

import torch
from sklearn.datasets import load_digits
from torch.utils.data import Subset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import lzero

EPOCHS, TRAIN = 15, 1400
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))  # other hands wrote the last digits
x, y = torch.tensor(images[order]).float().view(-1, 1, 8, 8) / 16, torch.tensor(labels[order])
rows = [{"pixel_values": image, "labels": label} for image, label in zip(x, y, strict=True)]
folder = tempfile.mkdtemp()


def network():
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    return ViTForImageClassification(ViTConfig(image_size=8, patch_size=2, num_channels=1, num_labels=10, **sizes))


def trained(callbacks):
    arguments = TrainingArguments(
        folder,
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=32,
        learning_rate=2e-3,
        logging_steps=150,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(network(), arguments, train_dataset=Subset(rows, range(TRAIN)), callbacks=callbacks)
    trainer.train()
    return trainer.model.eval()


dense = trained([])
budget = lzero.integrations.transformers.Budget(0.40)  # the one new argument
trained([budget])
result = budget.purge()
print(result.certificate)

result.model.save_pretrained(folder)
small = lzero.integrations.transformers.from_pretrained(folder)
with torch.no_grad():
    same = torch.equal(small(x[TRAIN:]).logits, result.model(x[TRAIN:]).logits)
    print(f"from the folder: {'the same logits to the bit' if same else 'other logits'}")
    for name, model in {"dense": dense, "purged": small}.items():
        error = (model(x[TRAIN:]).logits.argmax(1) != y[TRAIN:]).float().mean()
        print(f"{name}: test error {error:.2%}, {model.num_parameters():,} parameters")
