"""Layers that are one product or one look-up: what they keep, and what has to agree when they are loaded."""

from __future__ import annotations

import pytest
import torch
from surgery.layers.cuts import agreements, cut
from torch import nn

from lzero.surgery.layer_sizes import refresh_sizes


def test_a_linear_keeps_rows_and_columns() -> None:
    layer = nn.Linear(5, 4)
    cut(layer, weight=(3, 2), bias=(3,))
    refresh_sizes(layer)
    assert (layer.out_features, layer.in_features) == (3, 2) and layer(torch.ones(1, 2)).shape == (1, 3)


def test_a_table_keeps_entries_and_width() -> None:
    layer = nn.Embedding(7, 4)
    cut(layer, weight=(7, 3))
    refresh_sizes(layer)
    assert (layer.num_embeddings, layer.embedding_dim) == (7, 3) and layer(torch.tensor([6])).shape == (1, 3)


@pytest.mark.parametrize(("layer", "shapes"), [
    (nn.Linear(5, 4), {"weight": (3, 2), "bias": (3,)}),
    (nn.Bilinear(5, 6, 4), {"weight": (3, 2, 2), "bias": (3,)}),
    (nn.Linear(5, 4, bias=False), {"weight": (3, 2)}),
])  # fmt: skip
def test_one_bias_a_row(layer: nn.Module, shapes: dict[str, tuple[int, ...]]) -> None:
    assert agreements(layer, shapes)
    assert "bias" not in shapes or not agreements(layer, {**shapes, "bias": (4,)})
