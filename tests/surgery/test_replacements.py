"""Modules whose forward needs all heads: a registered class takes their place, and what it does is proved."""

import pytest
import torch
from torch import nn

import lzero
from lzero.surgery.layers import cached_sizes
from lzero.surgery.replacements import REPLACEMENTS, is_replaced, replace_class, replaces

HEADS, WIDTH = 4, 12


class Attention(nn.Module):
    """Its head size is computed from the width of the stream and the number of heads."""

    def __init__(self):
        super().__init__()
        self.num_heads, self.qkv, self.proj = HEADS, nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.scale = nn.Parameter(torch.randn(HEADS, 1, 1))

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
        return self.proj(((q @ k.mT * self.scale).softmax(-1) @ v).transpose(1, 2).reshape(b, n, c))


class Headed(nn.Module):
    """The same with every size off its tensors."""

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(((q @ k.mT * self.scale).softmax(-1) @ v).transpose(1, 2).flatten(2))


class Other(Headed):
    """It forgets the scale of its heads."""

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2))


class Bias(nn.Module):
    """A bias of every head for every pair of positions, asked for by name; it counts its heads by itself."""

    def __init__(self):
        super().__init__()
        self.num_heads, self.table = HEADS, nn.Parameter(torch.randn(49, HEADS))

    def of_all(self):
        return self.table.view(-1, self.num_heads).T.reshape(-1, 7, 7)


class Helped(Attention):
    """The number of heads lies in a module that helps it, too."""

    def __init__(self):
        super().__init__()
        self.helper = Bias()

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT * self.scale + self.helper.of_all()
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, c))


class HelpedHeaded(nn.Module):
    """The same with every size off its tensors, but for the helper."""

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT * self.scale + self.helper.of_all()
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class Mine(Attention):
    """A subclass, with a forward of its own for all anybody knows."""


@cached_sizes(Attention, Headed, HelpedHeaded)
def attention_sizes(module):
    module.num_heads = len(module.scale)
    if module.qkv.weight.shape[0] != 3 * module.qkv.weight.shape[1]:
        replace_class(module)


@pytest.fixture(autouse=True)
def table():
    before = dict(REPLACEMENTS)
    yield
    REPLACEMENTS.clear()
    REPLACEMENTS.update(before)


def net(kind):
    return nn.Sequential(nn.Linear(5, WIDTH), nn.LayerNorm(WIDTH), kind(), nn.Linear(WIDTH, 2))


def heads(kind, granularity="unit"):
    plan = lzero.discover(net(kind), torch.randn(2, 7, 5), granularity=granularity)
    return [group.size for group in plan if any(m.tensor == "2.proj.weight" and m.dim == 1 for m in group.members)]


def test_heads_of_a_replaced_class_leave():
    assert heads(Attention) == []
    replaces(Attention)(Headed)
    assert heads(Attention) == [HEADS]


def test_another_class_than_the_registered_one_is_not_trusted():
    replaces(Attention)(Headed)
    assert heads(Mine) == []


def test_numbers_that_its_children_keep_follow_all_the_same():
    replaces(Helped)(HelpedHeaded)
    assert heads(Helped) == [HEADS]


def test_a_replacement_that_does_something_else_costs_the_heads():
    replaces(Attention)(Other)
    assert heads(Attention) == []


@pytest.mark.parametrize("granularity", ["unit", "width"])
def test_it_gives_what_the_gated_model_gave_and_comes_back(granularity):
    replaces(Attention)(Headed)
    torch.manual_seed(0)
    model = net(Attention).double().eval()
    gates = lzero.attach_gates(model, torch.randn(2, 7, 5).double(), granularity=granularity)
    with torch.no_grad():
        gates.log_alpha.fill_(9.0)
        for part in gates.split(gates.log_alpha).values():
            part[1] = -9.0
    small = lzero.purge(model, settle=False).model
    assert type(small[2]) is Headed and small[2].num_heads == 3
    x = torch.randn(3, 4, 5).double()
    torch.testing.assert_close(small(x), model.eval()(x))
    again = lzero.load_purged(net(Attention).double(), small.state_dict()).eval()
    assert type(again[2]) is Headed
    assert torch.equal(again(x), small(x))


def test_classes_go_by_their_own_name_alone():
    replaces("somebody.Attention", Attention)(Headed)
    assert is_replaced(Attention()) and not is_replaced(Mine()) and not is_replaced(nn.Linear(1, 1))
    other = nn.Linear(1, 1)
    replace_class(other)
    assert type(other) is nn.Linear
    with pytest.raises(lzero.StructureError, match="expected classes of modules, or dotted names"):
        replaces(3)(Headed)
