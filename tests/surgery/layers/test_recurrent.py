"""Recurrent layers and cells: sizes after a cut, and widths that agree in all gates, directions and steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from surgery.layers.cuts import agreements
from torch import Tensor, nn

from lzero.surgery.layer_sizes import refresh_sizes

KINDS: dict[type[nn.Module], int] = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}
CELLS: dict[type[nn.Module], int] = {nn.LSTMCell: 4, nn.GRUCell: 3, nn.RNNCell: 1}


def keep(gates: int, size: int, left: int) -> Tensor:
    """Rows of the first ``left`` of ``size`` units in each gate."""
    return torch.cat([torch.arange(left) + gate * size for gate in range(gates)])


def cut_hidden(layer: Any, gates: int, size: int, left: int, ways: int) -> None:
    """Cut a layer of several steps and directions to its first ``left`` units."""
    rows = keep(gates, size, left)
    for name, tensor in list(layer._parameters.items()):
        small = tensor.detach()[rows]
        if name.startswith("weight_hh"):
            small = small[:, :left]
        if name.startswith("weight_ih") and "_l0" not in name and name != "weight_ih":
            small = small[:, keep(ways, size, left)]
        layer._parameters[name] = nn.Parameter(small)


@pytest.mark.parametrize("ways", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_layer_is_the_one_whose_other_units_are_silent(kind: Any, ways: int) -> None:
    torch.manual_seed(0)
    gates, layer, x = KINDS[kind], kind(3, 5, 2, bidirectional=ways == 2).double(), torch.randn(4, 2, 3).double()
    with torch.no_grad():
        for name, tensor in layer.named_parameters():  # what reads the last two units reads zeros
            if name.startswith("weight_hh"):
                tensor[:, 3:] = 0
            if name.startswith("weight_ih_l1"):
                tensor.view(len(tensor), ways, 5)[:, :, 3:] = 0
    expected = layer(x)[0].view(4, 2, ways, 5)[..., :3]
    cut_hidden(layer, gates, 5, 3, ways)
    refresh_sizes(layer)
    assert (layer.input_size, layer.hidden_size) == (3, 3)
    torch.testing.assert_close(layer(x)[0].view(4, 2, ways, 3), expected)


@pytest.mark.parametrize("kind", CELLS)
def test_a_cut_cell_keeps_its_sizes(kind: Any) -> None:
    layer = kind(3, 5)
    cut_hidden(layer, CELLS[kind], 5, 2, 1)
    refresh_sizes(layer)
    assert (layer.input_size, layer.hidden_size) == (3, 2)
    out = layer(torch.ones(1, 3))
    assert (out[0] if isinstance(out, tuple) else out).shape == (1, 2)


def test_a_projection_keeps_both_sizes() -> None:
    layer = nn.LSTM(3, 5, proj_size=2)
    refresh_sizes(layer)
    assert (layer.hidden_size, layer.proj_size) == (5, 2)


FORMS: list[dict[str, Any]] = [{}, {"bias": False}, {"num_layers": 2}, {"bidirectional": True, "num_layers": 2}]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, options) for kind in KINDS for options in FORMS),
        *((kind, options) for kind in CELLS for options in FORMS[:2]),
    ],
)
def test_every_width_of_a_layer_has_to_agree(kind: Any, options: dict[str, Any]) -> None:
    layer = kind(3, 5, **options)
    shapes = {name: tuple(tensor.shape) for name, tensor in layer.named_parameters()}
    assert agreements(layer, shapes)
    for name, shape in shapes.items():
        assert not agreements(layer, {**shapes, name: (shape[0] - 1, *shape[1:])})
