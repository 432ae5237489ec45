"""Window attention of torchvision, by name: nothing is imported for models that never met it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from lzero.surgery.layers.registry import cached_sizes, saved_extents
from lzero.surgery.layers.saved import Extent, Saved
from lzero.surgery.replacements import replace_class
from lzero.surgery.window_attention import WindowAttention

_KINDS = (
    "torchvision.models.swin_transformer.ShiftedWindowAttention",
    "torchvision.models.video.swin_transformer.ShiftedWindowAttention3d",
    WindowAttention,
)


@cached_sizes(*_KINDS)
def window_attention_sizes(module: Any) -> None:
    """Heads, of a table [distances, heads] or a scale [heads, 1, 1].

    Heads that do not make what the stream has room for need a forward of their own.
    """
    scale = getattr(module, "logit_scale", None)
    module.num_heads = module.relative_position_bias_table.shape[1] if scale is None else scale.shape[0]
    made, read = module.qkv.weight.shape
    if made != 3 * read:
        replace_class(module)


@saved_extents(*_KINDS)
def window_attention_extents(module: Any, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One width of queries, keys and values, made of whole heads of one size."""
    each = module.qkv.weight.shape[0] // 3 // module.num_heads
    yield chain(
        *(saved.extent(name, 0, over=3) for name in ("qkv.weight", "qkv.bias")),
        saved.extent("proj.weight", 1),
        saved.extent("relative_position_bias_table", 1, times=each),
        saved.extent("logit_scale", 0, times=each),
        saved.extent("cpb_mlp.2.weight", 0, times=each),
    )
