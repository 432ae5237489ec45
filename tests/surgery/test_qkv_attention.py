"""Attention behind one projection, by its definition head by head, and without one of its heads."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lzero.surgery.layer_sizes import refresh_sizes
from lzero.surgery.qkv_attention import (
    BiasedAttention,
    BlockAttention,
    ChannelAttention,
    CovarianceAttention,
    GroupedAttention,
    QkvAttention,
    RelativeAttention,
)

WIDTH, HEADS, N = 12, 3, 5
EACH = WIDTH // HEADS


class Parts(nn.Module):
    """What the classes of timm are made of, those of one or the other."""

    def __init__(self, kind, q_bias=False, table=False):
        super().__init__()
        self.num_heads, self.qkv, self.proj = (
            HEADS,
            nn.Linear(WIDTH, 3 * WIDTH, bias=not q_bias),
            nn.Linear(WIDTH, WIDTH),
        )
        self.attn_drop = self.proj_drop = nn.Identity()
        if kind is CovarianceAttention:
            self.temperature = nn.Parameter(torch.rand(HEADS, 1, 1) + 0.5)
        else:
            self.scale = EACH**-0.5
        if kind is BiasedAttention:
            self.q_bias = nn.Parameter(torch.randn(WIDTH)) if q_bias else None
            self.v_bias = nn.Parameter(torch.randn(WIDTH)) if q_bias else None
            self.register_buffer("k_bias", torch.zeros(WIDTH) if q_bias else None)
            self.relative_position_bias_table = nn.Parameter(torch.randn(9, HEADS)) if table else None
            self.register_buffer("relative_position_index", torch.randint(9, (N, N)))


def plain(model, q, k, v, head):
    bias = 0
    if getattr(model, "relative_position_bias_table", None) is not None:
        bias = model.relative_position_bias_table[model.relative_position_index, head]
    return (q @ k.mT / EACH**0.5 + bias).softmax(-1) @ v


def channels(model, q, k, v, head):
    return (((k / EACH**0.5).mT @ v).softmax(-1) @ q.mT).mT


def covariance(model, q, k, v, head):
    cosines = torch.einsum("...nd,...ne->...de", F.normalize(q, dim=-2), F.normalize(k, dim=-2))
    return ((cosines * model.temperature[head]).softmax(-1) @ v.mT).mT


CASES = {
    "plain": (lambda: Parts(QkvAttention), QkvAttention, plain),
    "biases": (lambda: Parts(BiasedAttention, q_bias=True, table=True), BiasedAttention, plain),
    "no bias by distance": (lambda: Parts(BiasedAttention), BiasedAttention, plain),
    "blocks": (lambda: Parts(BlockAttention), BlockAttention, plain),
    "channels": (lambda: Parts(ChannelAttention), ChannelAttention, channels),
    "covariance": (lambda: Parts(CovarianceAttention), CovarianceAttention, covariance),
}


def definition(model, kind, attended, x):
    bias = 0
    if getattr(model, "q_bias", None) is not None:
        bias = torch.cat([model.q_bias, model.k_bias, model.v_bias])
    q, k, v = (model.qkv(x) + bias).unflatten(-1, (3, HEADS, EACH)).movedim((-3, -2), (0, 1))
    heads = [attended(model, q[head], k[head], v[head], head) for head in range(HEADS)]
    joined = torch.stack(heads, -1).flatten(-2) if kind is BlockAttention else torch.cat(heads, -1)
    return model.proj(joined)


def drawn(case):
    build, kind, attended = CASES[case]
    torch.manual_seed(0)
    shape = (2, 3, N, WIDTH) if kind is BlockAttention else (2, N, WIDTH)
    return build().double().eval(), kind, attended, torch.randn(shape).double()


@pytest.mark.parametrize("case", CASES)
def test_with_all_heads_it_is_the_definition(case):
    model, kind, attended, x = drawn(case)
    expected = definition(model, kind, attended, x)
    model.__class__ = kind
    torch.testing.assert_close(model(x), expected)


def test_what_all_layers_share_is_added():
    model, kind, _, x = drawn("biases")
    model.__class__ = kind
    shared = torch.randn(1, HEADS, N, N).double()
    q, k, v = model._heads(x)
    own = model.relative_position_bias_table[model.relative_position_index].permute(2, 0, 1)
    attended = (q @ k.mT / EACH**0.5 + own + shared).softmax(-1) @ v
    torch.testing.assert_close(model(x, shared), model.proj(attended.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize("case", CASES)
def test_without_a_head_it_is_what_it_was_with_that_head_unread(case):
    model, kind, _, x = drawn(case)
    model.__class__ = kind
    left = torch.arange(HEADS) != 1
    made = left.repeat_interleave(EACH)
    read = left.repeat(EACH) if kind is BlockAttention else made
    with torch.no_grad():
        model.proj.weight[:, ~read] = 0
        expected = model(x)
        model.proj.weight = nn.Parameter(model.proj.weight[:, read])
        for layer, leaf, kept in (
            (model.qkv, "weight", made.repeat(3)),
            (model.qkv, "bias", made.repeat(3)),
            (model, "q_bias", made),
            (model, "v_bias", made),
            (model, "temperature", left),
        ):
            if getattr(layer, leaf, None) is not None:
                setattr(layer, leaf, nn.Parameter(getattr(layer, leaf)[kept]))
        if getattr(model, "k_bias", None) is not None:
            model.k_bias = model.k_bias[made]
        if getattr(model, "relative_position_bias_table", None) is not None:
            model.relative_position_bias_table = nn.Parameter(model.relative_position_bias_table[:, left])
        refresh_sizes(model)
    assert type(model) is kind and model.num_heads == HEADS - 1
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("size", [(4, 6), (3, 5)])
def test_within_the_windows_of_an_image(size):
    model = Parts(GroupedAttention).double().eval()
    model.ws = 2
    model.__class__ = GroupedAttention
    x = torch.randn(2, size[0] * size[1], WIDTH).double()
    grid = torch.zeros(2, 4, 6, WIDTH).double()
    grid[:, : size[0], : size[1]] = x.view(2, *size, WIDTH)
    expected = torch.empty_like(grid)
    for row in range(0, 4, 2):
        for column in range(0, 6, 2):
            cell = (slice(None), slice(row, row + 2), slice(column, column + 2))
            expected[cell] = definition(model, QkvAttention, plain, grid[cell].reshape(2, 4, WIDTH)).view(
                2, 2, 2, WIDTH
            )
    torch.testing.assert_close(model(x, size), expected[:, : size[0], : size[1]].reshape(2, -1, WIDTH))


class Bias(nn.Module):
    """A bias of every head, as a module that is called for it."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, HEADS, N, N))

    def get_bias(self):
        return self.table


@pytest.mark.parametrize("own", [True, False])
def test_queries_and_keys_are_normed_and_a_bias_is_asked_for(own):
    model = Parts(RelativeAttention)
    model.q_norm, model.k_norm, model.rel_pos = nn.LayerNorm(EACH), nn.LayerNorm(EACH), Bias() if own else None
    model = model.double().eval()
    model.__class__ = RelativeAttention
    x, shared = torch.randn(2, N, WIDTH).double(), torch.randn(1, HEADS, N, N).double()
    q, k, v = model.qkv(x).unflatten(-1, (3, HEADS, EACH)).movedim((-3, -2), (0, 1))
    bias = model.rel_pos.table if own else shared
    heads = [
        (model.q_norm(q[i]) @ model.k_norm(k[i]).mT / EACH**0.5 + bias[:, i]).softmax(-1) @ v[i] for i in range(HEADS)
    ]
    torch.testing.assert_close(model(x, None if own else shared), model.proj(torch.cat(heads, -1)))
