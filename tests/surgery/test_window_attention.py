"""Attention in shifted windows, by its definition: position by position, head by head."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lzero.surgery.layer_sizes import refresh_sizes
from lzero.surgery.window_attention import ClipWindowAttention, CosineWindowAttention, WindowAttention

WIDTH, HEADS = 12, 3


class Plain(nn.Module):
    """What the class of torchvision is made of, and a forward that is the definition: it needs all heads."""

    def __init__(self, window, shift):
        super().__init__()
        self.window_size, self.shift_size, self.num_heads = list(window), list(shift), HEADS
        self.attention_dropout = self.dropout = 0.0
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        steps = [2 * side - 1 for side in window]
        self.make_table(math.prod(steps))
        places = torch.tensor(list(itertools.product(*(range(side) for side in window))))
        apart = places[:, None] - places[None] + torch.tensor(window) - 1
        index = torch.zeros(apart.shape[:2], dtype=torch.long)
        for dim, step in enumerate(steps):
            index = index * step + apart[..., dim]
        self.register_buffer("relative_position_index", index if len(window) == 3 else index.flatten())

    def make_table(self, entries):
        self.relative_position_bias_table = nn.Parameter(torch.randn(entries, HEADS))

    def table(self):
        return self.relative_position_bias_table

    def scores(self, q, k):
        return q @ k / math.sqrt(WIDTH // HEADS)

    def bias_of(self, made):
        return made

    def forward(self, x):
        space, dims = x.shape[1:-1], len(self.window_size)
        clip = dims == 3
        window = [min(a, b) if clip else b for a, b in zip(space, self.window_size, strict=True)]
        shift = [0 if n <= w else s for n, w, s in zip(space, self.window_size, self.shift_size, strict=True)]
        whole = [-(-n // w) * w for n, w in zip(space, window, strict=True)]
        padded = x.new_zeros(len(x), *whole, WIDTH)
        padded[(slice(None), *(slice(n) for n in space))] = x
        q, k, v = self.bias_of(self.qkv(padded)).unflatten(-1, (3, HEADS, WIDTH // HEADS)).unbind(-3)
        table = self.table()
        most = math.prod(self.window_size)
        index = self.relative_position_index.view(most, most)[: math.prod(window), : math.prod(window)]
        out = torch.zeros_like(padded)

        def home(place):
            """Which window a position is in after the shift, whether it wrapped around, and where it is there."""
            moved = [(p - s) % n for p, s, n in zip(place, shift, whole, strict=True)]
            wrapped = [p < s for p, s in zip(place, shift, strict=True)]
            inside = 0
            for m, w in zip(moved, window, strict=True):
                inside = inside * w + m % w
            return [m // w for m, w in zip(moved, window, strict=True)], wrapped, inside

        everywhere = list(itertools.product(*(range(n) for n in whole)))
        for at in everywhere:
            cell, wrapped, here = home(at)
            near = [(place, *home(place)[1:]) for place in everywhere if home(place)[0] == cell]
            for head in range(HEADS):
                scores = [
                    self.scores(q[(slice(None), *at, head)][:, None], k[(slice(None), *place, head)][..., None])[:, 0]
                    + table[index[here, there], head]
                    - (100.0 if around != wrapped else 0.0)
                    for place, around, there in near
                ]
                weights = torch.cat(scores, -1).softmax(-1)
                values = torch.stack([v[(slice(None), *place, head)] for place, _, _ in near], 1)
                part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
                out[(slice(None), *at, part)] = (weights[..., None] * values).sum(1)
        return self.proj(out)[(slice(None), *(slice(n) for n in space))]


class Cosine(Plain):
    def make_table(self, entries):
        self.register_buffer("relative_coords_table", torch.randn(1, entries, 1, 2))
        self.logit_scale = nn.Parameter(torch.tensor([0.5, 2.0, 9.0])[:, None, None])
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, HEADS, bias=False))

    def table(self):
        return 16 * self.cpb_mlp(self.relative_coords_table).view(-1, HEADS).sigmoid()

    def scores(self, q, k):
        return F.normalize(q, dim=-1) @ F.normalize(k, dim=-2)

    def bias_of(self, made):
        """Keys have no bias. That every head has a scale of its own is left to :class:`Scaled`."""
        return made - F.pad(self.qkv.bias[WIDTH : 2 * WIDTH], (WIDTH, WIDTH))


class Scaled(Cosine):
    """All heads have one scale: the definition above multiplies scores of every head alike."""

    def make_table(self, entries):
        super().make_table(entries)
        self.logit_scale.data.fill_(9.0)

    def scores(self, q, k):
        return super().scores(q, k) * 100.0


CASES = {
    "an image": (Plain, WindowAttention, (2, 2), (0, 0), (4, 4)),
    "shifted": (Plain, WindowAttention, (2, 3), (1, 1), (4, 6)),
    "shifted and padded": (Plain, WindowAttention, (3, 2), (1, 1), (4, 5)),
    "one window": (Plain, WindowAttention, (3, 3), (1, 1), (2, 3)),
    "one way alone": (Plain, WindowAttention, (2, 2), (1, 1), (2, 4)),
    "cosines": (Scaled, CosineWindowAttention, (2, 2), (1, 1), (4, 3)),
    "a clip": (Plain, ClipWindowAttention, (2, 2, 2), (1, 1, 1), (3, 4, 2)),
    "a short clip": (Plain, ClipWindowAttention, (4, 2, 2), (2, 1, 1), (2, 2, 4)),
}


def drawn(case):
    plain, headed, window, shift, space = CASES[case]
    torch.manual_seed(0)
    return plain(window, shift).double().eval(), headed, torch.randn(2, *space, WIDTH).double()


@pytest.mark.parametrize("case", CASES)
def test_with_all_heads_it_is_the_definition(case):
    model, headed, x = drawn(case)
    expected = model(x)
    model.__class__ = headed
    torch.testing.assert_close(model(x), expected)


def test_every_head_has_its_own_scale():
    model, headed, _ = drawn("cosines")
    model.logit_scale.data = torch.tensor([0.5, 2.0, 9.0]).double()[:, None, None]
    model.__class__ = headed
    q, k = torch.randn(2, 2, HEADS, 4, 4).double()
    cosines = torch.cosine_similarity(q[:, :, :, None], k[:, :, None], dim=-1)
    expected = cosines * torch.tensor([math.exp(0.5), math.exp(2.0), 100.0]).double()[:, None, None]
    torch.testing.assert_close(model._scores(q, k), expected)


@pytest.mark.parametrize("case", ["shifted and padded", "cosines", "a clip"])
def test_without_a_head_it_is_what_it_was_with_that_head_unread(case):
    model, headed, x = drawn(case)
    model.__class__ = headed
    each = WIDTH // HEADS
    with torch.no_grad():
        model.proj.weight[:, each : 2 * each] = 0
        expected = model(x)
        left = torch.arange(HEADS) != 1
        columns = left.repeat_interleave(each)
        model.qkv.weight = nn.Parameter(model.qkv.weight[columns.repeat(3)])
        model.qkv.bias = nn.Parameter(model.qkv.bias[columns.repeat(3)])
        model.proj.weight = nn.Parameter(model.proj.weight[:, columns])
        if case == "cosines":
            model.logit_scale = nn.Parameter(model.logit_scale[left])
            model.cpb_mlp[2].weight = nn.Parameter(model.cpb_mlp[2].weight[left])
        else:
            model.relative_position_bias_table = nn.Parameter(model.relative_position_bias_table[:, left])
        refresh_sizes(model)
    assert type(model) is headed and model.num_heads == HEADS - 1
    torch.testing.assert_close(model(x), expected)
