"""Recurrent layers and cells: the same units in all their gates, directions and steps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from torch import nn

from lzero._torch import flat_weight_names, set_flat_weights
from lzero.surgery.layers.registry import cached_sizes, saved_extents
from lzero.surgery.layers.saved import Extent, Saved

_ROWS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


@cached_sizes(nn.RNNBase)
def recurrent_sizes(module: nn.RNNBase) -> None:
    """Of the first layer's weights [gates * hidden, in]; and the list of weights that the forward reads."""
    set_flat_weights(module, [getattr(module, name) for name in flat_weight_names(module)])
    module.input_size = module.get_parameter("weight_ih_l0").shape[1]
    module.hidden_size = module.get_parameter("weight_hh_l0").shape[1]
    if module.proj_size:
        module.proj_size, module.hidden_size = module.get_parameter("weight_hr_l0").shape


@saved_extents(nn.RNNBase, one_dtype=True)
def recurrent_extents(module: nn.RNNBase, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One hidden size and one of the inputs; each layer reads what the one before it makes in every direction."""
    gates, ways = _GATES[module.mode], 2 if module.bidirectional else 1
    ends = [f"l{layer}{way}" for layer in range(module.num_layers) for way in ("", "_reverse")[:ways]]
    rows = [saved.extent(f"{name}_{end}", 0, over=gates) for end in ends for name in _ROWS]
    states = [saved.extent(f"weight_hh_{end}", 1) for end in ends]
    if module.proj_size:
        yield chain(*rows, *(saved.extent(f"weight_hr_{end}", 1) for end in ends))
        states += [saved.extent(f"weight_hr_{end}", 0) for end in ends]
    else:
        states += rows
    deeper = [saved.extent(f"weight_ih_{end}", 1, over=ways) for end in ends[ways:]]
    yield chain(*states, *deeper)
    yield chain(*(saved.extent(f"weight_ih_{end}", 1) for end in ends[:ways]))


@cached_sizes(nn.RNNCellBase)
def cell_sizes(module: nn.RNNCellBase) -> None:
    """Of weights [gates * hidden, in] and [gates * hidden, hidden]."""
    module.input_size, module.hidden_size = module.weight_ih.shape[1], module.weight_hh.shape[1]


@saved_extents(nn.RNNCellBase, one_dtype=True)
def cell_extents(module: nn.RNNCellBase, saved: Saved) -> Iterator[Iterator[Extent]]:
    """One hidden size."""
    gates = 4 if isinstance(module, nn.LSTMCell) else 3 if isinstance(module, nn.GRUCell) else 1
    yield chain(saved.extent("weight_hh", 1), *(saved.extent(name, 0, over=gates) for name in _ROWS))
