"""Hugging Face: ``Trainer(callbacks=[lzero.integrations.transformers.Budget(0.40)])``, and models that come back."""

from lzero.integrations.transformers.budget import Budget
from lzero.integrations.transformers.loading import from_pretrained

__all__ = ["Budget", "from_pretrained"]
