"""Attention with queries of their own, by its definition head by head, and without one of its heads."""

import pytest
import torch
from torch import nn

from lzero.surgery.layer_sizes import refresh_sizes
from lzero.surgery.query_attention import ClassAttention, CrossAttention, ReducedAttention

WIDTH, HEADS, SIDES = 12, 3, (4, 6)
EACH = WIDTH // HEADS


class Parts(nn.Module):
    """What the classes of timm are made of, under these names."""

    def __init__(self, *names):
        super().__init__()
        self.num_heads, self.scale, self.proj = HEADS, EACH**-0.5, nn.Linear(WIDTH, WIDTH)
        self.attn_drop = self.proj_drop = nn.Identity()
        for name in names:
            self.add_module(name, nn.Linear(WIDTH, (2 if name == "kv" else 1) * WIDTH))


def smaller(pooled):
    made = Parts("q", "kv")
    made.sr, made.norm = nn.Conv2d(WIDTH, WIDTH, 1 if pooled else 2, stride=1 if pooled else 2), nn.LayerNorm(WIDTH)
    made.pool, made.act = (nn.AdaptiveAvgPool2d(2), nn.GELU()) if pooled else (None, None)
    return made


def whole():
    made = Parts("q", "kv")
    made.sr = made.norm = None
    return made


def of_image(model, x):
    if model.sr is not None:
        image = x.transpose(1, 2).reshape(2, WIDTH, *SIDES)
        x = model.norm(model.sr(image if model.pool is None else model.pool(image)).reshape(2, WIDTH, -1).mT)
        x = x if model.act is None else model.act(x)
    return model.kv(x).split(WIDTH, -1)


CASES = {
    "class token": (lambda: Parts("q", "k", "v"), ClassAttention, lambda m, x: (m.q(x)[:, :1], m.k(x), m.v(x))),
    "crossed": (lambda: Parts("wq", "wk", "wv"), CrossAttention, lambda m, x: (m.wq(x)[:, :1], m.wk(x), m.wv(x))),
    "a smaller image": (lambda: smaller(False), ReducedAttention, lambda m, x: (m.q(x), *of_image(m, x))),
    "a pooled image": (lambda: smaller(True), ReducedAttention, lambda m, x: (m.q(x), *of_image(m, x))),
    "the image itself": (whole, ReducedAttention, lambda m, x: (m.q(x), *of_image(m, x))),
}


def drawn(case):
    build, kind, made = CASES[case]
    torch.manual_seed(0)
    model = build().double().eval()
    more = (SIDES,) if kind is ReducedAttention else ()
    return model, kind, made, (torch.randn(2, SIDES[0] * SIDES[1], WIDTH).double(), *more)


@pytest.mark.parametrize("case", CASES)
def test_with_all_heads_it_is_the_definition(case):
    model, kind, made, inputs = drawn(case)
    q, k, v = made(model, inputs[0])
    parts = [slice(head * EACH, (head + 1) * EACH) for head in range(HEADS)]
    heads = [(q[..., part] @ k[..., part].mT / EACH**0.5).softmax(-1) @ v[..., part] for part in parts]
    expected = model.proj(torch.cat(heads, -1))
    model.__class__ = kind
    torch.testing.assert_close(model(*inputs), expected)


@pytest.mark.parametrize("case", CASES)
def test_without_a_head_it_is_what_it_was_with_that_head_unread(case):
    model, kind, _, inputs = drawn(case)
    model.__class__ = kind
    left = (torch.arange(HEADS) != 1).repeat_interleave(EACH)
    with torch.no_grad():
        model.proj.weight[:, ~left] = 0
        expected = model(*inputs)
        model.proj.weight = nn.Parameter(model.proj.weight[:, left])
        for name, layer in model.named_children():
            if name in ("q", "k", "v", "wq", "wk", "wv", "kv"):
                kept = left.repeat(2) if name == "kv" else left
                layer.weight, layer.bias = nn.Parameter(layer.weight[kept]), nn.Parameter(layer.bias[kept])
        refresh_sizes(model)
    assert type(model) is kind and model.num_heads == HEADS - 1
    torch.testing.assert_close(model(*inputs), expected)
