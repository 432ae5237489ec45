"""Which dims of which tensors get labels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lzero.errors import StructureError
from lzero.tracing.enrol import check_traceable, enrol
from lzero.tracing.tensor_table import TensorTable


def test_every_dim_but_kernels_and_lone_units() -> None:
    model, table = nn.Sequential(nn.Conv2d(3, 4, 5), nn.BatchNorm2d(4), nn.Linear(6, 1)), TensorTable()
    enrol(model, table)
    assert [(slot.tensor, slot.dim, slot.size) for slot in table.book.slots] == [
        ("0.weight", 0, 4),
        ("0.weight", 1, 3),
        ("0.bias", 0, 4),
        ("1.weight", 0, 4),
        ("1.bias", 0, 4),
        ("2.weight", 1, 6),
        ("1.running_mean", 0, 4),
        ("1.running_var", 0, 4),
    ]


def test_what_torch_jit_made_cannot_be_followed() -> None:
    check_traceable(nn.Linear(2, 3))
    with pytest.raises(StructureError, match=r"made by torch\.jit"):
        check_traceable(nn.Sequential(torch.jit.script(nn.Linear(2, 3))))
