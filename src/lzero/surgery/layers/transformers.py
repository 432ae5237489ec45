"""Layers of Hugging Face, by name: nothing is imported for models that never met them."""

from __future__ import annotations

from typing import Any

from lzero.surgery.layers.registry import cached_sizes


@cached_sizes("transformers.pytorch_utils.Conv1D")
def transposed_linear_sizes(module: Any) -> None:
    """Of a weight [in, out]: a Linear, its weight transposed."""
    module.nx, module.nf = module.weight.shape
