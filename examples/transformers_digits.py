"""The Trainer of Hugging Face, with one argument more: a small ViT at 40 % of its parameters, beside the dense one."""

import tempfile

import torch
from side_by_side import TEST, TRAIN, show
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import lzero

DENSITY, EPOCHS = 0.40, 15
rows = [{"pixel_values": image.view(1, 8, 8), "labels": label} for image, label in TRAIN]
folder = tempfile.mkdtemp()


def network():
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    return ViTForImageClassification(ViTConfig(image_size=8, patch_size=2, num_channels=1, num_labels=10, **sizes))


def train(*callbacks):
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
    trainer = Trainer(network(), arguments, train_dataset=rows, callbacks=[*callbacks])
    trainer.train()
    return trainer.model.eval()


def logits(model, images):
    return model(images.view(-1, 1, 8, 8)).logits


dense = train()
budget = lzero.integrations.transformers.Budget(DENSITY)  # the one new argument
train(budget)
result = budget.purge()

result.model.save_pretrained(folder)
small = lzero.integrations.transformers.from_pretrained(folder)
show("transformers_digits", dense, result, purged=small, answer=logits)
with torch.no_grad():
    same = torch.equal(logits(small, TEST[:][0]), logits(result.model, TEST[:][0]))
print(f"from the folder: {'the same logits to the bit' if same else 'other logits'}")
