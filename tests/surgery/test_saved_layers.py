"""Saved tensors of one layer that do not fit each other are refused, whatever the layer."""

from plans import same, snapshot
from torch import nn

from lzero.errors import StructureError
from lzero.reload import load_purged


class Tower(nn.Module):
    """Layers of every kind whose tensors have to fit each other."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6)
        self.depth, self.up = nn.Conv2d(6, 12, 3, groups=6), nn.ConvTranspose2d(12, 5, 2)
        self.lstm = nn.LSTM(5, 6, 2, bidirectional=True, proj_size=3)
        self.gru, self.attention = nn.GRUCell(6, 5), nn.MultiheadAttention(8, 4, add_bias_kv=True)
        self.table, self.layer, self.groups = nn.Embedding(7, 4), nn.LayerNorm(4), nn.GroupNorm(2, 4)
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
        self.last.weight = self.first.weight


def unequal(state):
    """Every way to make one tensor of ``state`` one narrower along one dim."""
    for name, tensor in state.items():
        for dim, size in enumerate(tensor.shape):
            if size > 1:
                yield name, dim, {**state, name: tensor.narrow(dim, 0, size - 1)}


# What only the next layer could tell: features that arrive at a layer, and widths along which nothing else lies.
FREE = {
    ("conv.weight", 1), ("conv.weight", 2), ("conv.weight", 3), ("depth.weight", 2), ("depth.weight", 3),
    ("up.weight", 0), ("up.weight", 2), ("up.weight", 3), ("gru.weight_ih", 1),
    ("attention.in_proj_weight", 1), ("table.weight", 0), ("table.weight", 1),
}  # fmt: skip


def test_widths_that_disagree_in_one_layer_are_refused():
    accepted = set()
    for name, dim, narrowed in unequal(Tower().state_dict()):
        model = Tower()
        before = snapshot(model)
        try:
            load_purged(model, narrowed)
        except StructureError as error:
            assert name in str(error)
            same(before, snapshot(model))
        else:
            accepted.add((name, dim))
    assert accepted == FREE
