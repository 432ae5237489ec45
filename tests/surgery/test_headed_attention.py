"""Attention with fewer heads: that of PyTorch where it has all of them, and its own heads alone where it has not."""

import copy

import pytest
import torch
from torch import nn

from lzero.surgery.headed_attention import HeadedAttention
from lzero.surgery.layer_sizes import refresh_sizes

HEADS, WIDTH, N, L, S = 4, 24, 3, 5, 7
D = WIDTH // HEADS

BUILDS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "without biases": {"bias": False, "batch_first": True},
    "extra positions": {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True},
    "separate": {"kdim": 10, "vdim": 11, "batch_first": True},
}
CALLS = {
    "weights": {},
    "each head's weights": {"average_attn_weights": False},
    "no weights": {"need_weights": False},
    "padding": {"key_padding_mask": torch.arange(S).expand(N, S) >= 5},
    "mask": {"attn_mask": torch.ones(L, S).triu(3).bool()},
    "a mask of numbers for each head": {"attn_mask": torch.randn(N * HEADS, L, S).double()},
    "both masks": {"key_padding_mask": torch.arange(S).expand(N, S) >= 6, "attn_mask": torch.ones(L, S).triu(4).bool()},
}


def inputs(options, batched=True):
    widths = ((L, WIDTH), (S, options.get("kdim", WIDTH)), (S, options.get("vdim", WIDTH)))
    if not batched:
        return tuple(torch.randn(width).double() for width in widths)
    first = options.get("batch_first", False)
    return tuple(torch.randn((N, n, w) if first else (n, N, w)).double() for n, w in widths)


def both(options):
    """The attention of PyTorch, and its weights in the other forward."""
    torch.manual_seed(0)
    whole = nn.MultiheadAttention(WIDTH, HEADS, **options).double().eval()
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.normal_(std=0.4)
    headed = copy.deepcopy(whole)
    headed.__class__ = HeadedAttention
    return whole, headed


def close(found, expected):
    for one, two in zip(found, expected, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("build", BUILDS)
def test_with_all_heads_it_is_that_of_pytorch(build, call):
    whole, headed = both(BUILDS[build])
    given = inputs(BUILDS[build])
    close(headed(*given, **CALLS[call]), whole(*given, **CALLS[call]))


@pytest.mark.parametrize("build", BUILDS)
def test_one_sequence_without_a_batch(build):
    whole, headed = both(BUILDS[build])
    given = inputs(BUILDS[build], batched=False)
    close(headed(*given), whole(*given))


@pytest.mark.parametrize("build", ["plain", "without biases", "separate"])
def test_with_fewer_heads_it_is_the_one_whose_other_heads_are_not_read(build):
    whole, small = both(BUILDS[build])
    small.__class__ = nn.MultiheadAttention
    kept = [0, 2]
    rows = torch.cat([torch.arange(head * D, (head + 1) * D) for head in kept])
    triple = torch.cat([rows, rows + WIDTH, rows + 2 * WIDTH])
    with torch.no_grad():
        closed = [head for head in range(HEADS) if head not in kept]
        for head in closed:
            whole.out_proj.weight[:, head * D : (head + 1) * D] = 0
    for name, index in {
        "in_proj_weight": triple,
        "in_proj_bias": triple,
        "q_proj_weight": rows,
        "k_proj_weight": rows,
        "v_proj_weight": rows,
    }.items():
        old = getattr(small, name)
        if old is not None:
            setattr(small, name, nn.Parameter(old.detach()[index]))
    small.out_proj.weight = nn.Parameter(small.out_proj.weight.detach()[:, rows])
    refresh_sizes(small)
    assert type(small) is HeadedAttention and small.num_heads == len(kept)
    given = inputs(BUILDS[build])
    (found, weights), (expected, every) = (
        small(*given, average_attn_weights=False),
        whole(*given, average_attn_weights=False),
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(weights, every[:, kept])
