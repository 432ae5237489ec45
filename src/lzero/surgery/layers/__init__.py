"""What is known of classes of layers: one rule a class, one file a family.

A rule for a layer of one's own is registered like those here: :func:`cached_sizes` for sizes that it keeps beside its
tensors, :func:`saved_extents` for widths that have to agree when it is loaded.
"""

from lzero.surgery.layers import (
    attention,
    convolution,
    linear,
    normalization,
    recurrent,
    timm,
    torchvision,
    transformers,
)
from lzero.surgery.layers.registry import cached_sizes, saved_extents
from lzero.surgery.layers.saved import Extent, Saved

__all__ = [
    "Extent",
    "Saved",
    "attention",
    "cached_sizes",
    "convolution",
    "linear",
    "normalization",
    "recurrent",
    "saved_extents",
    "timm",
    "torchvision",
    "transformers",
]
