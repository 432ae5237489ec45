"""The transposed Linear of Hugging Face, known by its dotted name."""

from __future__ import annotations

import pytest
import torch
from surgery.layers.cuts import cut
from torch import nn

from lzero.surgery.layer_sizes import has_rule, refresh_sizes


def test_rows_are_read_and_columns_made() -> None:
    library = pytest.importorskip("transformers.pytorch_utils")
    layer = library.Conv1D(6, 4)
    assert (layer.nx, layer.nf) == (4, 6)
    cut(layer, weight=(3, 5), bias=(5,))
    refresh_sizes(layer)
    assert (layer.nx, layer.nf) == (3, 5) and layer(torch.ones(1, 3)).shape == (1, 5)


def test_another_class_of_that_name_is_none() -> None:
    assert not has_rule(type("Conv1D", (nn.Module,), {})())
