"""A Linear or convolution on its own, at any width: what the grid of a table is timed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from lzero.host.memory_format import format_of, like_format
from lzero.surgery.class_names import class_name

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = "transformers.pytorch_utils.Conv1D"  # the Linear of GPT-2, with a weight [in, out]


@dataclass(frozen=True)
class Sample:
    """What a layer was called with.

    Attributes:
        shape: of the tensor.
        dtype: of it.
        memory: its memory format.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    memory: torch.memory_format

    @classmethod
    def of(cls, x: Tensor) -> Sample:
        """That of ``x``."""
        return cls(tuple(x.shape), x.dtype, format_of(x))

    def narrowed(self, width: int, dim: int, device: torch.device) -> Tensor:
        """A random tensor like it that is so wide on ``dim``."""
        shape = [width if place == dim % len(self.shape) else size for place, size in enumerate(self.shape)]
        x = torch.randn(shape, dtype=self.dtype, device=device)
        return x if self.memory == torch.contiguous_format else x.contiguous(memory_format=self.memory)


def sides(module: nn.Module) -> tuple[int, int] | None:
    """The widths of ``module`` if it can be timed alone: what it makes, and what it reads.

    A depthwise convolution has the first one alone, and 0 for the other. None for other layers.
    """
    if type(module) is nn.Linear:
        return module.out_features, module.in_features
    if is_transposed(module):
        return module.weight.shape[1], module.weight.shape[0]  # type: ignore[index, return-value]
    if type(module) not in _CONVOLUTIONS:
        return None
    layer: Any = module
    if layer.groups == 1:
        return layer.out_channels, layer.in_channels
    return (layer.out_channels, 0) if layer.groups == layer.in_channels else None


def is_transposed(module: nn.Module) -> bool:
    """Whether ``module`` is a Linear whose weight has what it reads first."""
    return class_name(type(module)) == _TRANSPOSED


def key_of(module: nn.Module, samples: tuple[Sample, ...]) -> tuple[Any, ...]:
    """Equal for layers that take equally long."""
    names = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    weight: Any = module.weight
    own = tuple(getattr(module, name, None) for name in names)
    return type(module), own, tuple(weight.shape), weight.dtype, format_of(weight), module.bias is None, samples


@torch.no_grad()
def narrowed(module: nn.Module, rows: int, columns: int) -> tuple[nn.Module, int]:
    """A layer like ``module``, one of those with :func:`sides`, of these widths; and the width of what it reads."""
    layer: Any = module
    weight, bias = layer.weight, layer.bias
    if is_transposed(module):
        twin: Any = type(module)(1, 1)
        twin.nf, twin.nx = rows, columns
        twin.weight = nn.Parameter(weight[:columns, :rows].contiguous(), False)
        twin.bias = nn.Parameter(bias[:rows].clone(), False)
        return twin.eval(), columns
    options = {"bias": bias is not None, "device": weight.device, "dtype": weight.dtype}
    if type(module) is nn.Linear:
        made: Any = skip_init(nn.Linear, columns, rows, **options)  # type: ignore[no-untyped-call]
        reads = columns
    else:
        each = layer.out_channels // layer.groups  # of a depthwise convolution: channels made of each one read
        reads, groups = (columns, 1) if layer.groups == 1 else (max(1, rows // each),) * 2
        rows = rows if layer.groups == 1 else groups * each
        for name in ("stride", "padding", "dilation", "padding_mode"):
            options[name] = getattr(layer, name)
        made = skip_init(type(layer), reads, rows, layer.kernel_size, groups=groups, **options)  # type: ignore[no-untyped-call]
    made.weight = nn.Parameter(like_format(weight[:rows, : made.weight.shape[1]].contiguous(), weight), False)
    if bias is not None:
        made.bias = nn.Parameter(bias[:rows].clone(), False)
    return made.eval(), reads


def feature_dim(module: nn.Module, sample: Sample) -> int:
    """The dim of what ``module`` is called with that its features lie on."""
    if type(module) not in _CONVOLUTIONS:
        return -1
    return len(sample.shape) - len(module.weight.shape) + 1  # type: ignore[arg-type]
