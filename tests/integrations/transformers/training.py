"""The Trainer with a budget, on small models and data that come out of a generator."""

from __future__ import annotations

from typing import Any

import torch
from integrations.transformers.tiny import build
from torch.utils.data import Dataset
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, Trainer, TrainingArguments

STEPS = 40


class Sentences(Dataset):
    """Words whose first one decides the label; of a language model they are the labels themselves."""

    def __init__(self, name: str = "BERT", length: int = 64) -> None:
        generator = torch.Generator().manual_seed(3)
        self.name = name
        self.words = torch.randint(1, 50, (length, 7), generator=generator)
        self.images = torch.randn(length, 1, 8, 8, generator=generator)

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        words = self.words[index]
        if self.name == "ViT":
            return {"pixel_values": self.images[index], "labels": (self.images[index].mean() > 0).long()}
        labels = words if self.name != "BERT" else (words[0] > 25).long()
        return {"input_ids": words, "labels": labels}


def trainer(folder: Any, name: str = "BERT", *, model: Any = None, callbacks: Any = (), **options: Any) -> Any:
    """A Trainer of ``name``, or of a ``model``, for :data:`STEPS` steps."""
    kinds = (Seq2SeqTrainer, Seq2SeqTrainingArguments) if name == "T5" else (Trainer, TrainingArguments)
    defaults = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 8,
        "learning_rate": 3e-3,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "save_strategy": "no",
        "logging_steps": 10,
    }
    arguments = kinds[1](str(folder), **{**defaults, **options})
    data = Sentences(name)
    return kinds[0](
        build(name) if model is None else model,
        arguments,
        train_dataset=data,
        eval_dataset=data,
        callbacks=list(callbacks),
    )
