"""Cosine attention of cut windows, by its definition head by head, and without one of its heads."""

import math

import pytest
import torch
from torch import nn

from lzero.surgery.cosine_attention import CosineAttention, LogCosineAttention
from lzero.surgery.layer_sizes import refresh_sizes

WIDTH, HEADS, SIDE = 12, 3, 2
EACH, N = WIDTH // HEADS, SIDE**2


class Windows(nn.Module):
    """What the class of timm's Swin V2 is made of."""

    def __init__(self, bias):
        super().__init__()
        self.num_heads, self.qkv, self.proj = HEADS, nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH)
        self.attn_drop = self.proj_drop = nn.Identity()
        self.logit_scale = nn.Parameter(torch.tensor([0.5, 2.0, 9.0])[:, None, None])
        self.q_bias = nn.Parameter(torch.randn(WIDTH)) if bias else None
        self.v_bias = nn.Parameter(torch.randn(WIDTH)) if bias else None
        self.register_buffer("k_bias", torch.zeros(WIDTH) if bias else None)
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, HEADS, bias=False))
        self.register_buffer("relative_coords_table", torch.randn(1, 3, 3, 2))
        self.register_buffer("relative_position_index", torch.randint(9, (N, N)))

    def bias(self, head):
        table = self.cpb_mlp(self.relative_coords_table).view(9, HEADS)
        return 16 * table[self.relative_position_index, head].sigmoid()

    def made(self, x):
        made = self.qkv(x)
        return made if self.q_bias is None else made + torch.cat([self.q_bias, self.k_bias, self.v_bias])


class Log(nn.Module):
    """The same of version 2 "cr"."""

    def __init__(self):
        super().__init__()
        self.num_heads, self.qkv, self.proj = HEADS, nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.attn_drop = self.proj_drop = nn.Identity()
        self.logit_scale = nn.Parameter(torch.tensor([0.5, 2.0, 9.0]))
        self.meta_mlp = nn.Sequential(nn.Linear(2, HEADS))
        self.register_buffer("relative_coordinates_log", torch.randn(N * N, 2))

    def bias(self, head):
        return self.meta_mlp(self.relative_coordinates_log)[:, head].view(N, N)

    def made(self, x):
        return self.qkv(x)


CASES = {
    "with biases": (lambda: Windows(True), CosineAttention),
    "without biases": (lambda: Windows(False), CosineAttention),
    "of pairs of positions": (Log, LogCosineAttention),
}


def definition(model, x, mask):
    """Head by head; ``x`` [windows, n, C] with a mask [windows, n, n]."""
    q, k, v = model.made(x).split(WIDTH, -1)
    heads = []
    for head in range(HEADS):
        part = slice(head * EACH, (head + 1) * EACH)
        cosines = torch.cosine_similarity(q[:, :, None, part], k[:, None, :, part], dim=-1)
        hot = min(float(model.logit_scale.detach().flatten()[head]), math.log(100.0))
        heads.append((cosines * math.exp(hot) + model.bias(head) + mask).softmax(-1) @ v[..., part])
    return model.proj(torch.cat(heads, -1))


def drawn(case):
    build, kind = CASES[case]
    torch.manual_seed(0)
    model = build().double().eval()
    return model, kind, torch.randn(6, N, WIDTH).double(), torch.randn(3, N, N).double()


@pytest.mark.parametrize("case", CASES)
def test_with_all_heads_it_is_the_definition(case):
    model, kind, x, mask = drawn(case)
    expected = definition(model, x, mask.repeat(2, 1, 1)), definition(model, x, 0)
    model.__class__ = kind
    torch.testing.assert_close((model(x, mask), model(x)), expected)


@pytest.mark.parametrize("case", CASES)
def test_without_a_head_it_is_what_it_was_with_that_head_unread(case):
    model, kind, x, mask = drawn(case)
    model.__class__ = kind
    left = torch.arange(HEADS) != 1
    columns, last = left.repeat_interleave(EACH), (model.cpb_mlp if kind is CosineAttention else model.meta_mlp)[-1]
    with torch.no_grad():
        model.proj.weight[:, ~columns] = 0
        expected = model(x, mask)
        for layer, leaf, kept in (
            (model.qkv, "weight", columns.repeat(3)),
            (model.qkv, "bias", columns.repeat(3)),
            (model, "q_bias", columns),
            (model, "v_bias", columns),
            (model, "logit_scale", left),
            (last, "weight", left),
            (last, "bias", left),
        ):
            if getattr(layer, leaf, None) is not None:
                setattr(layer, leaf, nn.Parameter(getattr(layer, leaf)[kept]))
        model.proj.weight = nn.Parameter(model.proj.weight[:, columns])
        if getattr(model, "k_bias", None) is not None:
            model.k_bias = model.k_bias[columns]
        refresh_sizes(model)
    assert type(model) is kind and model.num_heads == HEADS - 1
    torch.testing.assert_close(model(x, mask), expected)
