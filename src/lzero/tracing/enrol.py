"""The tensors of a model get their labels, before anything runs."""

from __future__ import annotations

import torch
from torch import nn

from lzero._torch import CONVOLUTIONS, flat_weight_names
from lzero.errors import StructureError
from lzero.host.tensors import check_materialized
from lzero.plan.refusal import Reason
from lzero.tracing.tensor_table import TensorTable


def check_traceable(model: nn.Module) -> None:
    """Raise where no forward of ``model`` can be followed.

    Raises:
        StructureError: it has parameters without shape or values, or a part that ``torch.jit`` made.
    """
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise StructureError(
                f"{path or 'the model'} was made by torch.jit, so that neither its forward can be followed nor its "
                "layers cut; pass the model as it was before torch.jit.script or trace, and script the purged one"
            )
    check_materialized(model.named_parameters())


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


_PROJECTED = Reason(
    "an LSTM with proj_size knows its projection by having fewer projected than hidden units",
    "its projected units can be gated, or its hidden units without proj_size",
)
