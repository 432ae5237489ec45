"""Every op goes to its rule; one without a rule freezes what it touches."""

from __future__ import annotations

import torch
from torch import nn

from lzero.host.module_path import ModulePath
from lzero.tracing.enrol import enrol
from lzero.tracing.op_mode import OpMode
from lzero.tracing.tensor_table import TensorTable


def test_products_count_and_results_that_nothing_uses_are_taken_back() -> None:
    model, table = nn.Linear(4, 6), TensorTable()
    enrol(model, table)
    x = torch.randn(2, 4)
    with torch.no_grad(), OpMode(table, ModulePath(model)) as ops:
        y = model(x)
        torch.special.bessel_j0(y).cumsum(1)  # frozen, and read by nobody
    assert table.macs == {"weight": 48} and table.users == {"weight": {""}, "bias": {""}}
    before = (table.book.classes().reason >= 0).sum()
    with torch.no_grad(), OpMode(table := _table(model), ModulePath(model)) as ops:
        y = model(x)
        torch.special.bessel_j0(y).cumsum(1)
    ops.thaw_unused(y, set())
    assert (table.book.classes().reason >= 0).sum() < before


def _table(model: nn.Module) -> TensorTable:
    table = TensorTable()
    enrol(model, table)
    return table
