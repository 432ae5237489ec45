"""The tensors of a model before its forward: labels for the indices of its parameters and float buffers."""

from __future__ import annotations

from torch import nn

from lzero._torch import CONVOLUTIONS, flat_weight_names
from lzero.plan.refusal import Reason
from lzero.tracing.tensor_table import TensorTable

_PROJECTED = Reason(
    "an LSTM with proj_size knows its projection by having fewer projected than hidden units",
    "its projected units can be gated, or its hidden units without proj_size",
)


def enrol(model: nn.Module, table: TensorTable) -> None:
    """Give labels to every parameter and float buffer; the kernel dims of a convolution stay fixed."""
    kernels = {id(m.weight) for m in model.modules() if isinstance(m, CONVOLUTIONS)}
    for name, parameter in model.named_parameters():
        dims = 2 if id(parameter) in kernels else None
        table.add(parameter, table.book.enrol(name, tuple(parameter.shape), dims), source=name)
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point():
            table.add(buffer, table.book.enrol(name, tuple(buffer.shape)))
    for module in model.modules():
        if isinstance(module, nn.LSTM) and module.proj_size:
            for name in (leaf for leaf in flat_weight_names(module) if leaf.startswith("weight_hr")):
                projection = table.find(getattr(module, name))
                if projection is not None:
                    table.book.freeze(projection.axes[1], _PROJECTED)
