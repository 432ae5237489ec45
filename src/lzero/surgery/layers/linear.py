"""Layers that are one product or one look-up."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from lzero.surgery.layers.registry import cached_sizes, saved_extents
from lzero.surgery.layers.saved import Extent, Saved


@cached_sizes(nn.Linear)
def linear_sizes(module: nn.Linear) -> None:
    """Of a weight [out, in]."""
    module.out_features, module.in_features = module.weight.shape


@saved_extents(nn.Linear, one_dtype=True)
def linear_extents(module: nn.Linear, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One bias a row."""
    yield saved.extents(weight=0, bias=0)


@saved_extents(nn.Bilinear)
def bilinear_extents(module: nn.Bilinear, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One bias a row."""
    yield saved.extents(weight=0, bias=0)


@cached_sizes(nn.Embedding)
def embedding_sizes(module: nn.Embedding) -> None:
    """Of a table [entries, width]."""
    module.num_embeddings, module.embedding_dim = module.weight.shape
